//! Nothing of a run is left, however it ends.

use lab::guard::namespaces;
use lab::setup::Setup;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Long enough for a machine that is busy with seven other builds.
const SOON: Duration = Duration::from_secs(30);

fn wait(what: &str, so: impl Fn() -> bool) {
    let start = Instant::now();
    while !so() {
        assert!(start.elapsed() < SOON, "not within {SOON:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_killed_lab_leaves_no_namespace_and_no_process() {
    if let Some(reason) = Setup::ROUTED.missing() {
        eprintln!("skipped: a_killed_lab_leaves_no_namespace_and_no_process: {reason}");
        return;
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_lab"));
    let command = command.args(["matrix", "loss"]).stdout(Stdio::null()).stderr(Stdio::null());
    let mut lab = command.spawn().unwrap();
    let run = format!("weirlab-{}-0", lab.id());
    let folder = std::env::temp_dir().join(&run);
    // The last server is there: the run is in the middle of its start.
    let last = format!("{run}-s5");
    wait("the run begins", || namespaces(&run).contains(&last));
    lab.kill().unwrap();
    lab.wait().unwrap();
    wait("no namespace is left", || namespaces(&run).is_empty());
    wait("no file is left", || !folder.exists());
}
