//! What the streams of one HTTP/2 connection share, and the driver that moves its bytes: one task
//! for each connection, for both sides of the proxy.
//!
//! Streams put their frames into the output of the connection and wake the driver, which runs
//! behind everything that is ready in the same turn of the worker. So the frames of all streams
//! leave in one write, and no timer is involved.

use crate::buffers::Lent;
use crate::codec::h2_held::Held;
use crate::stage::record::TlsFacts;
use crate::stream::Stream;
use crate::timer;
use core_wire::h2::connection::{Connection, Event, Fault, StreamKey};
use core_wire::h2::section::Section;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Events of one connection that are handled before other tasks have their turn.
const EVENTS_PER_TURN: usize = 64;
/// Heads of one stream that wait for its task: interim replies, and the final one.
const HEADS_MAX: usize = 4;

/// What the task of a stream is woken by, and what waits for it.
#[derive(Default)]
struct Slot {
    id: u32,
    waker: Option<Waker>,
    heads: VecDeque<(Section, bool)>,
}

/// An HTTP/2 connection as its streams see it.
pub(crate) struct Mux {
    pub(crate) conn: RefCell<Connection>,
    slots: RefCell<Vec<Slot>>,
    driver: RefCell<Option<Waker>>,
    /// The driver has been woken and has not run yet.
    woken: Cell<bool>,
    /// Nothing more is read or written.
    lost: Cell<bool>,
    /// The peer's first settings are known.
    settled: Cell<bool>,
    /// Who waits for that.
    settling: RefCell<Vec<Waker>>,
    /// Of the client's connection.
    pub(crate) tls: TlsFacts,
}

impl Mux {
    pub(crate) fn new(conn: Connection, tls: TlsFacts) -> Rc<Self> {
        Rc::new(Self {
            conn: RefCell::new(conn),
            slots: RefCell::default(),
            driver: RefCell::default(),
            woken: Cell::new(false),
            lost: Cell::new(false),
            settled: Cell::new(false),
            settling: RefCell::default(),
            tls,
        })
    }

    /// Whether the connection is over.
    pub(crate) fn is_lost(&self) -> bool {
        self.lost.get()
    }

    /// Has the driver look at the connection in its turn.
    #[inline]
    pub(crate) fn touch(&self) {
        if !self.woken.replace(true)
            && let Some(driver) = &*self.driver.borrow()
        {
            driver.wake_by_ref();
        }
    }

    /// Gives a stream its place.
    pub(crate) fn enter(&self, key: StreamKey) {
        let mut slots = self.slots.borrow_mut();
        let at = key.index as usize;
        if slots.len() <= at {
            slots.resize_with(at + 1, Slot::default);
        }
        if let Some(slot) = slots.get_mut(at) {
            slot.id = key.id;
            slot.heads.clear();
        }
    }

    /// Takes a stream's place away and frees what the connection holds for it.
    pub(crate) fn leave(&self, key: StreamKey) {
        let waker = self.with(key, |slot| {
            slot.id = 0;
            slot.heads.clear();
            slot.waker.take()
        });
        drop(waker);
        self.conn.borrow_mut().close(key);
        self.touch();
    }

    fn with<T>(&self, key: StreamKey, act: impl FnOnce(&mut Slot) -> T) -> Option<T> {
        let mut slots = self.slots.borrow_mut();
        slots.get_mut(key.index as usize).filter(|slot| slot.id == key.id).map(act)
    }

    /// Wakes the task of `cx` when something happens on the stream.
    #[inline]
    pub(crate) fn wait(&self, key: StreamKey, cx: &Context<'_>) {
        self.with(key, |slot| {
            if !slot.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                slot.waker = Some(cx.waker().clone());
            }
        });
    }

    /// Wakes the task of a stream.
    pub(crate) fn wake(&self, key: StreamKey) {
        // Waking may run a task's destructor, which must find the table free.
        if let Some(waker) = self.with(key, |slot| slot.waker.take()).flatten() {
            waker.wake();
        }
    }

    /// Keeps a head for its stream; false where too many wait already.
    pub(crate) fn put_head(&self, key: StreamKey, head: (Section, bool)) -> bool {
        let put = self.with(key, |slot| {
            let room = slot.heads.len() < HEADS_MAX;
            if room {
                slot.heads.push_back(head);
            }
            room
        });
        self.wake(key);
        put.unwrap_or(true)
    }

    /// The next head of a stream.
    pub(crate) fn take_head(&self, key: StreamKey) -> Option<(Section, bool)> {
        self.with(key, |slot| slot.heads.pop_front()).flatten()
    }

    /// Wakes the streams whose turn to send has come.
    fn wake_writable(&self) {
        loop {
            let next = self.conn.borrow_mut().next_writable();
            let Some(key) = next else { return };
            self.wake(key);
        }
    }

    /// Whether the peer's first settings are known.
    pub(crate) fn is_settled(&self) -> bool {
        self.settled.get()
    }

    /// Notes that they are.
    pub(crate) fn settle(&self) {
        if !self.settled.replace(true) {
            self.settling.take().into_iter().for_each(Waker::wake);
        }
    }

    /// Waits until they are, or never will be.
    pub(crate) fn poll_settled(&self, cx: &Context<'_>) -> Poll<()> {
        if self.is_settled() || self.is_lost() {
            return Poll::Ready(());
        }
        self.settling.borrow_mut().push(cx.waker().clone());
        Poll::Pending
    }

    /// Ends the connection for its streams.
    fn lose(&self) {
        if self.lost.replace(true) {
            return;
        }
        self.conn.borrow_mut().disconnect();
        self.settling.take().into_iter().for_each(Waker::wake);
        let wakers: Vec<_> =
            self.slots.borrow_mut().iter_mut().filter_map(|slot| slot.waker.take()).collect();
        wakers.into_iter().for_each(Waker::wake);
    }
}

