//! Origins that fail, each in its own way: the client gets the right status and a `Proxy-Status`
//! field (RFC 9209), a retry happens only where it may, and others take over.

mod choice;
mod health;
mod replies;
mod retries;
mod tls;

use crate::support::edge::{Edge, origin};
use crate::support::files::free_port;
use crate::support::process::Weir;
use crate::support::reader::Message;
use crate::support::upstream::{Conn, Upstream};
use socket2::{Domain, Socket, Type};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// Weir before one origin, with these lines in the pool.
fn before(upstream: &Upstream, lines: &str) -> Weir {
    let lines = format!("outlier_ejection = {{ consecutive_failures = 0 }}\n{lines}");
    let edge = Edge::simple(upstream.port());
    Weir::start(edge.pool("p", &lines, &[origin("o1", upstream.port())]))
}

/// A failure told as it should be: status, and who failed in `Proxy-Status`.
#[track_caller]
fn failed(reply: &Result<Message, String>, status: u16, error: &str) {
    let reply = reply.as_ref().unwrap_or_else(|e| panic!("no reply: {e}"));
    assert_eq!(reply.status, status, "{reply:?}");
    let told = reply.field("proxy-status").unwrap_or_default();
    assert!(told.contains(&format!("error={error}")), "Proxy-Status: {told:?}, not {error}");
}

/// Reads a request whole, then runs `then`.
fn after_request(then: impl Fn(&mut Conn) + Send + Sync + 'static) -> Upstream {
    Upstream::start(move |conn| {
        if conn.request().is_some() {
            then(conn);
        }
    })
}

/// A listening socket that accepts nothing and whose queue is full, so that a connection to it is
/// neither made nor refused.
pub(crate) struct FullQueue {
    pub(crate) port: u16,
    _listener: Socket,
    _queued: Vec<Socket>,
}

impl FullQueue {
    pub(crate) fn new() -> Self {
        let port = free_port();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        listener.bind(&address.into()).expect("the port is free");
        listener.listen(0).expect("it listens");
        let mut queued = Vec::new();
        while TcpStream::connect_timeout(&address, Duration::from_millis(200))
            .map(|stream| queued.push(Socket::from(stream)))
            .is_ok()
        {
            assert!(queued.len() < 64, "the queue of a listener with backlog 0 takes no end");
        }
        Self { port, _listener: listener, _queued: queued }
    }
}
