//! The embedded store under a process that dies: what was acknowledged is there, and nothing of
//! which only half was written. The writer is this program again, in a process of its own, and so
//! there is no test harness.

#![expect(clippy::unwrap_used, reason = "a test, though without the harness")]

use control_plane::store::{Backend, ChangeError, Embedded, Keeper, Key, Revision, Stored, Who};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::env;
use std::future::Future;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

/// Pairs of objects that the writer keeps equal.
const PAIRS: u64 = 40;

/// A name, and what runs.
type Test = (&'static str, fn(&Path));

const TESTS: [Test; 2] = [
    ("killed_at_random_points_it_loses_nothing_acknowledged", killed),
    ("a_full_disk_is_told_and_breaks_nothing", full),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let [role, file, pad] = &arguments[..]
        && role == "writer"
    {
        run(write(Path::new(file), pad.parse().unwrap()));
        return ExitCode::SUCCESS;
    }
    if arguments.iter().any(|argument| argument == "--list") {
        if !arguments.iter().any(|argument| argument == "--ignored") {
            TESTS.iter().for_each(|(name, _)| println!("{name}: test"));
        }
        return ExitCode::SUCCESS;
    }
    let filter = arguments.iter().find(|argument| !argument.starts_with('-'));
    let wanted = |name: &str| filter.is_none_or(|filter| name.contains(filter.as_str()));
    let mut passed = 0;
    for (name, test) in TESTS.iter().filter(|(name, _)| wanted(name)) {
        let folder = Folder(env::temp_dir().join(format!("weir-kill-{}", std::process::id())));
        std::fs::create_dir_all(&folder.0).unwrap();
        test(&folder.0);
        println!("test {name} ... ok");
        passed += 1;
    }
    println!("test result: ok. {passed} passed; 0 failed");
    ExitCode::SUCCESS
}

struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

async fn open(file: &Path) -> Keeper {
    let backend = Backend::Embedded(Embedded::open(file).await.unwrap());
    Keeper::open(backend, |_| Vec::new()).await.unwrap()
}

fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

async fn one(keeper: &Keeper, pad: u64) -> Result<Revision, ChangeError<Infallible>> {
    let who = Who { actor: "writer".to_owned(), address: None };
    let done = keeper.change(&who, "write", 0, |draft| {
        let next = draft.revision + 1;
        // Commits of many sizes: from one page of the file to many.
        let text = "x".repeat(usize::try_from(next * next % pad).unwrap());
        for side in ["a", "b"] {
            draft.put(key(&format!("{side}/{}", next % PAIRS)), json!([next, text]));
        }
        draft.put(key("sum"), json!(next));
        Ok(())
    });
    done.await.map(|(_, revision)| revision)
}

/// Writes until it is killed, and tells each revision once it is acknowledged.
async fn write(file: &Path, pad: u64) {
    let keeper = open(file).await;
    loop {
        let told = match one(&keeper, pad).await {
            Ok(revision) => revision.to_string(),
            Err(error) => format!("{} {error}", keeper.state().revision),
        };
        let mut out = std::io::stdout();
        writeln!(out, "{told}").unwrap();
        out.flush().unwrap();
        if told.contains(' ') {
            return;
        }
    }
}

/// The revision of a store that is whole, which one of `least` acknowledged commits must be: the
/// next one may have been written without its acknowledgement.
fn check(file: &Path, least: Revision, most: Revision) -> Revision {
    run(async {
        let keeper = open(file).await;
        let state = keeper.state().clone();
        let head = state.revision;
        assert!((least..=most).contains(&head), "{least} acknowledged, {head} found");
        let value = |text: &str| state.get(&key(text)).map(|stored| stored.value.clone());
        for pair in 0..PAIRS {
            assert_eq!(value(&format!("a/{pair}")), value(&format!("b/{pair}")), "pair {pair}");
        }
        assert_eq!(value("sum").map_or(0, |sum| sum.as_u64().unwrap()), head);
        let mut objects: BTreeMap<Key, Arc<Value>> = BTreeMap::new();
        let mut next = 1;
        while next <= head {
            let records = keeper.history(next..=head).await.unwrap();
            assert!(!records.is_empty(), "no record of {next}");
            for record in records {
                assert_eq!(record.revision, next, "a gap in the history");
                for change in record.changes {
                    assert_eq!(change.before.as_ref(), objects.get(&change.key), "{}", change.key);
                    objects.insert(change.key, change.after.unwrap());
                }
                next += 1;
            }
        }
        let stored = |stored: Stored| stored.value;
        let found: BTreeMap<_, _> =
            state.objects.into_iter().map(|(key, value)| (key, stored(value))).collect();
        assert!(found == objects, "the objects are those of the history");
        head
    })
}

fn lines(child: &mut Child) -> BufReader<ChildStdout> {
    BufReader::new(child.stdout.take().unwrap())
}

/// Reads what the writer tells until its end: the last revision and what it said then.
fn rest(told: BufReader<ChildStdout>, mut last: Revision) -> (Revision, String) {
    let mut said = String::new();
    for line in told.lines() {
        let line = line.unwrap();
        let (revision, words) = line.split_once(' ').unwrap_or((&line, ""));
        // A writer that was killed within a line has told nothing by it.
        if let Ok(revision) = revision.parse::<Revision>() {
            last = last.max(revision);
        }
        words.clone_into(&mut said);
    }
    (last, said)
}

fn killed(folder: &Path) {
    let seed: u64 = env::var("WEIR_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(9);
    println!("WEIR_SEED={seed} cargo test -p control-plane --test kill killed");
    let writes = if env::var_os("WEIR_SOAK").is_some_and(|v| v == "1") { 20_000 } else { 1_000 };
    let file = folder.join("store");
    let (mut random, mut acknowledged, mut kills) = (seed | 1, 0, 0);
    let mut below = |bound: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % bound
    };
    while acknowledged < writes {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["writer", file.to_str().unwrap(), "20000"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut told = lines(&mut child);
        // The first few die while they make or open the file.
        let count = if kills < 8 { 0 } else { 1 + below(60) };
        let mut line = String::new();
        for _ in 0..count {
            line.clear();
            told.read_line(&mut line).unwrap();
            acknowledged = line.trim().parse().unwrap();
        }
        sleep(Duration::from_micros(below(15_000)));
        child.kill().unwrap();
        child.wait().unwrap();
        let (last, said) = rest(told, acknowledged);
        assert_eq!(said, "");
        acknowledged = check(&file, last, last + 1);
        kills += 1;
    }
    println!("{acknowledged} writes, {kills} kills");
}

fn full(folder: &Path) {
    let file = folder.join("store");
    // The kernel refuses to let the file grow, as a full disk does; the signal is ignored.
    let limited = "trap '' XFSZ; ulimit -f 8192; exec \"$0\" writer \"$1\" 200000";
    let mut child = Command::new("sh")
        .args(["-c", limited, env::current_exe().unwrap().to_str().unwrap()])
        .arg(&file)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let told = lines(&mut child);
    let (last, said) = rest(told, 0);
    assert!(child.wait().unwrap().success());
    assert!(last > 0 && said.contains("store: no room: "), "{last}: {said}");
    assert!(said.contains("free room, or move the store to a larger disk"), "{said}");
    let head = check(&file, last, last);
    run(async {
        let keeper = open(&file).await;
        assert_eq!(one(&keeper, 100).await.unwrap(), head + 1);
    });
    check(&file, head + 1, head + 1);
}
