//! What must hold for whatever is published. The fuzz target calls it, and the test that replays
//! its corpus.

use super::{Assembly, World, diff};
use control_api::publish::{Change, Item, ItemKey, ItemKind, Items};
use core_model::Config;
use serde_json::value::RawValue;

/// Changes that are put together and in a row: enough for every pair of kinds.
const CHANGES_MAX: usize = 64;
/// The edge's own files that items are put to; the first octet of an input chooses one.
const FILES: [&str; 3] = [
    "[[listener]]\nname = \"l\"\naddress = \"127.0.0.1:80\"\n",
    "[[listener]]\nname = \"l\"\naddress = \"127.0.0.1:80\"\n\
     [[pool]]\nname = \"own\"\norigins = [{ name = \"o\", address = \"192.0.2.9\" }]\n\
     [[load_balancer]]\nname = \"own.example\"\ndefault_pools = [\"own\"]\n\
     [[zone]]\nname = \"example\"\nredirect_https = false\n\
     [published.pool.timeouts]\nconnect = \"2s\"\n",
    "[[listener]]\nname = \"l\"\naddress = \"127.0.0.1:80\"\n\
     [packet]\ninterfaces = [\"eth0\"]\naddress = \"192.0.2.1\"\n",
];

fn nowhere() -> World<'static> {
    World { env: &|_| None, files: false, now: 0, root: false }
}

/// Tries one input: the first octet chooses the edge's file, each line behind it is a change
/// (`pool ID {…}` puts, `pool ID` removes), and an empty line puts those before it in force.
///
/// # Panics
/// When an invariant does not hold.
pub fn fuzz_items(input: &[u8]) {
    let Some((choice, rest)) = input.split_first() else { return };
    let Ok(text) = std::str::from_utf8(rest) else { return };
    let file = FILES.get(usize::from(*choice) % FILES.len()).copied().unwrap_or_default();
    let (mut assembly, loaded) = following(file);
    let (mut config, mut items) = (loaded, Items::default());
    let mut changes = Vec::new();
    for line in text.lines().chain([""]).take(CHANGES_MAX) {
        if !line.is_empty() {
            changes.extend(change(line));
            continue;
        }
        let together = std::mem::take(&mut changes);
        let mut wanted = items.clone();
        together.iter().cloned().for_each(|change| wanted.apply(change));
        match assembly.change(together) {
            Ok(loaded) => {
                let whole = following(file).0.change(wanted.iter().map(Change::Put).collect());
                let whole = whole.map(|whole| whole.config);
                let whole = whole.unwrap_or_else(|faults| panic!("at once refused: {faults:?}"));
                same(&whole, &loaded.config, "step by step and at once differ");
                (config, items) = (loaded.config, wanted);
            }
            Err(faults) => {
                assert!(!faults.is_empty(), "items are refused for no reason");
                let again = assembly.change(Vec::new());
                let again = again.unwrap_or_else(|faults| panic!("what held is gone: {faults:?}"));
                same(&config, &again.config, "what was refused left something");
            }
        }
        assert_eq!(assembly.items().hash(), items.hash(), "the items are others");
    }
}

fn following(file: &str) -> (Assembly, Config) {
    let (assembly, loaded) = Assembly::of_text("fuzz.toml", file, nowhere)
        .unwrap_or_else(|faults| panic!("the edge's own file: {faults:?}"));
    (assembly, loaded.config)
}

fn same(one: &Config, two: &Config, what: &str) {
    let changes = diff(one, two);
    assert!(changes.is_empty(), "{what}: {changes:?}");
}

/// One line as a change; none where it is none.
fn change(line: &str) -> Option<Change> {
    let mut parts = line.splitn(3, ' ');
    let (kind, id, body) = (parts.next()?, parts.next()?, parts.next());
    let kind = ItemKind::ALL.into_iter().find(|known| known.table() == kind)?;
    let key = ItemKey { kind, id: id.into() };
    let Some(body) = body else { return Some(Change::Remove(key)) };
    let body = RawValue::from_string(body.to_owned()).ok()?;
    Some(Change::Put(Item { key, body: body.into() }))
}
