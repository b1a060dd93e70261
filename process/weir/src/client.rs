//! Asks the admin listener of a running `weir`: one request, one answer, blocking.

use anyhow::{Context, bail};
use core_model::ListenAddress;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// How long connecting may take, and each step of an answer that takes no work.
const TIMEOUT: Duration = Duration::from_secs(5);

/// How long a changing request may take: a little longer than the server gives a reload.
const WORK_TIMEOUT: Duration = Duration::from_secs(65);

/// Bytes of an answer; `/status` of ten thousand origins fits.
const ANSWER_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// What the admin listener answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    /// The status code.
    pub(crate) status: u16,
    /// The body.
    pub(crate) body: Vec<u8>,
}

/// `GET path`.
///
/// # Errors
/// Nobody answers there, or what answers is no admin listener. Any status is an answer.
pub(crate) fn get(address: &ListenAddress, path: &str) -> anyhow::Result<Reply> {
    ask(address, "GET", path, "", TIMEOUT)
}

/// `POST path` with the header that tells the admin listener that no web page sent it.
///
/// # Errors
/// As [`get`].
pub(crate) fn post(address: &ListenAddress, path: &str) -> anyhow::Result<Reply> {
    ask(address, "POST", path, "X-Weir-Admin: 1\r\nContent-Length: 0\r\n", WORK_TIMEOUT)
}

fn ask(
    address: &ListenAddress,
    method: &str,
    path: &str,
    fields: &str,
    patience: Duration,
) -> anyhow::Result<Reply> {
    let head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n");
    let unreachable = || {
        format!(
            "cannot reach weir's admin listener at {address}: is weir running, and is that its \
             [admin] address?"
        )
    };
    let bytes = match address {
        ListenAddress::Tcp(at) => {
            let stream =
                TcpStream::connect_timeout(&reachable(*at), TIMEOUT).with_context(unreachable)?;
            stream.set_read_timeout(Some(patience))?;
            stream.set_write_timeout(Some(TIMEOUT))?;
            exchange(stream, &head)
        }
        ListenAddress::Unix(path) => {
            let stream = UnixStream::connect(path).with_context(unreachable)?;
            stream.set_read_timeout(Some(patience))?;
            stream.set_write_timeout(Some(TIMEOUT))?;
            exchange(stream, &head)
        }
    };
    let bytes = bytes.with_context(|| format!("{address} did not answer {method} {path}"))?;
    parse(&bytes).with_context(|| format!("what listens at {address} is no admin listener"))
}

/// A server on every address is reached over loopback.
fn reachable(at: SocketAddr) -> SocketAddr {
    let ip = match at.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, at.port())
}

fn exchange(mut stream: impl Read + Write, head: &str) -> std::io::Result<Vec<u8>> {
    stream.write_all(head.as_bytes())?;
    let mut bytes = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn parse(bytes: &[u8]) -> anyhow::Result<Reply> {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
        bail!("the answer has no end of its head");
    };
    let (head, body) = bytes.split_at(end);
    let body = body.get(4..).unwrap_or_default().to_vec();
    let head = std::str::from_utf8(head).context("the answer's head is no text")?;
    let code = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
    let Some(status) = code.and_then(|code| code.parse().ok()) else {
        bail!("the answer is not HTTP/1.1");
    };
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let named = name.eq_ignore_ascii_case("content-length");
        named.then(|| value.trim().parse::<usize>().ok()).flatten()
    });
    if length != Some(body.len()) {
        bail!("the answer was cut");
    }
    Ok(Reply { status, body })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// What `get` makes of a server that answers `reply`, and what the server read.
    fn served(reply: &'static str) -> (anyhow::Result<Reply>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = ListenAddress::Tcp(listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut read = Vec::new();
            let mut byte = [0];
            while !read.ends_with(b"\r\n\r\n") {
                stream.read_exact(&mut byte).unwrap();
                read.extend_from_slice(&byte);
            }
            stream.write_all(reply.as_bytes()).unwrap();
            String::from_utf8(read).unwrap()
        });
        let answer = get(&address, "/status");
        (answer, server.join().unwrap())
    }

    #[test]
    fn an_answer_is_its_status_and_body() {
        let (answer, asked) = served("HTTP/1.1 503 x\r\nContent-Length: 3\r\n\r\nno\n");
        assert_eq!(answer.unwrap(), Reply { status: 503, body: b"no\n".to_vec() });
        assert_eq!(asked, "GET /status HTTP/1.1\r\nHost: localhost\r\n\r\n");
    }

    #[test]
    fn what_is_no_answer_is_told() {
        for (reply, told) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nno\n", "the answer was cut"),
            ("HTTP/1.1 200 OK\r\n", "no end of its head"),
            ("SSH-2.0-x\r\n\r\n", "not HTTP/1.1"),
            ("", "no end of its head"),
        ] {
            let error = format!("{:#}", served(reply).0.unwrap_err());
            assert!(error.contains(told), "{reply}: {error}");
        }
    }

    #[test]
    fn nobody_there_is_told_with_the_address() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let error = format!("{:#}", get(&ListenAddress::Tcp(free), "/").unwrap_err());
        assert!(error.contains(&free.to_string()) && error.contains("[admin]"), "{error}");
        let path = ListenAddress::Unix("/nonexistent/admin.sock".into());
        let error = format!("{:#}", post(&path, "/reload").unwrap_err());
        assert!(error.contains("unix:/nonexistent/admin.sock"), "{error}");
    }

    #[test]
    fn a_server_on_every_address_is_reached_over_loopback() {
        for (bound, asked) in [
            ("0.0.0.0:9900", "127.0.0.1:9900"),
            ("[::]:9900", "[::1]:9900"),
            ("192.0.2.1:9900", "192.0.2.1:9900"),
        ] {
            assert_eq!(reachable(bound.parse().unwrap()), asked.parse().unwrap());
        }
    }
}
