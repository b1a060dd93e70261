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

/// The reply that accepts it.
pub(crate) const ACCEPT: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const TEXT: u8 = 0x81;

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
        let len = u8::try_from(text.len()).expect("texts are short");
        assert!(len < 126, "longer texts have another form");
        let mut frame = vec![TEXT, 0x80 | len];
        frame.extend(MASK);
        frame.extend(masked(text.as_bytes()));
        self.0.send(frame).expect("the WebSocket is open");
        let head = self.0.exact(2);
        assert_eq!(head[0], TEXT, "a text frame");
        String::from_utf8(self.0.exact(usize::from(head[1]))).expect("a text")
    }
}

/// The origin's side: accepts and echoes texts until the client goes.
pub(crate) fn serve(conn: &mut Conn) {
    if !conn.write(ACCEPT) {
        return;
    }
    let mut buffer = Vec::new();
    loop {
        let piece = conn.piece();
        if piece.is_empty() {
            return;
        }
        buffer.extend(piece);
        while buffer.len() >= 6 {
            let len = usize::from(buffer[1] & 0x7f);
            if buffer.len() < 6 + len {
                break;
            }
            let text = masked(&buffer[6..6 + len]);
            buffer.drain(..6 + len);
            let mut frame = vec![TEXT, u8::try_from(len).expect("below 126")];
            frame.extend(text);
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
            return serve(conn);
        }
        if !conn.answer(&request) {
            return;
        }
    }
}
