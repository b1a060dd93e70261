//! The origin: content by seed and length, and in each reply the server that asked for it, which
//! the address of the connection tells.

use std::io;
use std::net::{Ipv6Addr, SocketAddr};
use std::thread;

use anyhow::{Context, Result};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

use crate::content;
use crate::namespace::Namespace;
use crate::network::server_of;
use crate::traffic::tls::{SERVER_HEADER, read_head};

/// Where it listens.
pub const PORT: u16 = 9001;
/// Octets of the largest body that is made.
const BODY_MAX: usize = 1 << 20;

/// Starts it in its namespace, where it serves until the process ends.
///
/// # Errors
/// When it cannot listen.
pub fn start(space: &Namespace) -> Result<()> {
    let listener = space.inside(|| {
        let any = SocketAddr::from((Ipv6Addr::UNSPECIFIED, PORT));
        let listener = std::net::TcpListener::bind(any).context("the origin's port")?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    })?;
    thread::Builder::new().name("origin".to_owned()).spawn(move || -> Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let listener = TcpListener::from_std(listener)?;
            while let Ok((stream, peer)) = listener.accept().await {
                // A connection that ends badly is seen by the client behind it.
                tokio::spawn(async move { serve(stream, peer).await });
            }
            Ok(())
        })
    })?;
    Ok(())
}

async fn serve(mut stream: TcpStream, peer: SocketAddr) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let server = server_of(peer.ip()).unwrap_or_default();
    loop {
        let (head, _) = read_head(&mut stream).await?;
        let Some((seed, len)) = wanted(&head) else {
            return stream.write_all(b"HTTP/1.1 404 \r\ncontent-length: 0\r\n\r\n").await;
        };
        let mut body = vec![0; len];
        content::fill(seed, 0, &mut body);
        let mut reply = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {len}\r\n{SERVER_HEADER}: {server}\r\n\r\n"
        )
        .into_bytes();
        reply.extend_from_slice(&body);
        stream.write_all(&reply).await?;
    }
}

/// Seed and length, from `GET /SEED/LEN`.
fn wanted(head: &str) -> Option<(u64, usize)> {
    let path = head.split(' ').nth(1)?.strip_prefix('/')?;
    let (seed, len) = path.split_once('/')?;
    let len = len.parse().ok().filter(|len| *len <= BODY_MAX)?;
    Some((seed.parse().ok()?, len))
}
