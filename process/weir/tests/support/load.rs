//! Traffic of several kinds for tests that change something under it: it counts what it does and
//! notes every failure. A further kind is a function that calls [`Load::run`].

use super::client::Client;
use super::h2::client::{H2, Outcome};
use super::h2::frame;
use super::h2::hpack::Block;
use super::wait::SOON;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Traffic of several kinds that counts what it does and notes every failure.
#[derive(Clone, Default)]
pub(crate) struct Load {
    pub(crate) stop: Arc<AtomicBool>,
    pub(crate) done: Arc<AtomicUsize>,
    failures: Arc<Mutex<Vec<String>>>,
}

impl Load {
    /// Runs `turn` until stopped, each time with the number of the turn.
    pub(crate) fn run(
        &self,
        mut turn: impl FnMut(usize) -> Result<(), String> + Send + 'static,
    ) -> JoinHandle<usize> {
        let load = self.clone();
        std::thread::spawn(move || {
            let mut turns = 0;
            while !load.stop.load(Ordering::Acquire) {
                if let Err(what) = turn(turns) {
                    let failures = &load.failures;
                    failures.lock().unwrap_or_else(PoisonError::into_inner).push(what);
                }
                turns += 1;
                load.done.fetch_add(1, Ordering::Relaxed);
            }
            turns
        })
    }

    pub(crate) fn failures(&self) -> Vec<String> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What a reply may say of its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closing {
    /// It stays open: nothing concerns it.
    Never,
    /// It may end in order, and is made anew.
    InOrder,
}

/// GETs on one connection for as long as it stays open; over TLS with a configuration.
pub(crate) fn keep_alive(
    load: &Load,
    address: SocketAddr,
    tls: Option<Arc<rustls::ClientConfig>>,
    name: &'static str,
    closing: Closing,
) -> JoinHandle<usize> {
    let connect = move || match &tls {
        None => Client::try_connect(address),
        Some(config) => Client::tls(address, "a.test", config.clone()),
    };
    let mut client = connect().expect("it serves before the reloads");
    load.run(move |n| {
        let target = format!("/{name}{n}");
        let reply = client.get(&target).map_err(|e| format!("{name}: {e}"));
        let reply = match reply {
            Ok(reply) => reply,
            Err(what) => {
                client = connect().map_err(|e| format!("{what}; then {e}"))?;
                return Err(what);
            }
        };
        let right = reply.status == 200 && reply.text() == format!("GET {target} 0");
        let closes = reply.field("connection") == Some("close");
        if closes {
            client = connect().map_err(|e| format!("{name}: {e}"))?;
        }
        (right && (!closes || closing == Closing::InOrder))
            .then_some(())
            .ok_or(format!("{name}: {reply:?}"))
    })
}

/// Requests on streams of one HTTP/2 connection, several at once, over TLS with a configuration.
/// Where the other side says goodbye, the next ones go over a new connection, and what it says it
/// has not looked at is asked again there.
pub(crate) fn streams(
    load: &Load,
    address: SocketAddr,
    tls: Option<Arc<rustls::ClientConfig>>,
    closing: Closing,
) -> JoinHandle<usize> {
    const AT_ONCE: usize = 4;
    let connect = move || match &tls {
        None => H2::connect(address),
        Some(config) => H2::tls(address, "a.test", config.clone()),
    };
    let mut client = connect();
    load.run(move |n| {
        let mut left: Vec<_> = (0..AT_ONCE).map(|at| format!("/stream{n}-{at}")).collect();
        let mut connections = 0;
        while !left.is_empty() {
            let open = |path: &String| client.open(&Block::request("GET", path), true);
            let asked: Vec<_> = left.iter().map(open).collect();
            let mut again = Vec::new();
            for (id, path) in asked.into_iter().zip(&left) {
                match client.outcome(id, SOON) {
                    Outcome::Reply(reply) => {
                        let right = reply.status == 200 && reply.text() == format!("GET {path} 0");
                        if !right {
                            return Err(format!("streams: {path}: {reply:?}"));
                        }
                    }
                    // Beyond the last stream of a goodbye without a fault: it was not looked at.
                    Outcome::Gone if client.gone() == Some(frame::NO_ERROR) => {
                        again.push(path.clone());
                    }
                    other => {
                        let what = format!("streams: {path}: {other:?}");
                        client = connect();
                        return Err(what);
                    }
                }
            }
            left = again;
            if client.gone().is_some() {
                if closing == Closing::Never {
                    return Err(format!("streams: a goodbye: {:?}", client.go_aways));
                }
                client = connect();
                connections += 1;
            }
            if connections > AT_ONCE {
                return Err(format!("streams: refused again and again: {left:?}"));
            }
        }
        Ok(())
    })
}

/// A connection for each GET.
pub(crate) fn short(load: &Load, address: SocketAddr) -> JoinHandle<usize> {
    load.run(move |n| {
        let target = format!("/short{n}");
        let reply = super::client::get(address, &target)?;
        let right = reply.text() == format!("GET {target} 0");
        right.then_some(()).ok_or(format!("short: {reply:?}"))
    })
}

/// A connection over TLS for each GET, which must resume the session of the one before.
pub(crate) fn resumed(
    load: &Load,
    address: SocketAddr,
    config: Arc<rustls::ClientConfig>,
) -> JoinHandle<usize> {
    load.run(move |n| {
        let told = |e: std::io::Error| format!("resumed {n}: {e}");
        let mut client = Client::tls(address, "a.test", config.clone()).map_err(told)?;
        let reply = client.get(&format!("/resumed{n}"))?;
        let right = reply.text() == format!("GET /resumed{n} 0") && (n == 0 || client.resumed());
        right.then_some(()).ok_or_else(|| format!("resumed {}: {reply:?}", client.resumed()))
    })
}

/// Uploads of a second or so, in pieces.
pub(crate) fn slow_upload(load: &Load, address: SocketAddr) -> JoinHandle<usize> {
    const PIECES: usize = 40;
    let mut client = Client::connect(address);
    let stop = load.stop.clone();
    load.run(move |n| {
        let told = |e: std::io::Error| format!("upload {n}: {e}");
        let head = "HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        client.send(format!("POST /upload{n} {head}")).map_err(told)?;
        for _ in 0..PIECES {
            // The pace of a slow client; nothing is waited for.
            if !stop.load(Ordering::Acquire) {
                std::thread::sleep(Duration::from_millis(25));
            }
            client.send("5\r\nhello\r\n").map_err(told)?;
        }
        client.send("0\r\n\r\n").map_err(told)?;
        let reply = client.reply_within("POST", SOON).map_err(|e| format!("upload {n}: {e}"))?;
        if reply.field("connection") == Some("close") {
            client = Client::try_connect(address).map_err(told)?;
        }
        let right = reply.text() == format!("POST /upload{n} {}", 5 * PIECES);
        right.then_some(()).ok_or(format!("upload {n}: {reply:?}"))
    })
}
