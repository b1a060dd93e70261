//! Stage 2: what stands in front of the client's own bytes: the PROXY header of a trusted front.

use crate::buffers::Lent;
use crate::tcp::Tcp;
use crate::timer::{self, Timer};
use core_wire::proxy_header::{self, Parsed, ProxyHeader, ProxyHeaderError};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::task::{Poll, ready};
use std::time::Duration;

/// Why a connection has no usable PROXY header; the front's fault.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SniffError {
    #[error("the connection ended before its PROXY header")]
    Ended,
    #[error("the PROXY header took longer than its time limit")]
    Late,
    #[error("PROXY header: {0}")]
    Malformed(#[from] ProxyHeaderError),
}

/// What a PROXY header said, and the bytes behind it.
pub(crate) struct Sniffed {
    /// Client and destination, where the front speaks for a client.
    pub(crate) addresses: Option<(SocketAddr, SocketAddr)>,
    pub(crate) rest: Lent,
}

/// Reads the header that a connection must start with.
pub(crate) async fn proxy_header(
    tcp: &mut Tcp,
    time: Duration,
    timer: &Timer,
) -> Result<Sniffed, SniffError> {
    let deadline = timer::tick_after(time);
    let mut buffer = Lent::take();
    loop {
        if !buffer.is_empty()
            && let Parsed::Done { len, header } = proxy_header::parse(buffer.filled())?
        {
            buffer.consume(len);
            let addresses = match header {
                ProxyHeader::Addresses { source, destination } => Some((source, destination)),
                ProxyHeader::Local | ProxyHeader::Unknown => None,
            };
            return Ok(Sniffed { addresses, rest: buffer });
        }
        let n = poll_fn(|cx| match tcp.poll_read(cx, &mut buffer) {
            Poll::Ready(Ok(n)) => Poll::Ready(Ok(n)),
            Poll::Ready(Err(_)) => Poll::Ready(Err(SniffError::Ended)),
            Poll::Pending => {
                ready!(timer.poll(cx, deadline));
                Poll::Ready(Err(SniffError::Late))
            }
        })
        .await?;
        if n == 0 {
            return Err(SniffError::Ended);
        }
    }
}
