//! Listening sockets and connections, on the loopback.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr, TcpStream};

use super::*;

fn loopback() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

#[test]
fn every_worker_gets_a_socket_of_its_own_on_one_port() {
    for address in [loopback(), SocketAddr::from((Ipv6Addr::LOCALHOST, 0))] {
        let listeners = bind(address, 4, BACKLOG_DEFAULT).unwrap();
        let ports: BTreeSet<u16> =
            listeners.iter().map(|l| l.local_addr().unwrap().port()).collect();
        assert_eq!(listeners.len(), 4);
        assert_eq!(ports.len(), 1, "{ports:?}");
        for listener in &listeners {
            let blocked = listener.accept().unwrap_err();
            assert_eq!(blocked.kind(), io::ErrorKind::WouldBlock);
            assert!(
                rustix::io::fcntl_getfd(listener).unwrap().contains(rustix::io::FdFlags::CLOEXEC)
            );
        }
        // The kernel spreads connections over the group: 64 on one of four would be no spread.
        let address = listeners[0].local_addr().unwrap();
        let clients: Vec<_> = (0..64).map(|_| TcpStream::connect(address).unwrap()).collect();
        let accepted: Vec<usize> =
            listeners.iter().map(|l| std::iter::from_fn(|| l.accept().ok()).count()).collect();
        assert_eq!(accepted.iter().sum::<usize>(), clients.len(), "{accepted:?}");
        assert!(accepted.iter().filter(|n| **n > 0).count() > 1, "{accepted:?}");
    }
}

#[test]
fn both_families_listen_on_one_port() {
    let six = bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)), 2, 16).unwrap();
    let port = six[0].local_addr().unwrap().port();
    let four = bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)), 2, 16).unwrap();
    let client = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    let taken = four.iter().filter_map(|l| l.accept().ok()).count();
    assert_eq!(taken, 1);
    drop(client);
}

#[test]
fn a_port_in_use_names_its_holder() {
    // A plain listener, and one of a group that would let us in.
    let plain = TcpListener::bind(loopback()).unwrap();
    let group = bind(loopback(), 2, 16).unwrap();
    for listener in [&plain, &group[0]] {
        let address = listener.local_addr().unwrap();
        let BindError::InUse { address: named, holder } = bind(address, 2, 16).unwrap_err() else {
            panic!("another error");
        };
        assert_eq!(named, address);
        assert_eq!(holder.unwrap().pid, std::process::id());
    }
    let address = plain.local_addr().unwrap();
    let message = |holder| BindError::InUse { address, holder }.to_string();
    let foreign = message(Some(Holder { pid: 1, name: "nginx\n".to_owned() }));
    assert!(foreign.starts_with(&format!("{address}: the port is in use by nginx\\n (pid 1)")));
    assert!(message(None).contains("ss -ltnp"));
}

#[test]
fn an_address_of_another_machine_is_explained() {
    let address = SocketAddr::from(([192, 0, 2, 1], 0));
    let refused = bind(address, 1, 16).unwrap_err();
    assert!(matches!(refused, BindError::NotHere { .. }), "{refused:?}");
    assert!(refused.to_string().starts_with("192.0.2.1:0: this machine does not have"));
}

#[test]
fn a_port_is_free_again_after_its_connections_were_served() {
    let listeners = bind(loopback(), 1, 16).unwrap();
    let address = listeners[0].local_addr().unwrap();
    let client = TcpStream::connect(address).unwrap();
    // Closed by this side first, so that TIME_WAIT is on the port.
    drop(listeners[0].accept().unwrap());
    drop(client);
    drop(listeners);
    bind(address, 2, 16).unwrap();
}

