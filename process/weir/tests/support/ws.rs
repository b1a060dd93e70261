//! WebSocket (RFC 6455) as far as a test needs it: text frames below 126 bytes, both sides.

use super::client::Client;
use super::reader::Message;
use super::upstream::Conn;
use std::net::SocketAddr;

/// The request that opens a WebSocket; the key and its answer are those of RFC 6455 §1.3.
pub(crate) fn request(target: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
/// The first byte of a text in one frame.
pub(crate) const TEXT: u8 = 0x81;

fn masked(text: &[u8]) -> Vec<u8> {
    text.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect()
}

/// Whether a request asks for a WebSocket.
pub(crate) fn wanted(request: &Message) -> bool {
    request.field("upgrade").is_some_and(|value| value.eq_ignore_ascii_case("websocket"))
}

/// An open WebSocket of a client.
pub(crate) struct WebSocket(pub(crate) Client);

impl WebSocket {
    #[track_caller]
    pub(crate) fn open(address: SocketAddr, target: &str) -> Self {
        Self::over(Client::connect(address), target)
    }

    #[track_caller]
    pub(crate) fn over(mut client: Client, target: &str) -> Self {
        client.send(request(target)).expect("the request can be sent");
        let reply = client.reply("GET");
        assert_eq!(reply.status, 101, "{reply:?}");
        assert_eq!(reply.field("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        Self(client)
    }

    /// Sends a text and reads the text that comes back.
    #[track_caller]
    pub(crate) fn echo(&mut self, text: &str) -> String {
        self.0.send(client_frame(TEXT, text.as_bytes())).expect("the WebSocket is open");
        let head = self.0.exact(2);
        assert_eq!(head[0], TEXT, "a text frame");
        String::from_utf8(self.0.exact(usize::from(head[1]))).expect("a text")
    }
}

/// The reply that accepts what `request` asks for (RFC 6455 §4.2.2).
pub(crate) fn accept(request: &Message) -> String {
    let key = request.field("sec-websocket-key").unwrap_or_default();
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {}\r\n\r\n",
        accept_value(key)
    )
}

/// What a server answers to a key.
pub(crate) fn accept_value(key: &str) -> String {
    use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
    let text = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
    let bits: String = hash.as_ref().iter().map(|byte| format!("{byte:08b}")).collect();
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let groups = bits.as_bytes().chunks(6).map(|group| {
        let value = group.iter().fold(0, |n, bit| n << 1 | usize::from(bit - b'0'));
        char::from(letters[value << (6 - group.len())])
    });
    // 20 bytes are 27 letters and one sign of padding.
    groups.chain(['=']).collect()
}

/// A short frame of a client: `kind` is the first byte.
pub(crate) fn client_frame(kind: u8, text: &[u8]) -> Vec<u8> {
    let len = u8::try_from(text.len()).expect("texts are short");
    assert!(len < 126, "longer texts have another form");
    [&[kind, 0x80 | len][..], &MASK, &masked(text)].concat()
}

/// Takes whole frames of a client off the buffer and gives the echo of each.
pub(crate) fn echoes(buffer: &mut Vec<u8>) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    while buffer.len() >= 6 {
        let len = usize::from(buffer[1] & 0x7f);
        if buffer.len() < 6 + len {
            break;
        }
        let text = masked(&buffer[6..6 + len]);
        let head = [buffer[0], u8::try_from(len).expect("below 126")];
        frames.push([&head[..], &text].concat());
        buffer.drain(..6 + len);
    }
    frames
}

/// The origin's side: accepts and echoes frames until the client goes.
pub(crate) fn serve(conn: &mut Conn, request: &Message) {
    if !conn.write(accept(request)) {
        return;
    }
    let mut buffer = Vec::new();
    loop {
        let piece = conn.piece();
        if piece.is_empty() {
            return;
        }
        buffer.extend(piece);
        for frame in echoes(&mut buffer) {
            if !conn.write(frame) {
                return;
            }
        }
    }
}

/// An origin script: WebSockets echo, other requests get their tag.
pub(crate) fn echo_or_tag(conn: &mut Conn) {
    while let Some(request) = conn.request() {
        if wanted(&request) {
            return serve(conn, &request);
        }
        if !conn.answer(&request) {
            return;
        }
    }
}
