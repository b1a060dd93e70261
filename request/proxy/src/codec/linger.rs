//! Closes a client's connection so that nothing sent is lost: our end of the stream first, then
//! the client's, since a reset for unread bytes would destroy what it has not read yet.

use crate::buffers::Lent;
use crate::stream::Stream;
use crate::timer::{self, Timer};
use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

/// How long a connection that we closed is read from, so that no reset destroys the last reply.
const LINGER: Duration = Duration::from_secs(1);
/// Bytes thrown away meanwhile.
const LINGER_BYTES_MAX: usize = 256 * 1024;

/// Says the end, and with `read` waits for the client's while throwing away what it still sends.
pub(crate) async fn close(
    stream: &mut Stream,
    buffer: &mut Option<Lent>,
    timer: &Timer,
    read: bool,
) {
    let deadline = timer::tick_after(LINGER);
    let mut left = LINGER_BYTES_MAX;
    let shut = poll_fn(|cx| match stream.poll_shutdown(cx) {
        Poll::Ready(result) => Poll::Ready(result.is_ok()),
        Poll::Pending => timer.poll(cx, deadline).map(|()| false),
    })
    .await;
    if !read || !shut {
        return;
    }
    poll_fn(|cx| {
        loop {
            let room = buffer.get_or_insert_with(Lent::take);
            room.consume(room.len());
            match stream.poll_read(cx, room) {
                Poll::Ready(Ok(n)) if n > 0 && n < left => left -= n,
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => {
                    *buffer = None;
                    return timer.poll(cx, deadline);
                }
            }
        }
    })
    .await;
}