#[test]
fn an_activated_socket_is_shared_by_all_workers() {
    let listener = TcpListener::bind(loopback()).unwrap();
    let address = listener.local_addr().unwrap();
    let handed = [("web".to_owned(), listener.into())];
    let mut activated = Activated::from_descriptors(handed).unwrap();
    let listeners = bind_or_take(address, 3, 16, &mut activated).unwrap();
    assert_eq!(listeners.len(), 3);
    let _client = TcpStream::connect(address).unwrap();
    assert!(listeners[2].accept().is_ok());
    assert_eq!(listeners[0].accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    let bound = bind_or_take(loopback(), 2, 16, &mut activated).unwrap();
    assert_eq!(bound.len(), 2);
}

#[test]
fn a_connection_is_prepared_and_comes_from_its_source() {
    let listener = TcpListener::bind(loopback()).unwrap();
    let address = listener.local_addr().unwrap();
    let source = IpAddr::from([127, 0, 0, 9]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let client = runtime.block_on(connect(address, Some(source))).unwrap();
    let (served, peer) = listener.accept().unwrap();
    assert_eq!(peer.ip(), source);
    let socket = SockRef::from(&client);
    assert!(socket.tcp_nodelay().unwrap() && socket.keepalive().unwrap());
    assert_eq!(socket.tcp_keepalive_time().unwrap(), KEEPALIVE_IDLE);
    unacknowledged_at_most(&client, Some(Duration::from_secs(5))).unwrap();
    assert_eq!(socket.tcp_user_timeout().unwrap(), Some(Duration::from_secs(5)));

    // A reset is what the other side reads after `reset_on_close`.
    reset_on_close(&client).unwrap();
    drop(client);
    let mut buffer = [0; 1];
    let error = io::Read::read(&mut &served, &mut buffer).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

#[test]
fn an_address_under_retirement_is_waited_for() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut listeners = bind(loopback(), 1, 16).unwrap();
    let address = listeners[0].local_addr().unwrap();
    let listener = listeners.remove(0);
    // The client stays half open for the listener, so that retirement takes all of its time.
    SockRef::from(&listener)
        .attach_filter(&[
            socket2::SockFilter::new(0x30, 0, 0, 13),
            socket2::SockFilter::new(0x54, 0, 0, 0x02),
            socket2::SockFilter::new(0x15, 0, 1, 0x02),
            socket2::SockFilter::new(0x06, 0, 0, u32::MAX),
            socket2::SockFilter::new(0x06, 0, 0, 0),
        ])
        .unwrap();
    let _client = TcpStream::connect(address).unwrap();
    let (retired, bound) = runtime.block_on(async {
        tokio::join!(crate::retire::retire(listener, |_, _| ()), async {
            assert!(bind(address, 1, 16).is_err());
            bind_when_retired(address, 2, 16).await
        })
    });
    assert_eq!(bound.unwrap().len(), 2);
    // Given up; or, on a machine that paused for long, completed by the repeated SYN-ACK.
    assert!(retired.left_some || retired.taken == 1, "{retired:?}");
}

/// Connections that the sockets take, out of `clients` that are made.
fn taken_by(sockets: &[TcpListener], clients: usize) -> Vec<usize> {
    let address = sockets[0].local_addr().unwrap();
    let clients: Vec<_> = (0..clients).map(|_| TcpStream::connect(address).unwrap()).collect();
    let taken: Vec<usize> =
        sockets.iter().map(|l| std::iter::from_fn(|| l.accept().ok()).count()).collect();
    assert_eq!(taken.iter().sum::<usize>(), clients.len(), "{taken:?}");
    taken
}

#[test]
fn inherited_sockets_are_all_served_however_many_workers_there_are() {
    for (before, workers) in [(3, 1), (3, 3), (2, 5)] {
        let had = bind(loopback(), before, BACKLOG_DEFAULT).unwrap();
        let address = had[0].local_addr().unwrap();
        // One that waits in a queue must be in one of the sockets afterwards.
        let _waiting = TcpStream::connect(address).unwrap();
        let spread = spread(address, had, workers, BACKLOG_DEFAULT).unwrap();
        assert_eq!(spread.len(), before.max(workers));
        assert_eq!(distinct(&spread).unwrap().len(), before.max(workers), "in one group");
        let waited = spread.iter().filter_map(|l| l.accept().ok()).count();
        assert_eq!(waited, 1);
        taken_by(&spread, 8);
    }
}

#[test]
fn workers_share_the_queue_of_a_socket_that_has_no_group() {
    let alone = TcpListener::bind(loopback()).unwrap();
    alone.set_nonblocking(true).unwrap();
    let address = alone.local_addr().unwrap();
    let spread = spread(address, vec![alone], 3, 16).unwrap();
    assert_eq!(spread.len(), 3);
    assert_eq!(distinct(&spread).unwrap().len(), 1);
    assert_eq!(taken_by(&spread, 8), [8, 0, 0]);
    assert_eq!(duplicates(address, &spread).unwrap().len(), 3);
}

/// What `wait_for_retired` makes within a time of an address that is taken for the first `taken`
/// attempts, where looking for the holder takes `search` and finds `holder`; and how often it
/// looks.
fn waited(
    within: Duration,
    taken: usize,
    search: Duration,
    holder: Option<u32>,
) -> (Result<usize, ()>, usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let searches = std::cell::Cell::new(0);
    let mut attempts = 0;
    let attempt = || {
        attempts += 1;
        let in_use = || io::Error::from(io::ErrorKind::AddrInUse);
        if attempts > taken { Ok(attempts) } else { Err((loopback(), "bind", in_use())) }
    };
    let explain = |(address, ..): Refusal| {
        searches.set(searches.get() + 1);
        std::thread::sleep(search);
        let holder = holder.map(|pid| Holder { pid, name: "other".to_owned() });
        BindError::InUse { address, holder }
    };
    let retiring = |error: &BindError| matches!(error, BindError::InUse { holder: None, .. });
    let outcome = runtime.block_on(wait_for_retired(within, attempt, explain, retiring));
    (outcome.map_err(drop), searches.get())
}

#[test]
fn a_slow_search_for_the_holder_does_not_use_up_the_time_to_wait() {
    let (quick, slow) = (Duration::ZERO, Duration::from_millis(80));
    let (short, long) = (Duration::from_millis(60), Duration::from_secs(60));
    assert_eq!(waited(short, 0, slow, None), (Ok(1), 0), "free at once");
    assert_eq!(waited(short, 1, slow, None), (Ok(2), 1), "free by the time the search is over");
    assert_eq!(waited(long, 2, quick, None), (Ok(3), 1), "free after a while");
    assert_eq!(waited(short, usize::MAX, quick, None), (Err(()), 2), "never free");
    assert_eq!(waited(short, 1, quick, Some(1)), (Err(()), 1), "somebody else's: not waited for");
}
