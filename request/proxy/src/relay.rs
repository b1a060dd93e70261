//! Moves a body from one connection to the other: the only pump there is, for both directions,
//! all framings and tunnels.

use crate::codec::h1_body::{BodyFault, Got, SendFault};
use crate::link::Link;
use crate::splice;
use crate::timer;
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// Bytes of a request body that are kept for sending it again.
const REPLAY_BYTES_MAX: usize = 64 * 1024;
/// Grace before the least rate is asked for.
const RATE_GRACE: Duration = Duration::from_secs(5);
/// How often the least rate is looked at.
const RATE_LOOK: Duration = Duration::from_secs(1);

/// Why a body did not come over.
#[derive(Debug)]
pub(crate) enum MoveFault {
    /// The side it came from.
    Source(BodyFault),
    /// The side it went to.
    Sink(SendFault),
}

/// Bytes and times of one direction of one exchange.
#[derive(Debug)]
pub(crate) struct Meter {
    /// Bytes moved.
    pub(crate) bytes: u64,
    last: u32,
    /// Since when only the client is waited for, and the bytes before that.
    asked: Option<(u32, u64)>,
    /// Bytes moved when somebody else was waited for last.
    free: u64,
    replay: Option<Vec<u8>>,
    /// Bytes were taken that nothing here saw.
    unseen: bool,
}

/// What a meter says of a direction that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// Fast enough; look again at this tick.
    Until(u32),
    /// Nothing moved for too long.
    Idle,
    /// Less than the least rate.
    Slow,
}

/// Who keeps a direction waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waits {
    /// The client alone, of whom so many bytes per second are asked; 0 for none.
    Client(u64),
    /// The origin, at its own pace.
    Origin,
}

impl Meter {
    /// A meter that starts now; `replay` keeps the first bytes for a second try.
    pub(crate) fn new(replay: bool) -> Self {
        let now = timer::now();
        let replay = replay.then(Vec::new);
        Self { bytes: 0, last: now, asked: None, free: 0, replay, unseen: false }
    }

    fn moved(&mut self, data: &[u8]) {
        self.bytes += data.len() as u64;
        self.last = timer::now();
        if let Some(kept) = &mut self.replay {
            if kept.len() + data.len() > REPLAY_BYTES_MAX {
                self.replay = None;
            } else {
                kept.extend_from_slice(data);
            }
        }
    }

    /// Notes bytes that an earlier try had taken from the client.
    pub(crate) fn resent(&mut self, data: &[u8]) {
        self.moved(data);
    }

    /// Counts `n` bytes moved without being seen.
    pub(crate) fn passed(&mut self, n: usize) {
        self.bytes += n as u64;
        self.last = timer::now();
    }

    /// Whether what comes is kept for a second try.
    pub(crate) fn keeps_replay(&self) -> bool {
        self.replay.is_some()
    }

    /// Notes that bytes were taken which nothing here saw: there is no second try.
    pub(crate) fn lose_replay(&mut self) {
        self.replay = None;
        self.unseen = true;
    }

    /// Tick of the last movement.
    pub(crate) fn last(&self) -> u32 {
        self.last
    }

    /// The whole body so far, where it can be sent again.
    pub(crate) fn replay(&self) -> Option<&[u8]> {
        match &self.replay {
            Some(kept) => Some(kept),
            None if self.bytes == 0 && !self.unseen => Some(&[]),
            None => None,
        }
    }

    /// Starts the idle time anew: from here on bytes can be expected.
    pub(crate) fn expect(&mut self) {
        self.last = timer::now();
    }

    /// Whether a direction that waits may go on waiting. A rate is averaged over the time in which
    /// the client, and nobody else, was waited for without a break, from its first byte on.
    pub(crate) fn pace(&mut self, idle: Duration, waits: Waits) -> Pace {
        let now = timer::now();
        let end = self.last.saturating_add(ticks(idle));
        if now >= end {
            return Pace::Idle;
        }
        let rate = match waits {
            Waits::Client(rate) => rate,
            Waits::Origin => {
                self.asked = None;
                self.free = self.bytes;
                return Pace::Until(end);
            }
        };
        if rate == 0 || self.bytes == 0 {
            return Pace::Until(end);
        }
        let (since, before) = *self.asked.get_or_insert((now, self.free));
        let grace = since.saturating_add(ticks(RATE_GRACE));
        if now >= grace {
            let seconds = u64::from(now - since) / u64::from(ticks(Duration::from_secs(1)));
            if self.bytes - before < rate.saturating_mul(seconds) {
                return Pace::Slow;
            }
        }
        Pace::Until(end.min(now.saturating_add(ticks(RATE_LOOK)).max(grace)))
    }
}

fn ticks(time: Duration) -> u32 {
    timer::ticks(time).max(1)
}

/// Moves what is ready. Ready when the whole message was received, framed and sent on.
///
/// Everything that is at hand is gathered and written once, when nothing more is at hand.
pub(crate) fn poll_move(
    cx: &mut Context<'_>,
    from: &mut Link<'_>,
    to: &mut Link<'_>,
    meter: &mut Meter,
) -> Poll<Result<(), MoveFault>> {
    loop {
        if let (Link::H1(from), Link::H1(to)) = (&mut *from, &mut *to) {
            ready!(splice::poll(cx, from, to, meter))?;
        }
        if from.data().is_empty() && !from.is_received() {
            ready!(to.poll_room(cx)).map_err(MoveFault::Sink)?;
        }
        match from.poll_body(cx) {
            Poll::Pending => {
                to.give_way();
                if let Poll::Ready(Err(error)) = to.poll_flush(cx) {
                    return Poll::Ready(Err(MoveFault::Sink(SendFault::Io(error))));
                }
                return Poll::Pending;
            }
            Poll::Ready(Err(fault)) => return Poll::Ready(Err(MoveFault::Source(fault))),
            Poll::Ready(Ok(Got::End)) => {
                if !to.is_finished() {
                    let finished = to.finish(&from.trailers());
                    finished.map_err(|e| MoveFault::Sink(SendFault::Length(e)))?;
                }
                ready!(to.poll_flush(cx)).map_err(|e| MoveFault::Sink(SendFault::Io(e)))?;
                return Poll::Ready(Ok(()));
            }
            Poll::Ready(Ok(Got::Data)) => {
                let data = from.data();
                let taken = if to.may_copy(data.len()) {
                    to.copy(data).map_err(|e| MoveFault::Sink(SendFault::Length(e)))?;
                    data.len()
                } else {
                    ready!(to.poll_send(cx, data)).map_err(MoveFault::Sink)?
                };
                meter.moved(data.get(..taken).unwrap_or_default());
                from.consume(taken);
            }
        }
    }
}
