//! What a server runs beside Weir: services that say which server answers. A process of its own in
//! the server's namespace (`lab service ID`), so that killing it is killing it.
//!
//! | port | speaks |
//! |---|---|
//! | TCP 7000 | the server's id after a greeting, then an echo |
//! | UDP 7001 | a connected socket for each peer; replies carry the id and how many it had |
//! | UDP 7053 | question and answer, no state |
//! | UDP 4433 | packets with connection ids; replies carry the id |

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, bail};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

use crate::network::Family;

/// TCP echo.
pub const STREAM_PORT: u16 = 7000;
/// UDP with connected sockets.
pub const FLOW_PORT: u16 = 7001;
/// UDP questions and answers.
pub const QUESTION_PORT: u16 = 7053;
/// Packets with connection ids.
pub const QUIC_PORT: u16 = 4433;

/// What clients of the echo send first. A server that spoke first would wait for ever on a SYN
/// cookie's last packet, if that is lost: nobody would send it again.
pub const GREETING: &[u8] = b"hello\n";
/// Octets of the largest datagram: what fits the MTU of clients.
pub const DATAGRAM_MAX: usize = 1472;
/// Octets that an echo holds at a time: a few segments.
const ECHO_LEN: usize = 16 * 1024;
/// Connected sockets of one server: far more than a scenario has clients, far fewer than files.
const PEERS_MAX: usize = 800;

/// Serves until it is killed; says `ready` once all sockets are open.
///
/// # Errors
/// When a port cannot be bound.
pub fn serve(id: u16) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        for family in Family::ALL {
            let vip = family.vip();
            let listener = TcpListener::bind((vip, STREAM_PORT)).await.context("TCP")?;
            tokio::spawn(echoes(id, listener));
            tokio::spawn(flows(id, datagrams((vip, FLOW_PORT).into(), None)?, vip));
            tokio::spawn(questions(id, datagrams((vip, QUESTION_PORT).into(), None)?));
            tokio::spawn(connection_ids(id, datagrams((vip, QUIC_PORT).into(), None)?));
        }
        println!("ready");
        std::future::pending().await
    })
}

/// A UDP socket beside which others of the same address may be, connected or not.
fn datagrams(at: SocketAddr, peer: Option<SocketAddr>) -> Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(at), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&at.into()).with_context(|| format!("binding UDP {at}"))?;
    if let Some(peer) = peer {
        socket.connect(&peer.into()).with_context(|| format!("connecting UDP to {peer}"))?;
    }
    Ok(UdpSocket::from_std(socket.into())?)
}

async fn echoes(id: u16, listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(async move {
            // A client that resets has told its own side.
            let _ = echo(id, stream).await;
        });
    }
}

async fn echo(id: u16, mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    stream.read_exact(&mut [0; GREETING.len()]).await?;
    stream.write_all(&id.to_be_bytes()).await?;
    let mut buffer = vec![0; ECHO_LEN];
    loop {
        let read = stream.read(&mut buffer).await?;
        let Some(got) = buffer.get(..read).filter(|got| !got.is_empty()) else {
            return stream.shutdown().await;
        };
        stream.write_all(got).await?;
    }
}

/// A peer of the flow service: its socket, and datagrams that it has answered.
struct Peer {
    socket: UdpSocket,
    answered: AtomicU64,
}

impl Peer {
    async fn answer(&self, id: u16, datagram: &[u8]) {
        let count = self.answered.fetch_add(1, Ordering::Relaxed);
        let mut reply = id.to_be_bytes().to_vec();
        reply.extend_from_slice(&count.to_be_bytes());
        reply.extend_from_slice(datagram);
        // What is not sent is asked for again.
        let _ = self.socket.send(&reply).await;
    }
}

/// Datagrams of known peers reach their own sockets; those here begin a flow.
async fn flows(id: u16, socket: UdpSocket, vip: IpAddr) {
    let mut peers: BTreeMap<SocketAddr, Arc<Peer>> = BTreeMap::new();
    let mut buffer = vec![0; DATAGRAM_MAX];
    while let Ok((read, from)) = socket.recv_from(&mut buffer).await {
        let datagram = buffer.get(..read).unwrap_or_default();
        if !peers.contains_key(&from) {
            if peers.len() >= PEERS_MAX {
                continue;
            }
            let Ok(connected) = datagrams((vip, FLOW_PORT).into(), Some(from)) else { continue };
            let peer = Arc::new(Peer { socket: connected, answered: AtomicU64::new(0) });
            peers.insert(from, peer.clone());
            tokio::spawn(flow(id, peer));
        }
        // Those that were queued before the peer had its socket are its own too.
        if let Some(peer) = peers.get(&from) {
            peer.answer(id, datagram).await;
        }
    }
}

async fn flow(id: u16, peer: Arc<Peer>) {
    let mut buffer = vec![0; DATAGRAM_MAX];
    loop {
        // An error is an ICMP message about a client that has gone.
        let Ok(read) = peer.socket.recv(&mut buffer).await else { continue };
        peer.answer(id, buffer.get(..read).unwrap_or_default()).await;
    }
}

async fn questions(id: u16, socket: UdpSocket) {
    let mut buffer = vec![0; DATAGRAM_MAX];
    while let Ok((read, from)) = socket.recv_from(&mut buffer).await {
        let mut reply = id.to_be_bytes().to_vec();
        reply.extend_from_slice(buffer.get(..read).unwrap_or_default());
        let _ = socket.send_to(&reply, from).await;
    }
}

/// Octets at the end of a packet that its reply repeats: a number and a word of content.
pub const TRAILER_LEN: usize = 16;

async fn connection_ids(id: u16, socket: UdpSocket) {
    let mut buffer = vec![0; DATAGRAM_MAX];
    while let Ok((read, from)) = socket.recv_from(&mut buffer).await {
        let packet = buffer.get(..read).unwrap_or_default();
        let trailer = packet.len().checked_sub(TRAILER_LEN).and_then(|at| packet.get(at..));
        let Some(trailer) = trailer else { continue };
        let mut reply = id.to_be_bytes().to_vec();
        reply.extend_from_slice(trailer);
        let _ = socket.send_to(&reply, from).await;
    }
}

/// The id that a reply begins with, and the rest of it.
///
/// # Errors
/// When it is too short to hold one.
pub fn split_id(reply: &[u8]) -> Result<(u16, &[u8])> {
    let Some((id, rest)) = reply.split_first_chunk() else {
        bail!("a reply of {} octets", reply.len());
    };
    Ok((u16::from_be_bytes(*id), rest))
}
