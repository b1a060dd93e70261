//! No client of a retired listener is reset: queued, half open, or arriving meanwhile.

use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;

use super::*;
use crate::sockets;

const PATIENCE: Duration = Duration::from_secs(30);

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn listeners(workers: usize) -> (Vec<TcpListener>, SocketAddr) {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let listeners = sockets::bind(any, workers, 1024).unwrap();
    let address = listeners[0].local_addr().unwrap();
    (listeners, address)
}

/// Sends one byte and waits for its echo and the end.
fn ask(mut client: &TcpStream) -> io::Result<Vec<u8>> {
    client.write_all(b"?")?;
    reply(client)
}

fn reply(mut client: &TcpStream) -> io::Result<Vec<u8>> {
    client.set_read_timeout(Some(PATIENCE))?;
    let mut reply = Vec::new();
    client.read_to_end(&mut reply)?;
    Ok(reply)
}

fn answer(mut connection: TcpStream) {
    connection.set_nonblocking(false).unwrap();
    connection.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut byte = [0; 1];
    if connection.read_exact(&mut byte).is_ok() {
        connection.write_all(b"!").unwrap();
    }
}

/// Retires all sockets at once, each in a worker of its own, and answers what they give.
fn retire_all(listeners: Vec<TcpListener>) -> Retired {
    let (send, receive) = mpsc::channel();
    let server = thread::spawn(move || receive.into_iter().for_each(answer));
    let workers: Vec<_> = listeners
        .into_iter()
        .map(|listener| {
            let send = send.clone();
            thread::spawn(move || {
                let keep = |connection, _| send.send(connection).unwrap();
                runtime().block_on(retire(listener, keep))
            })
        })
        .collect();
    drop(send);
    let mut sum = Retired::default();
    for worker in workers {
        let retired = worker.join().unwrap();
        sum.taken += retired.taken;
        sum.left_some |= retired.left_some;
    }
    server.join().unwrap();
    sum
}

#[test]
fn none_of_200_queued_connections_is_reset() {
    let (listeners, address) = listeners(4);
    let clients: Vec<TcpStream> = (0..200).map(|_| TcpStream::connect(address).unwrap()).collect();
    // The first half has sent already, the second has not.
    for mut client in &clients[..100] {
        client.write_all(b"?").unwrap();
    }
    let asking = thread::spawn(move || {
        for mut client in &clients[100..] {
            client.write_all(b"?").unwrap();
        }
        clients.iter().filter(|client| reply(client).unwrap() == b"!").count()
    });
    let retired = retire_all(listeners);
    assert_eq!(retired, Retired { taken: 200, left_some: false });
    assert_eq!(asking.join().unwrap(), 200);
    let refused = TcpStream::connect(address).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
}

#[test]
fn closing_without_retiring_resets() {
    // What the other tests guard against; if the kernel ever stops doing so, retiring is needless.
    let (listeners, address) = listeners(1);
    let client = TcpStream::connect(address).unwrap();
    drop(listeners);
    let error = ask(&client).unwrap_err();
    assert!(
        matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe),
        "{error:?}"
    );
}

#[test]
fn clients_that_keep_coming_are_served_or_refused() {
    let (listeners, address) = listeners(2);
    let stop = AtomicBool::new(false);
    let (served, refused) = thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let (mut served, mut refused) = (0, 0);
                    while !stop.load(Ordering::Relaxed) && refused == 0 {
                        match TcpStream::connect(address) {
                            Ok(client) => {
                                assert_eq!(ask(&client).unwrap(), b"!");
                                served += 1;
                            }
                            Err(e) => {
                                assert_eq!(e.kind(), io::ErrorKind::ConnectionRefused);
                                refused += 1;
                            }
                        }
                    }
                    (served, refused)
                })
            })
            .collect();
        // Served as by workers until enough were, then retired under the load.
        let mut answered = 0;
        while answered < 200 {
            for listener in &listeners {
                while let Ok((connection, _)) = listener.accept() {
                    answer(connection);
                    answered += 1;
                }
            }
        }
        assert!(!retire_all(listeners).left_some);
        let outcomes = clients.into_iter().map(|client| client.join().unwrap());
        let sum = outcomes.fold((0, 0), |sum, (s, r)| (sum.0 + s, sum.1 + r));
        stop.store(true, Ordering::Relaxed);
        sum
    });
    assert!(served >= 200, "{served}");
    assert_eq!(refused, 4, "every client ends by being refused");
}

#[test]
fn a_handshake_under_way_is_let_finish() {
    let (mut listeners, address) = listeners(1);
    let listener = listeners.remove(0);
    // Drops what carries no SYN: the client gets its SYN-ACK and believes to be connected, the
    // server never sees the last ACK, as on a slow path.
    SockRef::from(&listener)
        .attach_filter(&[
            SockFilter::new(0x30, 0, 0, 13),
            SockFilter::new(0x54, 0, 0, 0x02),
            SockFilter::new(0x15, 0, 1, 0x02),
            SockFilter::new(0x06, 0, 0, u32::MAX),
            SockFilter::new(0x06, 0, 0, 0),
        ])
        .unwrap();
    assert!(!half_open::any(address).unwrap());
    let client = TcpStream::connect(address).unwrap();
    assert!(half_open::any(address).unwrap());
    let asking = thread::spawn(move || ask(&client));
    let retired = retire_all(vec![listener]);
    assert_eq!(retired, Retired { taken: 1, left_some: false });
    assert_eq!(asking.join().unwrap().unwrap(), b"!");
}

#[test]
fn a_retired_socket_can_be_taken_back() {
    let (listeners, address) = listeners(1);
    refuse_new(&listeners[0]).unwrap();
    let deaf = TcpStream::connect_timeout(&address, Duration::from_millis(50)).unwrap_err();
    assert_eq!(deaf.kind(), io::ErrorKind::TimedOut);
    admit_new(&listeners[0]).unwrap();
    admit_new(&listeners[0]).unwrap();
    TcpStream::connect_timeout(&address, PATIENCE).unwrap();
}
