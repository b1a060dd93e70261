//! Reads just enough of an HTTP/1.1 reply to know its status and where it ends.
//!
//! Bodies come with a Content-Length because the origin sends one; any other framing is a failure,
//! as a proxy that changes it would do other work than its peers.

use anyhow::{Result, bail};
use memchr::memmem;

/// A head longer than this is not one of the origin's.
const HEAD_MAX: usize = 16 * 1024;

/// Where in a reply the reader stands.
#[derive(Debug, Default)]
pub struct Reply {
    head: Vec<u8>,
    body_left: Option<u64>,
}

/// What some bytes brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fed {
    /// Body bytes among them.
    pub body: u64,
    /// Whether they ended the reply.
    pub ended: bool,
}

impl Reply {
    /// Whether no byte of a reply has come since the last one ended.
    #[must_use]
    pub fn untouched(&self) -> bool {
        self.head.is_empty() && self.body_left.is_none()
    }

    /// Takes the next bytes of the connection.
    ///
    /// # Errors
    /// When the status is not 200, the head has no length, or bytes follow the reply's end.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Fed> {
        if let Some(left) = self.body_left {
            return self.body(left, bytes);
        }
        if self.head.is_empty()
            && let Some(end) = memmem::find(bytes, b"\r\n\r\n")
        {
            let (head, rest) = bytes.split_at(end + 4);
            return self.body(content_length(head)?, rest);
        }
        self.head.extend_from_slice(bytes);
        let Some(end) = memmem::find(&self.head, b"\r\n\r\n") else {
            if self.head.len() > HEAD_MAX {
                bail!("the proxy's reply head is longer than {HEAD_MAX} bytes");
            }
            return Ok(Fed::default());
        };
        let head = std::mem::take(&mut self.head);
        let (head, rest) = head.split_at(end + 4);
        self.body(content_length(head)?, rest)
    }

    fn body(&mut self, left: u64, bytes: &[u8]) -> Result<Fed> {
        let came = bytes.len() as u64;
        if came > left {
            bail!("{} bytes follow the end of the reply", came - left);
        }
        self.body_left = (came < left).then_some(left - came);
        Ok(Fed { body: came, ended: came == left })
    }
}

fn content_length(head: &[u8]) -> Result<u64> {
    if !head.starts_with(b"HTTP/1.1 200") {
        let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
        bail!("the proxy answered {:?}", String::from_utf8_lossy(line));
    }
    match length_field(head) {
        Some(length) => Ok(length),
        None => bail!("the proxy's reply has no Content-Length"),
    }
}

/// The value of the Content-Length field of a head, if it has a readable one.
#[must_use]
pub fn length_field(head: &[u8]) -> Option<u64> {
    const NAME: &[u8] = b"content-length:";
    let lines = head.split(|byte| *byte == b'\n');
    let mut values = lines
        .filter(|line| line.len() > NAME.len() && line[..NAME.len()].eq_ignore_ascii_case(NAME))
        .map(|line| &line[NAME.len()..]);
    std::str::from_utf8(values.next()?).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-LENGTH: 4\r\nA: b\r\n\r\nbody";

    #[test]
    fn a_reply_ends_the_same_however_it_is_cut() {
        for cut in 0..=WHOLE.len() {
            let mut reply = Reply::default();
            let (first, second) = WHOLE.split_at(cut);
            let mut got = reply.feed(first).unwrap();
            if !second.is_empty() {
                assert!(!got.ended, "cut at {cut}");
                let next = reply.feed(second).unwrap();
                got = Fed { body: got.body + next.body, ended: next.ended };
            }
            assert_eq!(got, Fed { body: 4, ended: true }, "cut at {cut}");
            assert!(reply.untouched());
        }
    }

    #[test]
    fn other_replies_are_refused() {
        for (bytes, says) in [
            (&b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"[..], "502"),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "no Content-Length"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab", "1 bytes follow"),
        ] {
            let error = Reply::default().feed(bytes).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
        assert!(Reply::default().feed(&[b'a'; HEAD_MAX + 1]).is_err());
    }
}