/// How a connection came to its end.
#[derive(Debug)]
pub(crate) enum Over {
    /// The peer closed it, or it failed.
    Gone,
    /// The peer broke the protocol or went over a limit; it was told so.
    Fault(Fault),
}

/// Moves the bytes of one connection.
pub(crate) struct Driver {
    pub(crate) mux: Rc<Mux>,
    pub(crate) stream: Stream,
    /// Received bytes; none while nothing is received.
    pub(crate) buffer: Option<Lent>,
    /// The reactor has seen something, so reading may give bytes.
    waited: bool,
    section: Section,
    /// Tick since which the peer takes nothing of what waits for it.
    stalled: Option<u32>,
    held: Held,
}

impl Driver {
    /// A driver that starts with the bytes in `buffer`.
    pub(crate) fn new(mux: Rc<Mux>, stream: Stream, buffer: Option<Lent>) -> Self {
        let held = Held::new(mux.conn.borrow().role());
        let section = Section::default();
        Self { mux, stream, buffer, waited: false, section, stalled: None, held }
    }

    /// Tick since which output waits that the peer does not take.
    pub(crate) fn stalled_since(&self) -> Option<u32> {
        self.stalled
    }

    /// Whether the beginning of a frame waits for its end.
    pub(crate) fn is_mid_frame(&self) -> bool {
        self.buffer.as_ref().is_some_and(|buffer| !buffer.is_empty())
    }

    /// Reads what is there, hands events to `on`, and writes what waits. Ready at the end of the
    /// connection.
    pub(crate) fn poll_turn(
        &mut self,
        cx: &mut Context<'_>,
        mut on: impl FnMut(&Rc<Mux>, Event, &mut Section),
    ) -> Poll<Over> {
        self.mux.woken.set(false);
        {
            let mut driver = self.mux.driver.borrow_mut();
            if !driver.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                *driver = Some(cx.waker().clone());
            }
        }
        let received = self.poll_receive(cx, &mut on);
        // What streams have put into the output since the last turn is counted before it leaves.
        self.held.note(&self.mux.conn.borrow());
        self.mux.wake_writable();
        let written = self.poll_write(cx);
        self.held.note(&self.mux.conn.borrow());
        let over = match (received, written) {
            (Poll::Ready(over), _) => over,
            (Poll::Pending, Poll::Ready(Err(_))) => Over::Gone,
            (Poll::Pending, _) => return Poll::Pending,
        };
        self.mux.lose();
        Poll::Ready(over)
    }

    fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        on: &mut impl FnMut(&Rc<Mux>, Event, &mut Section),
    ) -> Poll<Over> {
        let mut events = 0;
        // A frame may have brought several events, the last of which come without bytes.
        let mut more = true;
        loop {
            while more || self.is_mid_frame() {
                let bytes = self.buffer.as_ref().map_or(&[][..], Lent::filled);
                let mut conn = self.mux.conn.borrow_mut();
                let step = match conn.receive(bytes, &mut self.section, timer::now()) {
                    Ok(step) => step,
                    Err(fault) => return Poll::Ready(Over::Fault(fault)),
                };
                let choked = conn.is_choked();
                drop(conn);
                if let Some(buffer) = &mut self.buffer {
                    buffer.consume(step.consumed);
                }
                more = step.event.is_some();
                if let Some(event) = step.event {
                    on(&self.mux, event, &mut self.section);
                    events += 1;
                    if events == EVENTS_PER_TURN {
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                } else if choked {
                    // What is owed to the peer goes out before more of it is read.
                    return Poll::Pending;
                } else if step.consumed == 0 {
                    break;
                }
            }
            if self.buffer.as_ref().is_none_or(Lent::is_empty)
                && !std::mem::replace(&mut self.waited, true)
            {
                self.buffer = None;
                match self.stream.poll_readable(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(_)) => return Poll::Ready(Over::Gone),
                }
            }
            let buffer = self.buffer.get_or_insert_with(Lent::take);
            match self.stream.poll_read(cx, buffer) {
                Poll::Ready(Ok(n)) if n > 0 => {}
                Poll::Ready(_) => return Poll::Ready(Over::Gone),
                Poll::Pending => {
                    // Nothing is held while nothing comes.
                    if buffer.is_empty() {
                        self.buffer = None;
                    }
                    return Poll::Pending;
                }
            }
        }
    }

    /// Writes what waits. Ready once nothing does.
    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut conn = self.mux.conn.borrow_mut();
            let output = conn.output();
            if output.is_empty() {
                drop(conn);
                let flushed = self.stream.poll_flush(cx);
                self.note(flushed.is_pending(), false);
                return flushed;
            }
            match self.stream.poll_write(cx, &[IoSlice::new(output)]) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(n)) => {
                    conn.sent(n);
                    drop(conn);
                    self.note(false, true);
                    self.mux.wake_writable();
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    drop(conn);
                    self.note(true, false);
                    return Poll::Pending;
                }
            }
        }
    }

    /// Notes whether the peer keeps us waiting.
    fn note(&mut self, pending: bool, moved: bool) {
        if !pending || moved {
            self.stalled = None;
        }
        if pending && self.stalled.is_none() {
            self.stalled = Some(timer::now());
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.mux.lose();
    }
}
