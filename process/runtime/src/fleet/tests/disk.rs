//! The state folder: what is kept in it, and what is made of what was cut or damaged.

use super::plane::{items, snapshot};
use super::*;
use std::fs;
use std::os::unix::fs::PermissionsExt;

/// Keeps three generations, and gives the folder.
fn kept(temp: &Temp) -> Folder {
    let folder = Folder::open(&temp.0, None).unwrap();
    let (mut kept, found, damage) = Kept::open(&folder).unwrap();
    assert!(found.is_none() && damage.is_none());
    let mut before: Option<(SnapshotId, Items)> = None;
    for (generation, all) in
        [(1, &[("a", 1), ("b", 1)][..]), (2, &[("a", 2), ("b", 1)][..]), (3, &[("a", 2)][..])]
    {
        let new = items(all);
        let id = snapshot(generation, &new);
        let (base, old) = before.take().unzip();
        let changes = new.since(&old.unwrap_or_default());
        kept.keep(&id, base.as_ref(), &changes, &new).unwrap();
        before = Some((id, new));
    }
    folder
}

fn generation(folder: &Folder) -> Option<u64> {
    let (_, found, _) = Kept::open(folder).unwrap();
    found.map(|found| {
        assert_eq!(found.items.hash(), found.snapshot.hash);
        found.snapshot.generation
    })
}

#[test]
fn a_snapshot_cut_anywhere_is_an_older_one_or_none() {
    let temp = Temp::new();
    let folder = kept(&temp);
    let file = temp.0.join("snapshot");
    let whole = fs::read(&file).unwrap();
    let mut seen = std::collections::BTreeSet::new();
    for length in (0..=whole.len()).rev() {
        fs::write(&file, &whole[..length]).unwrap();
        let found = generation(&folder);
        assert_eq!(found == Some(3), length == whole.len(), "{length}");
        seen.insert(found);
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), [None, Some(1), Some(2), Some(3)]);
}

#[test]
fn what_follows_a_cut_is_written_as_a_whole() {
    let temp = Temp::new();
    let folder = kept(&temp);
    let file = temp.0.join("snapshot");
    let whole = fs::read(&file).unwrap();
    fs::write(&file, &whole[..whole.len() - 1]).unwrap();
    let (mut kept, found, _) = Kept::open(&folder).unwrap();
    let found = found.unwrap();
    let new = items(&[("z", 1)]);
    let changes = new.since(&found.items);
    kept.keep(&snapshot(7, &new), Some(&found.snapshot), &changes, &new).unwrap();
    assert_eq!(generation(&folder), Some(7));
}

#[test]
fn what_another_process_wrote_meanwhile_is_written_over() {
    let temp = Temp::new();
    let folder = kept(&temp);
    let [(mut old, found, _), (mut new, ..)] = [(); 2].map(|()| Kept::open(&folder).unwrap());
    let found = found.unwrap();
    let theirs = items(&[("theirs", 1)]);
    let changes = theirs.since(&found.items);
    new.keep(&snapshot(4, &theirs), Some(&found.snapshot), &changes, &theirs).unwrap();
    old.forget();
    let ours = items(&[("ours", 1)]);
    let changes = ours.since(&found.items);
    old.keep(&snapshot(5, &ours), Some(&found.snapshot), &changes, &ours).unwrap();
    assert_eq!(generation(&folder), Some(5));
}

#[test]
fn a_damaged_snapshot_is_set_aside_and_told() {
    let temp = Temp::new();
    let folder = kept(&temp);
    let file = temp.0.join("snapshot");
    let mut whole = fs::read(&file).unwrap();
    // An item that is another one than was published, in a file that can be read to its end.
    let weight = b"\"weight\":2";
    let at = whole.windows(weight.len()).position(|window| window == weight).unwrap();
    whole[at + weight.len() - 1] = b'7';
    fs::write(&file, whole).unwrap();
    let (_, found, damage) = Kept::open(&folder).unwrap();
    assert!(found.is_none());
    assert!(damage.unwrap().contains("snapshot.damaged"));
    assert!(!file.exists() && temp.0.join("snapshot.damaged").exists());
    assert_eq!(generation(&folder), None);
}

