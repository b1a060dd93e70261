//! The drop of rights, each test in a process of its own whose main thread is the only one: no test
//! harness, since its threads would keep their rights.

#![expect(clippy::unwrap_used, reason = "a test, though without the harness")]

use std::env;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use process_runtime::accounts::ServiceUser;
use process_runtime::privileges::{DropError, Rights, SERVING, drop_to, harden, raise_open_files};
use process_runtime::readable::can_read;
use process_runtime::sockets::{BindError, bind};
use rustix::process::{Resource, geteuid, getrlimit};

const CHILD: &str = "WEIR_TEST_CHILD";

fn nobody() -> ServiceUser {
    ServiceUser::find("nobody", None).unwrap()
}

/// A name, and what runs in the child with the path of a file that only root may read.
type Test = (&'static str, fn(&Path));

const TESTS: [Test; 5] = [
    ("root_becomes_a_user_that_can_still_bind_low_ports", becomes_user),
    ("without_the_right_a_low_port_is_refused_with_a_remedy", low_port_refused),
    ("another_user_than_the_own_is_refused_without_root", stranger_refused),
    ("threads_that_would_keep_their_rights_are_refused", threads_refused),
    ("all_descriptors_that_can_be_had_are_taken", descriptors_raised),
];

/// As the child it runs one test; as the parent every one whose name has the argument in it.
fn main() -> ExitCode {
    let secret = env::temp_dir().join(format!("weir-secret-{}", std::process::id()));
    if let Ok(test) = env::var(CHILD) {
        let secret = PathBuf::from(env::args_os().nth(1).unwrap());
        TESTS.iter().find(|(name, _)| *name == test).unwrap().1(&secret);
        return ExitCode::SUCCESS;
    }
    // Runners that give each test a process of its own ask for the names first.
    if env::args().any(|argument| argument == "--list") {
        if !env::args().any(|argument| argument == "--ignored") {
            TESTS.iter().for_each(|(name, _)| println!("{name}: test"));
        }
        return ExitCode::SUCCESS;
    }
    fs::write(&secret, "key").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let filter = env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let wanted = |name: &str| filter.as_deref().is_none_or(|filter| name.contains(filter));
    let (mut passed, mut failed) = (0, 0);
    for (name, _) in TESTS.iter().filter(|(name, _)| wanted(name)) {
        let mut child = Command::new(env::current_exe().unwrap());
        let ok = child.arg(&secret).env(CHILD, name).status().unwrap().success();
        println!("test {name} ... {}", if ok { "ok" } else { "FAILED" });
        *(if ok { &mut passed } else { &mut failed }) += 1;
    }
    fs::remove_file(&secret).unwrap();
    let verdict = if failed == 0 { "ok" } else { "FAILED" };
    let rest = format!("0 ignored; 0 measured; {} filtered out", TESTS.len() - passed - failed);
    println!("\ntest result: {verdict}. {passed} passed; {failed} failed; {rest}\n");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn is_root() -> bool {
    geteuid().as_raw() == 0
}

fn status_of_this_thread(key: &str) -> String {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(key)).unwrap();
    line.split_once(':').unwrap().1.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn becomes_user(secret: &Path) {
    if !is_root() {
        let refused = drop_to(&nobody(), SERVING);
        return assert!(matches!(refused, Err(DropError::NotRoot { .. })), "{refused:?}");
    }
    let foretold = can_read(secret, &nobody()).unwrap_err().to_string();
    assert!(foretold.contains("root:root with mode 0600"), "{foretold}");

    let (user, secret) = (nobody(), secret.to_owned());
    assert_eq!(drop_to(&user, SERVING).unwrap(), SERVING);
    harden().unwrap();
    // A thread that starts later has no more than this one.
    std::thread::spawn(move || {
        let four = |id: u32| [id.to_string(), id.to_string(), id.to_string(), id.to_string()];
        assert_eq!(status_of_this_thread("Uid"), four(user.uid).join(" "));
        assert_eq!(status_of_this_thread("Gid"), four(user.gid).join(" "));
        let bits = format!("{:016x}", SERVING.bits());
        for set in ["CapPrm", "CapEff", "CapBnd"] {
            assert_eq!(status_of_this_thread(set), bits, "{set}");
        }
        for set in ["CapInh", "CapAmb"] {
            assert_eq!(status_of_this_thread(set), "0000000000000000", "{set}");
        }
        assert_eq!(status_of_this_thread("NoNewPrivs"), "1");
        let denied = fs::read(&secret).unwrap_err();
        assert_eq!(denied.kind(), std::io::ErrorKind::PermissionDenied);
        bind(low_port(), 2, 16).unwrap();
    })
    .join()
    .unwrap();
    assert_eq!(
        rustix::process::dumpable_behavior().unwrap(),
        rustix::process::DumpableBehavior::NotDumpable
    );
    assert_eq!(getrlimit(Resource::Core).current, Some(0));
    // Twice is as good as once: this is how a start as the service user looks.
    assert_eq!(drop_to(&nobody(), SERVING).unwrap(), SERVING);
}

/// On a loopback address that nothing else uses.
fn low_port() -> SocketAddr {
    SocketAddr::from(([127, 83, 0, 1], 83))
}

fn low_port_refused(_: &Path) {
    if is_root() {
        assert_eq!(drop_to(&nobody(), Rights::empty()).unwrap(), Rights::empty());
    }
    let free_from = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap();
    let outcome = bind(low_port(), 1, 16);
    if free_from.trim().parse::<u16>().unwrap() <= low_port().port() {
        // This machine lets everybody bind it (containers often do).
        return assert!(outcome.is_ok(), "{outcome:?}");
    }
    let refused = outcome.unwrap_err();
    assert!(matches!(refused, BindError::NotPermitted { .. }), "{refused:?}");
    assert!(refused.to_string().contains("CAP_NET_BIND_SERVICE"), "{refused}");
}

fn stranger_refused(_: &Path) {
    if is_root() {
        drop_to(&nobody(), SERVING).unwrap();
    }
    let stranger = ServiceUser::find("54321", Some("54321")).unwrap();
    let refused = drop_to(&stranger, SERVING).unwrap_err();
    assert!(matches!(refused, DropError::NotRoot { .. }), "{refused:?}");
    assert!(refused.to_string().contains("user 54321"), "{refused}");
}

fn threads_refused(_: &Path) {
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let other = std::thread::spawn(move || stopped.recv());
    let refused = drop_to(&nobody(), SERVING).unwrap_err();
    assert!(matches!(refused, DropError::Threads(2)), "{refused:?}");
    drop(stop);
    assert!(other.join().unwrap().is_err());
}

fn descriptors_raised(_: &Path) {
    let hard = getrlimit(Resource::Nofile).maximum;
    assert_eq!(raise_open_files().unwrap(), hard.unwrap_or(u64::MAX));
    assert_eq!(getrlimit(Resource::Nofile).current, hard);
}
