//! Moves large plain bodies from socket to socket through a pipe of the kernel, so that their
//! bytes are never copied into the memory of the process (splice(2)).
//!
//! The accounts are those of copying: what enters the pipe counts as received and framed, what
//! leaves it as moved; so the end of the body is checked where that of every other body is.

use crate::codec::h1_body::{BodyFault, Receiver, SendFault, Sender};
use crate::link::H1Link;
use crate::relay::{Meter, MoveFault};
use crate::stream::Stream;
use crate::timer;
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::OwnedFd;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::Interest;
use tokio::net::TcpStream;

/// Bytes that must still be to come for a body to go through a pipe. The smallest reply measured,
/// one of 100 KiB, takes a third less CPU that way; what is smaller is few copies anyway.
const BODY_MIN: u64 = 64 * 1024;
/// Size asked for a pipe, and bytes that are in one at most. Larger ones measured no faster.
const PIPE_BYTES: usize = 256 * 1024;
/// Pipes of a worker at most. Only one that holds bytes for a slow reader is in use for longer
/// than a call; more slow readers than this are served by copying. Bounds the descriptors, and the
/// pages that the kernel grants to the pipes of a user (64 MiB by default).
const PIPES_MAX: usize = 128;
/// Empty pipes kept per worker: as many as move bytes at the same moment, with room to spare.
const FREE_MAX: usize = 16;
/// How long nothing is tried after a pipe could not be had.
const PAUSE: Duration = Duration::from_secs(1);

const FLAGS: SpliceFlags = SpliceFlags::MOVE.union(SpliceFlags::NONBLOCK);

thread_local! {
    #[expect(clippy::vec_box, reason = "a sender holds its pipe in the box, to stay small")]
    static FREE: RefCell<Vec<Box<Pipe>>> = const { RefCell::new(Vec::new()) };
    static OPEN: Cell<usize> = const { Cell::new(0) };
    static MOVED: Cell<u64> = const { Cell::new(0) };
    static PAUSED_UNTIL: Cell<u32> = const { Cell::new(0) };
}

/// Bytes moved by this worker since the last call.
pub(crate) fn take_moved() -> u64 {
    MOVED.take()
}

/// A pipe, possibly with bytes that have left one socket and not yet reached the other.
///
/// Dropping it closes it; only an empty one is ever used for another body.
#[derive(Debug)]
pub(crate) struct Pipe {
    into: OwnedFd,
    out_of: OwnedFd,
    held: usize,
}

impl Pipe {
    /// An empty pipe; `None` where none can be had at the moment.
    fn take() -> Option<Box<Self>> {
        let free = FREE.with_borrow_mut(Vec::pop);
        if free.is_some() {
            return free;
        }
        if OPEN.get() >= PIPES_MAX || !timer::passed(PAUSED_UNTIL.get()) {
            return None;
        }
        let pipe = Self::open();
        if pipe.is_err() {
            PAUSED_UNTIL.set(timer::tick_after(PAUSE));
        }
        pipe.ok()
    }

    fn open() -> rustix::io::Result<Box<Self>> {
        let (out_of, into) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // One that stays small, as those beyond a user's allowance do, gains nothing.
        fcntl_setpipe_size(&into, PIPE_BYTES)?;
        OPEN.set(OPEN.get() + 1);
        Ok(Box::new(Self { into, out_of, held: 0 }))
    }

    /// Keeps an empty pipe for the next body.
    fn give_back(self: Box<Self>) {
        if self.held == 0 {
            FREE.with_borrow_mut(|free| {
                if free.len() < FREE_MAX {
                    free.push(self);
                }
            });
        }
    }

    /// Bytes in the pipe.
    pub(crate) fn held(&self) -> usize {
        self.held
    }

    fn fill(&mut self, source: &TcpStream, most: usize) -> io::Result<usize> {
        let n = splice(source, None, &self.into, None, most, FLAGS)?;
        self.held += n;
        Ok(n)
    }

    fn drain(&mut self, sink: &TcpStream) -> io::Result<usize> {
        let n = splice(&self.out_of, None, sink, None, self.held, FLAGS)?;
        self.held -= n.min(self.held);
        Ok(n)
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        // The count ends with its thread.
        let _ = OPEN.try_with(|open| open.set(open.get().saturating_sub(1)));
    }
}

