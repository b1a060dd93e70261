//! The manager's messages over real sockets, and descriptors handed in as the manager does it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use super::*;

fn receive(socket: &UnixDatagram) -> String {
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut buffer = [0; 4096];
    let length = socket.recv(&mut buffer).unwrap();
    String::from_utf8(buffer[..length].to_vec()).unwrap()
}

fn every_message(socket: &UnixDatagram, notifier: &Notifier) {
    assert!(notifier.is_active());
    notifier.ready("3 listeners\nWATCHDOG=trigger").unwrap();
    assert_eq!(receive(socket), "READY=1\nSTATUS=3 listeners WATCHDOG=trigger");
    notifier.reloading().unwrap();
    let reloading = receive(socket);
    let micros = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
    assert!(micros.parse::<u64>().unwrap() > 0, "{reloading}");
    notifier.stopping(Duration::from_secs(30)).unwrap();
    assert_eq!(receive(socket), "STOPPING=1\nEXTEND_TIMEOUT_USEC=30000000");
    notifier.status("generation 7").unwrap();
    assert_eq!(receive(socket), "STATUS=generation 7");
    notifier.watchdog().unwrap();
    assert_eq!(receive(socket), "WATCHDOG=1");
    notifier.main_pid(4242).unwrap();
    assert_eq!(receive(socket), "MAINPID=4242");
}

#[test]
fn messages_reach_a_path_and_an_abstract_name() {
    let own = std::process::id();
    let path = std::env::temp_dir().join(format!("weir-notify-{own}"));
    let _ = std::fs::remove_file(&path);
    let socket = UnixDatagram::bind(&path).unwrap();
    every_message(&socket, &Notifier::to(Some(path.as_os_str())).unwrap());
    std::fs::remove_file(&path).unwrap();

    let name = format!("weir-notify-{own}");
    let address = UnixAddr::from_abstract_name(&name).unwrap();
    let socket = UnixDatagram::bind_addr(&address).unwrap();
    every_message(&socket, &Notifier::to(Some(OsStr::new(&format!("@{name}")))).unwrap());
}

#[test]
fn without_a_manager_nothing_is_sent_and_nothing_fails() {
    let silent = Notifier::to(None).unwrap();
    assert!(!silent.is_active());
    silent.ready("").unwrap();
    let refused = Notifier::to(Some(OsStr::new("vsock:1:2"))).unwrap_err();
    assert!(refused.to_string().contains("vsock:1:2"), "{refused}");
    let gone = Notifier::to(Some(OsStr::new("/nonexistent/notify"))).unwrap();
    assert!(gone.watchdog().is_err());
}

#[test]
fn the_watchdog_is_due_at_half_its_time() {
    let check = |usec, pid, expect: Option<u64>| {
        let expect = expect.map(Duration::from_micros);
        assert_eq!(watchdog_interval_of(usec, pid, 17), expect, "{usec:?} {pid:?}");
    };
    check(Some("30000000"), Some("17"), Some(15_000_000));
    check(Some("30000000"), None, Some(15_000_000));
    check(Some("30000000"), Some("18"), None);
    check(Some("30000000"), Some("x"), None);
    check(Some("0"), None, None);
    check(Some("-1"), None, None);
    check(None, Some("17"), None);
}

#[test]
fn a_descriptor_that_is_no_listener_is_refused_by_name() {
    let (stream, _other) = std::os::unix::net::UnixStream::pair().unwrap();
    let refused = Activated::from_descriptors([("http".to_owned(), OwnedFd::from(stream))]);
    let message = refused.unwrap_err().to_string();
    assert!(message.contains("\"http\"") && message.contains("ListenStream="), "{message}");
    let file = OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
    assert!(Activated::from_descriptors([("null".to_owned(), file)]).is_err());
}

/// This test runs itself again as the service: descriptor 3 is a listener that the parent opened.
#[test]
fn a_socket_handed_in_serves() {
    const ADDRESS: &str = "WEIR_TEST_ACTIVATED";
    if let Ok(address) = std::env::var(ADDRESS) {
        return serve_activated(address.parse().unwrap());
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // Left behind by an earlier life of the service: taking over must make it hear again.
    crate::retire::refuse_new(&listener).unwrap();
    let test = "service::tests::a_socket_handed_in_serves";
    let script = "exec 3<&0 0</dev/null; LISTEN_FDS=1 LISTEN_FDNAMES=web LISTEN_PID=$$ exec \"$@\"";
    let mut child = Command::new("sh")
        .args(["-c", script, "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(ADDRESS, address.to_string())
        .stdin(Stdio::from(OwnedFd::from(listener)))
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut reply = String::new();
    let mut client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    client.read_to_string(&mut reply).unwrap();
    assert_eq!(reply, "web");
    assert!(child.wait().unwrap().success());
}

fn serve_activated(address: SocketAddr) {
    let mut activated = Activated::from_env().unwrap();
    assert_eq!(activated.left(), [("web".to_owned(), address)]);
    assert!(Activated::from_env().unwrap().left().is_empty(), "taken twice");
    let other = SocketAddr::new(address.ip(), address.port() ^ 1);
    assert!(activated.take(other).is_none());
    let listener = activated.take(address).unwrap();
    assert!(activated.take(address).is_none() && activated.left().is_empty());
    listener.set_nonblocking(false).unwrap();
    let (mut client, _) = listener.accept().unwrap();
    client.write_all(b"web").unwrap();
}