#[test]
fn changes_do_not_pile_up_on_disk() {
    let temp = Temp::new();
    let folder = Folder::open(&temp.0, None).unwrap();
    let (mut kept, ..) = Kept::open(&folder).unwrap();
    let mut base: Option<SnapshotId> = None;
    let (mut old, mut longest) = (Items::default(), 0);
    for generation in 1..3_000 {
        let new = items(&[("a", u32::try_from(generation % 5).unwrap())]);
        let id = snapshot(generation, &new);
        // Without changes there is no wait for the disk.
        let changes = if generation % 1_000 == 0 { new.since(&old) } else { Vec::new() };
        let (id, new) = match changes.is_empty() {
            true => (snapshot(generation, &old), old.clone()),
            false => (id, new),
        };
        kept.keep(&id, base.as_ref(), &changes, &new).unwrap();
        (base, old) = (Some(id), new);
        longest = longest.max(fs::metadata(temp.0.join("snapshot")).unwrap().len());
    }
    assert_eq!(self::generation(&folder), Some(2_999));
    assert!(longest < 2 << 20, "{longest}");
}

#[test]
fn the_identity_is_for_nobody_else_and_its_key_is_not_shown() {
    let temp = Temp::new();
    let folder = Folder::open(&temp.0, None).unwrap();
    let identity = Identity {
        edge: "e".repeat(32),
        certificate: "certificate".into(),
        key: "the key".into(),
        authorities: "authorities".into(),
        ends: 2,
        renew: 1,
        token: "1".repeat(32),
    };
    folder.keep_identity(&identity).unwrap();
    assert_eq!(folder.identity().unwrap(), Some(identity.clone()));
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&temp.0), mode(&temp.0.join("identity.json"))), (0o700, 0o600));
    assert!(!format!("{identity:?}").contains("the key"));
    fs::write(temp.0.join("identity.json"), "{}").unwrap();
    let told = folder.identity().unwrap_err().to_string();
    assert!(told.contains("weir edge token create"), "{told}");
}

#[test]
fn a_start_counts_where_nobody_ordered_it() {
    let temp = Temp::new();
    let folder = Folder::open(&temp.0, None).unwrap();
    for (what, takes_over, ended, expect) in [
        ("the first one", false, false, 1),
        ("one after a crash", false, true, 2),
        ("one after an end", false, false, 2),
        ("an upgrade", true, false, 2),
        ("one after a crash", false, false, 3),
    ] {
        assert_eq!(folder.started(takes_over).unwrap(), expect, "{what}");
        if ended {
            folder.ended().unwrap();
        }
    }
}

#[test]
fn one_process_at_a_time_has_a_folder() {
    let temp = Temp::new();
    let folder = Folder::open(&temp.0, None).unwrap();
    let first = Lock::take(&folder, false).unwrap();
    let told = Lock::take(&folder, false).unwrap_err().to_string();
    let expect = format!(
        "{}: process {} has this state folder: stop it, or give each edge one of its own",
        temp.0.display(),
        std::process::id()
    );
    assert!(told.starts_with(&expect), "{told}");
    let mode = fs::metadata(temp.0.join("lock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0);
    // A process that hands over releases it, and has it again where nobody took it.
    first.release().unwrap();
    let second = Lock::take(&folder, true).unwrap();
    let mut first = first;
    let waiting = std::thread::spawn(move || first.retake());
    drop(second);
    waiting.join().unwrap().unwrap();
}

#[test]
fn what_a_process_left_in_a_lock_keeps_nobody_out() {
    let temp = Temp::new();
    let folder = Folder::open(&temp.0, None).unwrap();
    for left in ["", "4294967295\n", "no number at all, and longer than one"] {
        fs::write(temp.0.join("lock"), left).unwrap();
        let lock = Lock::take(&folder, false).unwrap();
        let written = fs::read_to_string(temp.0.join("lock")).unwrap();
        assert_eq!(written, format!("{}\n", std::process::id()), "{left}");
        drop(lock);
    }
}
