//! A small blocking HTTP client for the admin server of a running weir.

use anyhow::{Context, bail};
use core_model::ListenAddress;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// How long the admin server may be silent; a reload answers within a minute.
const TIMEOUT: Duration = Duration::from_secs(65);
/// Largest reply read; the status of 10,000 pools is a fraction of it.
const REPLY_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// A reply.
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

/// Asks for `path`.
///
/// # Errors
/// When nothing answers at `admin`, or what answers is no HTTP server.
pub fn get(admin: &ListenAddress, path: &str) -> anyhow::Result<Reply> {
    exchange(admin, "GET", path)
}

/// Posts nothing to `path`, with the mark that the admin server wants.
///
/// # Errors
/// As [`get`].
pub fn post(admin: &ListenAddress, path: &str) -> anyhow::Result<Reply> {
    exchange(admin, "POST", path)
}

fn exchange(admin: &ListenAddress, method: &str, path: &str) -> anyhow::Result<Reply> {
    let hint = || format!("no weir answers at {admin}; is it running, and is this its [admin] address (--admin)?");
    let host = match admin {
        ListenAddress::Tcp(address) => address.to_string(),
        ListenAddress::Unix(_) => "localhost".to_owned(),
    };
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nX-Weir-Admin: 1\r\nConnection: close\r\n\r\n"
    );
    let mut bytes = Vec::new();
    match admin {
        ListenAddress::Tcp(address) => {
            let mut tcp = TcpStream::connect_timeout(address, Duration::from_secs(5))
                .with_context(hint)?;
            tcp.set_read_timeout(Some(TIMEOUT))?;
            tcp.write_all(request.as_bytes())?;
            tcp.take(REPLY_BYTES_MAX).read_to_end(&mut bytes)?;
        }
        ListenAddress::Unix(path) => {
            let mut unix = UnixStream::connect(path).with_context(hint)?;
            unix.set_read_timeout(Some(TIMEOUT))?;
            unix.write_all(request.as_bytes())?;
            unix.take(REPLY_BYTES_MAX).read_to_end(&mut bytes)?;
        }
    }
    parse(&bytes).with_context(|| format!("{admin} does not answer as an admin server of weir"))
}

fn parse(bytes: &[u8]) -> anyhow::Result<Reply> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        bail!("the reply has no end of its head")
    };
    let head = std::str::from_utf8(bytes.get(..end).unwrap_or_default())?;
    let status = head.split(' ').nth(1).context("the reply has no status")?.parse()?;
    Ok(Reply { status, body: bytes.get(end + 4..).unwrap_or_default().to_vec() })
}
