//! HTTP over TLS, by Weir: a connection of many requests, whose replies name the server they went
//! through and are checked octet by octet.

use std::io;
use std::sync::Arc;

use anyhow::{Context, Result};
use rustls::ClientConfig;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{Client, ROUND, again, bounded, own};
use crate::content;
use crate::ledger::Entry;

/// Where Weir terminates TLS.
pub const PORT: u16 = 443;
/// The name in the certificate.
pub const HOST: &str = "lab.test";
/// The header by which the origin tells the server that asked it.
pub const SERVER_HEADER: &str = "x-server";
/// Octets of a reply's head.
const HEAD_MAX: usize = 4096;
/// Octets of the largest body: some dozen segments.
const BODY_MAX: u64 = 40_000;

/// What a client of the lab believes: the certificate that servers have, and no other.
///
/// # Errors
/// When the certificate cannot be taken.
pub fn trust(certificate: CertificateDer<'static>) -> Result<Arc<ClientConfig>> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate).context("trusting the lab's certificate")?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    Ok(Arc::new(config?.with_root_certificates(roots).with_no_client_auth()))
}

/// A connection; it ends where the server says that it closes (a drain).
pub(super) async fn flow(mut client: Client, entry: Entry) -> Result<(), String> {
    let mut stream = again(&entry, || begin(&client, &entry)).await?;
    let seed = content::mix(entry.number() ^ 0x75);
    for round in 0_u64.. {
        let wanted = seed ^ round;
        let reply =
            bounded(&entry, "a request", get(&mut stream, wanted, wanted % BODY_MAX)).await?;
        own(&entry, reply.server)?;
        if reply.closes || client.ends(&entry, round) {
            break;
        }
        client.pause(ROUND).await;
    }
    // The proxy may have closed its side first, and says so in TLS.
    let _ = stream.shutdown().await;
    Ok(())
}

/// A connection whose handshake is done.
async fn begin(client: &Client, entry: &Entry) -> Result<TlsStream<TcpStream>, String> {
    let Some(trust) = client.trust.clone() else { return Err("no certificate".to_owned()) };
    let to = (client.family.vip(), PORT);
    let stream = bounded(entry, "connecting", TcpStream::connect(to)).await?;
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    let name = ServerName::try_from(HOST).map_err(|error| error.to_string())?;
    bounded(entry, "the handshake", TlsConnector::from(trust).connect(name, stream)).await
}

struct Reply {
    server: u16,
    closes: bool,
}

async fn get(stream: &mut TlsStream<TcpStream>, seed: u64, len: u64) -> io::Result<Reply> {
    let request = format!("GET /{seed}/{len} HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    let (head, mut body) = read_head(stream).await?;
    let status = head.split(' ').nth(1).unwrap_or_default();
    if status != "200" {
        return Err(io::Error::other(format!("status {status}")));
    }
    let wrong = |what: &str| io::Error::other(format!("the reply has {what}"));
    let field = |name: &str| field(&head, name);
    let announced: u64 = field("content-length")
        .and_then(|value| value.parse().ok())
        .ok_or_else(|| wrong("no length"))?;
    let server = field(SERVER_HEADER).and_then(|value| value.parse().ok());
    let server = server.ok_or_else(|| wrong("no server"))?;
    let closes = field("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
    let wanted = usize::try_from(announced).map_err(io::Error::other)?;
    let at = body.len();
    if announced != len || at > wanted {
        return Err(wrong("another length"));
    }
    body.resize(wanted, 0);
    if let Some(rest) = body.get_mut(at..) {
        stream.read_exact(rest).await?;
    }
    match content::matches(seed, 0, &body) {
        true => Ok(Reply { server, closes }),
        false => Err(wrong("other content")),
    }
}

/// The head of a message and what was read past it.
///
/// # Errors
/// When the connection ends within it, or it is too long.
pub(crate) async fn read_head(
    stream: &mut (impl AsyncReadExt + Unpin),
) -> io::Result<(String, Vec<u8>)> {
    let mut read = Vec::new();
    loop {
        if let Some(at) = read.windows(4).position(|four| four == b"\r\n\r\n") {
            let rest = read.split_off(at + 4);
            return Ok((String::from_utf8_lossy(&read).into_owned(), rest));
        }
        if read.len() > HEAD_MAX {
            return Err(io::Error::other("a head without end"));
        }
        if stream.read_buf(&mut read).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut fields = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    fields.find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}