/// Moves the rest of a body if it is large and both connections are plain. Ready at its end, at a
/// failure, or where the next bytes are to be copied; no bytes are in a pipe then.
pub(crate) fn poll(
    cx: &mut Context<'_>,
    from: &mut H1Link,
    to: &mut H1Link,
    meter: &mut Meter,
) -> Poll<Result<(), MoveFault>> {
    let H1Link { stream: source, receiver: body, .. } = from;
    let H1Link { stream: sink, sender: message, .. } = to;
    if message.pipe.is_none() && !is_worthwhile((source, body), (sink, message), meter) {
        return Poll::Ready(Ok(()));
    }
    body.buffer = None;
    // The head, and bytes of the body that came with it, go first.
    ready!(message.poll_flush(sink, cx)).map_err(|e| MoveFault::Sink(SendFault::Io(e)))?;
    let (Stream::Plain(source), Stream::Plain(sink)) = (source, sink) else {
        return Poll::Ready(Ok(()));
    };
    let source = source.joined().map_err(|e| MoveFault::Source(BodyFault::Io(e)))?;
    let sink = sink.joined().map_err(|e| MoveFault::Sink(SendFault::Io(e)))?;
    loop {
        ready!(poll_drain(cx, sink, message, meter)).map_err(MoveFault::Sink)?;
        let left = body.left().unwrap_or(0);
        if left == 0 || !ready!(poll_fill(cx, source, body, message, meter))? {
            return Poll::Ready(Ok(()));
        }
    }
}

fn is_worthwhile(
    (source, body): (&Stream, &Receiver),
    (sink, message): (&Stream, &Sender),
    meter: &Meter,
) -> bool {
    // The body that is kept for a second try has to be seen.
    body.left().is_some_and(|left| left >= BODY_MIN)
        && !body.has_surplus()
        && message.is_transparent()
        && !meter.keeps_replay()
        && matches!((source, sink), (Stream::Plain(_), Stream::Plain(_)))
}

/// Empties the pipe of `message` into the socket.
fn poll_drain(
    cx: &mut Context<'_>,
    sink: &TcpStream,
    message: &mut Sender,
    meter: &mut Meter,
) -> Poll<Result<(), SendFault>> {
    let Some(pipe) = &mut message.pipe else { return Poll::Ready(Ok(())) };
    while pipe.held > 0 {
        ready!(sink.poll_write_ready(cx)).map_err(SendFault::Io)?;
        match sink.try_io(Interest::WRITABLE, || pipe.drain(sink)) {
            Ok(0) => return Poll::Ready(Err(SendFault::Io(io::ErrorKind::WriteZero.into()))),
            Ok(n) => {
                MOVED.set(MOVED.get() + n as u64);
                meter.passed(n);
            }
            Err(error) if is_passing(&error) => {}
            Err(error) => return Poll::Ready(Err(SendFault::Io(error))),
        }
    }
    // Nothing is held while nothing comes.
    if let Some(pipe) = message.pipe.take() {
        pipe.give_back();
    }
    Poll::Ready(Ok(()))
}

/// Waits for bytes of the body and takes them into a pipe, which becomes that of `message`; false
/// where they are to be read in the ordinary way.
fn poll_fill(
    cx: &mut Context<'_>,
    source: &TcpStream,
    body: &mut Receiver,
    message: &mut Sender,
    meter: &mut Meter,
) -> Poll<Result<bool, MoveFault>> {
    ready!(source.poll_read_ready(cx)).map_err(|e| MoveFault::Source(BodyFault::Io(e)))?;
    let Some(mut pipe) = Pipe::take() else { return Poll::Ready(Ok(false)) };
    let left = usize::try_from(body.left().unwrap_or(0)).unwrap_or(usize::MAX);
    let most = left.min(PIPE_BYTES);
    // "Would block" may also mean urgent data in front, which only reading passes over: the
    // socket stays marked as readable until reading has failed, too.
    let filled = source.try_io(Interest::READABLE, || match pipe.fill(source, most) {
        Err(error) if is_passing(&error) => Ok(None),
        other => other.map(Some),
    });
    match filled {
        Ok(Some(n)) if n > 0 => {
            message.pipe = Some(pipe);
            meter.lose_replay();
            body.pass(n).map_err(MoveFault::Source)?;
            message.pass(n).map_err(|e| MoveFault::Sink(SendFault::Length(e)))?;
            Poll::Ready(Ok(true))
        }
        Ok(end) => {
            pipe.give_back();
            if end.is_some() {
                body.end().map_err(MoveFault::Source)?;
            }
            Poll::Ready(Ok(false))
        }
        Err(error) if is_refused(&error) => {
            PAUSED_UNTIL.set(timer::NEVER);
            FREE.take();
            Poll::Ready(Ok(false))
        }
        Err(error) => {
            pipe.give_back();
            Poll::Ready(Err(MoveFault::Source(BodyFault::Io(error))))
        }
    }
}

/// Whether trying again is all there is to do.
fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// Whether the system does not let this process splice at all.
fn is_refused(error: &io::Error) -> bool {
    [Errno::INVAL, Errno::NOSYS, Errno::PERM]
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

#[cfg(test)]
mod tests;
