//! Both sides of a hand-over in one process, and what either says to a stranger.

use super::channel::Channel;
use super::give::{Failure, steps};
use super::*;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::thread;

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn what(name: &str, address: SocketAddr) -> SocketUse {
    SocketUse::Listener { name: name.to_owned(), address }
}

fn keys(listener: String) -> TicketKeys {
    TicketKeys { listener, age_ms: 5, secrets: vec!["ab".repeat(64); 4] }
}

/// What the old side came to, at which step, and what the new one did.
type Outcome<T> = (Result<(String, Vec<SocketUse>), Failure>, &'static str, T);

/// What the old side comes to, with that offer, when the new one does `new`.
fn against<T: Send + 'static>(
    offer: &Offer,
    new: impl FnOnce(Channel) -> T + Send + 'static,
) -> Outcome<T> {
    let (ours, theirs) = Channel::pair().unwrap();
    let new = thread::spawn(move || new(theirs));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut step = "";
    let old = runtime.block_on(async {
        let ours = ours.into_async().unwrap();
        steps(&ours, offer, &mut step).await
    });
    (old, step, new.join().unwrap())
}

#[test]
fn every_socket_and_key_arrives_however_many_messages_it_takes() {
    let (one, first) = listener();
    let (other, second) = listener();
    let mut offer = Offer::default();
    for n in 0..2 * SOCKETS_PER_MESSAGE + 7 {
        // A long name makes the messages as long as they get.
        let (socket, what) = match n % 2 {
            0 => (&one, what(&"n".repeat(200), first)),
            _ => (&other, what("other", second)),
        };
        offer.sockets.push((what, socket.as_fd().try_clone_to_owned().unwrap()));
    }
    let admin = "127.0.0.1:9900".to_owned();
    let what_admin = SocketUse::Admin { address: admin.clone() };
    offer.sockets.push((what_admin, OwnedFd::from(listener().0)));
    let listeners = 2 * TICKETS_PER_MESSAGE + 1;
    offer.tickets = (0..listeners).map(|n| keys(format!("listener{n}"))).collect();
    let (old, _, ()) = against(&offer, move |channel| {
        let takeover = Takeover::greet(channel, "1.2.3", vec![7, PROTOCOL]).unwrap();
        let mut taken = takeover.take().unwrap();
        assert_eq!(taken.tickets.len(), listeners);
        assert_eq!(taken.tickets.last().map(|k| k.secrets.len()), Some(4));
        let found = taken.listener("whatever it is called", first);
        assert_eq!(found.len(), SOCKETS_PER_MESSAGE + 4, "all of the address");
        for socket in &found {
            assert_eq!(socket.local_addr().unwrap(), first);
            let flags = rustix::io::fcntl_getfd(socket).unwrap();
            assert!(flags.contains(rustix::io::FdFlags::CLOEXEC), "no other program gets it");
        }
        assert!(taken.listener("x", first).is_empty(), "once");
        assert!(taken.admin(&"127.0.0.1:9901".parse().unwrap()).is_none(), "another address");
        assert!(taken.admin(&admin.parse().unwrap()).is_some());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        // The other side of this test goes away without the answer.
        assert!(!runtime.block_on(async { taken.settle().unwrap().ready().await }));
    });
    let (program, served) = old.ok().unwrap();
    assert_eq!(program, "1.2.3");
    assert_eq!(served, [what(&"n".repeat(200), first)], "the other was not wanted");
}

#[test]
fn port_0_is_another_address_each_time_and_goes_by_name() {
    let zero: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let mut offer = Offer::default();
    offer.sockets.push((what("a", zero), listener().0.into()));
    let (old, ..) = against(&offer, move |channel| {
        let mut taken = Takeover::greet(channel, "1", vec![PROTOCOL]).unwrap().take().unwrap();
        assert!(taken.listener("b", zero).is_empty());
        assert_eq!(taken.listener("a", zero).len(), 1);
    });
    assert!(matches!(old, Err(Failure::Channel(ChannelError::Closed))), "it left before READY");
}

#[test]
fn a_program_of_another_protocol_is_told_so() {
    let offer = Offer::default();
    let (old, _, new) =
        against(&offer, |channel| Takeover::greet(channel, "9.9", vec![PROTOCOL + 1]));
    assert!(matches!(old, Err(Failure::Protocol { program, .. }) if program == "9.9"));
    let told = new.unwrap_err().to_string();
    assert!(told.contains("version 1 of the upgrade protocol"), "{told}");
}

#[test]
fn a_refusal_of_the_new_process_comes_with_its_reasons() {
    let (old, step, ()) = against(&Offer::default(), |channel| {
        let takeover = Takeover::greet(channel, "1", vec![PROTOCOL]).unwrap();
        let refusal = takeover.refusal().unwrap();
        refusal.tell((0..60).map(|n| format!("{n}{}", "é".repeat(2000))));
    });
    let Err(Failure::Refused(why)) = old else { panic!("no refusal at {step:?}") };
    assert_eq!(why.len(), 50, "as many as fit a message");
    assert!(why.iter().all(|fault| fault.len() <= 1000));
}

#[test]
fn nonsense_and_words_out_of_turn_end_it() {
    let hello = || Message::Hello { protocols: vec![PROTOCOL], program: "1".to_owned() };
    let within = Duration::from_secs(10);
    for (said, expect) in [
        (vec![Message::Give], "out of its turn"),
        (vec![hello(), Message::Took { sockets: 1 }], "Took"),
        (vec![hello(), Message::Give, Message::Took { sockets: 2 }], "out of its turn"),
        (vec![hello(), Message::Give, Message::Ready { listeners: vec![] }], "Ready"),
    ] {
        let (socket, address) = listener();
        let offer = Offer { sockets: vec![(what("a", address), socket.into())], tickets: vec![] };
        let (old, ..) = against(&offer, move |channel| {
            for message in said {
                // The last one may find the connection closed.
                let _ = channel.send(&message, within);
            }
            while channel.receive(within).is_ok() {}
        });
        let Err(Failure::Channel(error)) = old else { panic!("it went on: {expect}") };
        assert!(error.to_string().contains(expect), "{error}: {expect}");
    }
    let (ours, theirs) = Channel::pair().unwrap();
    rustix::io::write(theirs.into_socket(), b"GET / HTTP/1.1\r\n").unwrap();
    let error = ours.receive(within).unwrap_err();
    assert!(matches!(error, ChannelError::Malformed(_)), "{error}");
    assert!(matches!(ours.receive(within), Err(ChannelError::Closed)));
}

#[test]
fn a_socket_that_does_not_listen_is_refused() {
    let (listening, address) = listener();
    let connected = std::net::TcpStream::connect(address).unwrap();
    for socket in [OwnedFd::from(connected), OwnedFd::from(std::fs::File::open("/").unwrap())] {
        let offer = Offer { sockets: vec![(what("a", address), socket)], tickets: vec![] };
        let (_, _, taken) = against(&offer, |channel| {
            Takeover::greet(channel, "1", vec![PROTOCOL]).unwrap().take().map(drop)
        });
        assert!(taken.is_err(), "{taken:?}");
    }
    drop(listening);
}

#[test]
fn this_process_finds_the_file_it_was_started_from() {
    let program = Program::of_this_process().unwrap();
    let real = std::env::current_exe().unwrap();
    assert_eq!(program.path().canonicalize().unwrap(), real);
}
