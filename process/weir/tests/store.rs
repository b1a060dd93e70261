//! What an operator does with the store of a control plane: history, rollback, backup, files.

use crate::support::files::TempDir;
use crate::support::process::{Guard, command};
use crate::support::wait;
use rustix::process::Signal;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::{Child, Stdio};

const ACCOUNT: &str = "accounts/0123456789abcdef0123456789abcdef";

/// A folder with a control file and what the commands make there.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self { folder: TempDir::new() };
        place.control_file("control", "store");
        place
    }

    fn control_file(&self, name: &str, store: &str) {
        let path = |file: &str| format!("{:?}", self.path(file).display().to_string());
        let text = format!(
            "[control]\naddress = \"127.0.0.1:0\"\n[store]\npath = {}\n[secrets]\nkey_file = {}\n",
            path(store),
            path("keys")
        );
        self.folder.write(&format!("{name}.toml"), text);
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs `weir WORDS`, in which `@NAME` is a path of the folder: exit code and all output.
    fn weir(&self, words: &str) -> (i32, String) {
        let mut weir = command();
        for word in words.split(' ') {
            match word.strip_prefix('@') {
                Some(name) => weir.arg(self.path(name)),
                None => weir.arg(word),
            };
        }
        let output = weir.output().expect("weir can be started");
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8(text).expect("text");
        (output.status.code().expect("an exit code"), text)
    }

    #[track_caller]
    fn done(&self, words: &str) -> String {
        let (code, text) = self.weir(words);
        assert_eq!(code, 0, "{words}: {text}");
        text
    }

    #[track_caller]
    fn refused(&self, words: &str, expect: i32, told: &str) {
        let (code, text) = self.weir(words);
        assert_eq!(code, expect, "{words}: {text}");
        assert!(text.contains(told), "{words}: {text}");
    }

    fn object(&self, folder: &str, key: &str, value: &Value) {
        let path = self.path(folder).join(format!("{key}.json"));
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, value.to_string()).expect("a file");
    }

    /// A store with two revisions: an account with a pool, and another name of the pool.
    fn filled() -> Self {
        let place = Self::new();
        place.object("in", ACCOUNT, &json!({"name": "one"}));
        place.object("in", &format!("{ACCOUNT}/things/a"), &json!({"name": "old", "n": [1, 2]}));
        assert_eq!(
            place.done("import --control @control.toml @in"),
            "2 objects changed; this is revision 1\n"
        );
        place.object("in", &format!("{ACCOUNT}/things/a"), &json!({"name": "new", "n": [1, 2]}));
        place.object("in", &format!("{ACCOUNT}/things/b"), &json!({"s": {"$secret": "AAAA"}}));
        place.done("import --control @control.toml @in");
        place
    }
}

#[test]
fn history_tells_who_changed_what() {
    let place = Place::filled();
    let text = place.done("history --control @control.toml");
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert!(lines[0].starts_with("1 20") && lines[0].ends_with(": import: 2 objects"), "{text}");
    assert!(lines[1].starts_with("2 20") && lines[1].contains(" cli:"), "{text}");
    assert_eq!(place.done("history --control @control.toml --last 1").lines().count(), 1);
    let diff = place.done("history diff 1 --control @control.toml");
    let expect = format!(
        "~ {ACCOUNT}/things/a#/name: \"old\" -> \"new\"\n\
         + {ACCOUNT}/things/b: {{\"s\":\"(secret)\"}}\n\
         2 places from revision 1 to 2\n"
    );
    assert_eq!(diff, expect);
    let json: Value =
        serde_json::from_str(&place.done("history --json --control @control.toml")).expect("JSON");
    assert_eq!(json[1]["changes"][1]["after"], json!({"s": "(secret)"}));
    let shown = place.done("history diff 0 1 --json --control @control.toml");
    let shown: Value = serde_json::from_str(&shown).expect("JSON");
    assert_eq!(shown[0]["after"], json!({"name": "one"}));
    place.refused("history diff 2 9 --control @control.toml", 3, "revision 9 does not exist");
    place.refused("history diff 2 1 --control @control.toml", 3, "`weir history diff 1 2`");
    place.refused("history", 3, "--control FILE");
}

#[test]
fn a_rollback_brings_old_objects_back_until_history_is_compacted() {
    let place = Place::filled();
    let told = place.done("rollback 1 --control @control.toml");
    assert_eq!(told, "2 objects are those of revision 1; this is 3\n");
    assert_eq!(
        place.done("history diff 1 3 --control @control.toml"),
        "0 places from revision 1 to 3\n"
    );
    place.refused("rollback 9 --control @control.toml", 3, "the store is at 3");
    place.done("history compact 2 --control @control.toml");
    place.refused("rollback 1 --control @control.toml", 3, "history begins at 3");
    place.refused("history diff 1 --control @control.toml", 3, "history begins at 3");
    place.done("rollback 2 --control @control.toml");
}

#[test]
fn a_backup_fills_an_empty_store_and_no_other() {
    let place = Place::filled();
    let told = place.done("backup --control @control.toml @backup");
    assert!(told.ends_with("backup: revision 2\n"), "{told}");
    place.control_file("other", "other");
    place.refused("history --control @other.toml", 3, "there is no store; `weir control` makes it");
    place.refused("restore --control @other.toml @nothing", 3, "nothing: read: No such file");
    assert_eq!(place.done("restore --control @other.toml @backup"), "revision 2 is in force\n");
    let history = |file: &str| place.done(&format!("history --control @{file}.toml"));
    assert_eq!(history("other"), history("control"));
    place.refused("restore --control @other.toml @backup", 3, "holds revision 2; restore into");
}

