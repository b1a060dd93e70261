//! `weir demo`: no request is lost while origins die, taken ports are told before anything starts,
//! and both signals end it with a summary.

mod fleet;

use crate::support::client::{Client, get};
use crate::support::files::free_port;
use crate::support::process::{Guard, command, run};
use crate::support::wait::{self, SOON};
use rustix::process::Signal;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::Command;

const FLAGS: [&str; 3] = ["--http", "--https", "--admin"];

struct Demo {
    guard: Guard,
    /// In the order of [`FLAGS`].
    addresses: [SocketAddr; 3],
}

impl Demo {
    fn start(arguments: &[&str]) -> Self {
        let addresses = FLAGS.map(|_| SocketAddr::from((Ipv4Addr::LOCALHOST, free_port())));
        let mut command = command();
        command.arg("demo").args(arguments);
        for (flag, address) in FLAGS.iter().zip(addresses) {
            command.arg(flag).arg(address.to_string());
        }
        Self { guard: Guard::start(&mut command), addresses }
    }

    #[track_caller]
    fn says(&self, what: &str) {
        let output = &self.guard.stdout;
        wait::until(&format!("it says {what}"), SOON, || output.text().contains(what));
    }

    /// Waits for the end; gives exit code, requests and failures of the last line.
    #[track_caller]
    fn end(&mut self) -> (Option<i32>, u64, u64) {
        let code = self.guard.exit(SOON).code();
        let (requests, failed) = wait::value("the summary is there", SOON, || {
            let text = self.guard.stdout.text();
            let line = text.strip_suffix(" failed\n")?.lines().next_back()?;
            let (requests, failed) = line.split_once(" requests, ")?;
            Some((requests.parse().ok()?, failed.parse().ok()?))
        });
        (code, requests, failed)
    }
}

#[test]
fn no_request_fails_while_origins_die() {
    let mut demo = Demo::start(&["--for", "3s", "--chaos"]);
    let (code, requests, failed) = demo.end();
    println!("{requests} requests, {failed} failed");
    assert_eq!((code, failed), (Some(0), 0), "{}", demo.guard.stderr.text());
    assert!(requests > 300, "only {requests} requests");
    let text = demo.guard.stdout.text();
    let hit = text.lines().find_map(|line| line.strip_prefix("chaos: alpha dies, "));
    let hit = hit.and_then(|hit| hit.strip_prefix("requests in flight: ")?.parse::<u32>().ok());
    assert!(hit.is_some_and(|hit| hit > 0), "no request was in flight:\n{text}");
}

#[test]
fn without_load_the_only_requests_are_yours() {
    for (signal, chaos) in [(Signal::INT, false), (Signal::TERM, true)] {
        let chaos: &[&str] = if chaos { &["--chaos"] } else { &[] };
        let mut demo = Demo::start(&[&["--no-load", "--print-config"], chaos].concat());
        demo.says("Ctrl-C ends it");
        let [http, https, admin] = demo.addresses;
        for target in ["/", "/any/path?x=1", "/slow"] {
            let reply = get(http, target).unwrap_or_else(|e| panic!("{target}: {e}"));
            let asked = format!("You asked: GET {target}\n");
            assert_eq!(reply.status, 200, "{target}");
            assert!(reply.text().ends_with(&asked), "{target}: {}", reply.text());
        }
        let over_tls = run(Command::new("curl").args(["-sSk", &format!("https://{https}/tls")]));
        assert!(over_tls.1.ends_with("You asked: GET /tls\n"), "{over_tls:?}");
        let mut client = Client::connect(admin);
        client.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("it takes requests");
        let page = client.reply("GET");
        assert!(page.status == 200 && page.text().contains("<html"), "{}", page.text());
        let key = key_file(&demo.guard.stdout.text());
        assert!(key.exists(), "{} is not there", key.display());
        demo.guard.signal(signal);
        assert_eq!(demo.end(), (Some(0), 0, 0));
        let folder = key.parent().expect("the key lies in a folder");
        assert!(!folder.exists(), "{} is left", folder.display());
    }
}

/// The path in `key = "…"` of the printed configuration.
fn key_file(config: &str) -> PathBuf {
    let (_, rest) = config.split_once("key = \"").expect("a key is named");
    rest.split('"').next().expect("the path ends").into()
}

#[test]
fn a_signal_ends_the_load_before_connections() {
    for signal in [Signal::INT, Signal::TERM] {
        let mut demo = Demo::start(&[]);
        // The first line of progress: requests are under way.
        demo.says(" req/s ");
        demo.guard.signal(signal);
        let (code, requests, failed) = demo.end();
        assert_eq!((code, failed), (Some(0), 0), "{}", demo.guard.stderr.text());
        assert!(requests > 0);
    }
}

#[test]
fn a_taken_port_is_told_with_its_flag() {
    for (index, flag) in FLAGS.iter().enumerate() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("there is a free port");
        let taken = listener.local_addr().expect("it has an address");
        let mut command = command();
        command.arg("demo").arg(flag).arg(taken.to_string());
        for (_, other) in FLAGS.iter().enumerate().filter(|(other, _)| *other != index) {
            command.arg(other).arg(format!("127.0.0.1:{}", free_port()));
        }
        let mut guard = Guard::start(&mut command);
        assert_eq!(guard.exit(SOON).code(), Some(3));
        let holder = format!("(pid {}): stop it or choose", std::process::id());
        wait::until("the error is there", SOON, || {
            let text = guard.stderr.text();
            text.contains(&format!("{taken} is in use by"))
                && text.contains(&holder)
                && text.contains(&format!("with {flag} ADDR"))
        });
        assert_eq!(guard.stdout.text(), "", "something started");
        drop(listener);
    }
}

#[test]
fn one_address_cannot_be_two() {
    let address = format!("127.0.0.1:{}", free_port());
    let mut command = command();
    command.args(["demo", "--http", &address, "--https", &address]);
    let mut guard = Guard::start(&mut command);
    assert_eq!(guard.exit(SOON).code(), Some(3));
    let told = format!("{address} is in use by another address of this demo: choose another");
    wait::until("the error is there", SOON, || guard.stderr.text().contains(&told));
}