#[test]
fn objects_go_out_as_files_and_come_in_again() {
    let place = Place::filled();
    let told = place.done("export --control @control.toml @out");
    assert!(told.ends_with("out: 3 objects\n"), "{told}");
    place.refused("export --control @control.toml @out", 3, "is not empty");
    std::fs::remove_file(place.path(&format!("out/{ACCOUNT}/things/b.json"))).expect("a file");
    let import = |words: &str| place.done(&format!("import --control @control.toml @out{words}"));
    assert_eq!(import(""), "0 objects changed; this is revision 2\n");
    assert_eq!(import(" --prune"), "1 objects changed; this is revision 3\n");
    place.object("out", "Bad", &json!(1));
    place.object("out", "worse/x", &json!(1));
    std::fs::write(place.path("out/worse/y.json"), "{").expect("a file");
    place.refused("import --control @control.toml @out", 1, "Bad.json: `Bad` is no key");
    place.refused("import --control @control.toml @out", 1, "y.json: no JSON: EOF");
    // A state that the API would not make is refused whole.
    place.object("orphan", "accounts/x/pools/y", &json!({}));
    let told = "accounts/x/pools/y: it belongs to accounts/x, which is not there";
    place.refused("import --control @control.toml @orphan", 3, told);
}

#[test]
fn a_backup_of_the_file_fills_etcd_and_the_commands_work_there() {
    let place = Place::filled();
    // The whole of 127.0.0.0/8 is this machine: this address has the usual ports to itself.
    let pid = std::process::id();
    let address = format!("127.{}.{}.253", pid / 250 % 250 + 2, pid % 250 + 2);
    let url = |port: u16| format!("http://{address}:{port}");
    // It ends with this thread, even where that is killed.
    let etcd = std::process::Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "etcd", "--data-dir"])
        .arg(place.path("etcd"))
        .args(["--listen-client-urls", &url(2379), "--advertise-client-urls", &url(2379)])
        .args(["--listen-peer-urls", &url(2380), "--initial-advertise-peer-urls", &url(2380)])
        .args(["--initial-cluster", &format!("default={}", url(2380)), "--logger", "zap"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("etcd: apt-get install etcd-server");
    let _running = Running(etcd);
    let keys = place.path("keys").display().to_string();
    let text = format!(
        "[store.etcd]\nendpoints = [\"{}\"]\nprefix = \"/weir\"\n[secrets]\nkey_file = {keys:?}\n",
        url(2379)
    );
    place.folder.write("etcd.toml", text);
    wait::until("etcd serves", wait::SOON, || {
        std::net::TcpStream::connect((address.as_str(), 2379)).is_ok()
    });
    place.done("backup --control @control.toml @backup");
    assert_eq!(place.done("restore --control @etcd.toml @backup"), "revision 2 is in force\n");
    let history = |file: &str| place.done(&format!("history --control @{file}.toml"));
    assert_eq!(history("etcd"), history("control"));
    place.done("rollback 1 --control @etcd.toml");
    assert_eq!(history("etcd").lines().count(), 3);
    place.refused("restore --control @etcd.toml @backup", 3, "holds revision 3; restore into");
}

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A control plane that has the store open.
fn serving(place: &Place, file: &str) -> Guard {
    let mut control = Guard::start(command().arg("control").arg(place.path(file)));
    wait::until("the control plane serves", wait::SOON, || {
        assert!(control.ended().is_none(), "it ended: {}", control.stderr.text());
        control.stderr.text().contains("url=")
    });
    control
}

#[test]
fn everything_is_done_by_the_control_plane_that_runs() {
    let place = Place::filled();
    let mut control = serving(&place, "control.toml");
    let told = place.done("rollback 1 --control @control.toml");
    assert_eq!(told, "2 objects are those of revision 1; this is 3\n");
    place.refused("rollback 9 --control @control.toml", 3, "the store is at 3");
    let history = place.done("history --control @control.toml");
    assert!(history.ends_with(": rollback to 1: 2 objects\n"), "{history}");
    let diff = place.done("history diff 1 3 --control @control.toml");
    assert_eq!(diff, "0 places from revision 1 to 3\n");
    place.done("backup --control @control.toml @backup");
    place.done("export --control @control.toml @out");
    let told = place.done("import --control @control.toml @in");
    assert_eq!(told, "2 objects changed; this is revision 4\n");
    place.done("history compact 3 --control @control.toml");
    let told = "a control plane runs on that store: stop it first";
    place.refused("restore --control @control.toml @backup", 3, told);
    control.signal(Signal::TERM);
    assert!(control.exit(wait::SOON).success());
    place.refused("rollback 2 --control @control.toml", 3, "history begins at 4");
    place.control_file("other", "other");
    assert_eq!(place.done("restore --control @other.toml @backup"), "revision 3 is in force\n");
}

#[test]
fn a_store_that_something_else_has_open_says_so() {
    let place = Place::filled();
    let _plane = serving(&place, "control.toml");
    // The same store by another file, whose socket nobody serves.
    let text = std::fs::read_to_string(place.path("control.toml")).expect("readable");
    let text = text.replace("[store]", "socket = \"elsewhere.sock\"\n[store]");
    place.folder.write("apart.toml", text);
    let told = "another process has it open; ask the control plane that runs, or stop it";
    place.refused("rollback 1 --control @apart.toml", 3, told);
}
