//! The load: one epoll loop that keeps a number of connections asking, and counts what comes back.

mod connection;
mod session;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::event::{Timespec, epoll};
use rustls::ClientConfig;

pub use connection::{Advance, Connection, Talk};
pub use session::Script;

use crate::histogram::Histogram;

/// Bytes read at once: several turns of a loopback socket's buffer, so that large bodies cost the
/// load few calls.
const READ: usize = 256 * 1024;
/// A run with more failures than this proves nothing and stops.
const FAILURES_MAX: u64 = 1000;
/// The longest the loop sleeps without looking at the clock.
const LOOK: Duration = Duration::from_millis(20);

/// When the next request is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Traffic {
    /// On the same connection, as soon as a reply has ended.
    KeepAlive,
    /// On a new connection, once the proxy has closed the old one.
    Close,
    /// This many per second whatever the replies do; latency counts from when it was due.
    Rate(u32),
    /// As `KeepAlive`, until this many replies came; not one request more is sent.
    Count(u64),
    /// One request on each of this many connections, which then stay open.
    Hold(usize),
}

/// What to do to which proxy.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The proxy's listener.
    pub target: SocketAddr,
    /// TLS clients, shared out over the connections; empty for plain TCP.
    pub tls: Vec<Arc<ClientConfig>>,
    /// What is said on them.
    pub talk: Talk,
    /// Connections open (for `Hold`: in flight) at a time.
    pub connections: usize,
    /// When requests are sent.
    pub traffic: Traffic,
    /// Time before the window that is not counted.
    pub warmup: Duration,
    /// The counted time; for `Count` and `Hold` the longest it may take.
    pub window: Duration,
}

impl Plan {
    /// Requests in flight on a connection.
    fn in_flight(&self) -> usize {
        match &self.talk {
            Talk::H1(_) => 1,
            Talk::H2(script) => script.streams,
        }
    }
}

/// A border of the counted window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edge {
    /// Counting begins after the call.
    Begin,
    /// Counting has ended before the call.
    End,
}

/// What the window brought.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Replies that ended.
    pub completed: u64,
    /// Requests that did not get their reply.
    pub failed: u64,
    /// The first of the failures.
    pub first_failure: Option<String>,
    /// Body bytes.
    pub bytes: u64,
    /// Replies over a resumed TLS session.
    pub resumed: u64,
    /// Length of the window.
    pub elapsed: Duration,
    /// From when a request was due until its reply had ended.
    pub latency: Histogram,
    /// What `Hold` left open.
    pub held: Vec<Connection>,
}

/// Runs a plan; `edge` is called at both borders of the counted window.
///
/// # Errors
/// When the proxy cannot be reached, too many requests fail, or a bounded plan takes too long.
pub fn run(plan: &Plan, edge: &mut dyn FnMut(Edge) -> Result<()>) -> Result<Outcome> {
    // Without this, a sleep at a low rate ends up to 50 µs late.
    rustix::thread::set_current_timer_slack(NonZeroU64::new(1)).context("timer slack")?;
    let mut load = Load::new(plan)?;
    load.fill()?;
    load.turn(edge)?;
    Ok(load.outcome)
}

struct Load<'a> {
    plan: &'a Plan,
    poll: OwnedFd,
    slots: Vec<Option<Connection>>,
    /// Requests sent, so that `Count` and `Hold` send not one too many.
    asked: u64,
    /// Slots without a request, for `Rate`.
    free: Vec<usize>,
    /// Requests that were due while no slot was free, for `Rate`.
    late: VecDeque<Instant>,
    next_due: Instant,
    buffer: Vec<u8>,
    /// When the requests were due that one event has answered.
    ended: Vec<Instant>,
    outcome: Outcome,
}

impl<'a> Load<'a> {
    fn new(plan: &'a Plan) -> Result<Self> {
        Ok(Self {
            plan,
            poll: epoll::create(epoll::CreateFlags::CLOEXEC).context("load: epoll")?,
            slots: Vec::new(),
            asked: 0,
            free: Vec::new(),
            late: VecDeque::new(),
            next_due: Instant::now(),
            buffer: vec![0; READ],
            ended: Vec::new(),
            outcome: Outcome::default(),
        })
    }

    fn fill(&mut self) -> Result<()> {
        for slot in 0..self.plan.connections {
            self.slots.push(None);
            self.open(slot)?;
        }
        Ok(())
    }

    /// Opens the connection of a slot and, unless requests come at a rate, asks.
    fn open(&mut self, slot: usize) -> Result<()> {
        if !self.may_ask() {
            return Ok(());
        }
        let due = Instant::now();
        let tls = self.plan.tls.get(slot % self.plan.tls.len().max(1));
        let mut connection = Connection::open(self.plan.target, tls, &self.plan.talk)?;
        let data = epoll::EventData::new_u64(slot as u64);
        epoll::add(&self.poll, &connection.stream, data, epoll::EventFlags::IN)?;
        for _ in 0..self.plan.in_flight() {
            match self.plan.traffic {
                Traffic::Rate(_) => self.free.push(slot),
                _ if !self.may_ask() => break,
                _ => {
                    self.asked += 1;
                    connection.ask(&self.plan.talk, due)?;
                }
            }
        }
        connection.flush()?;
        if let Some(place) = self.slots.get_mut(slot) {
            *place = Some(connection);
        }
        Ok(())
    }

    fn may_ask(&self) -> bool {
        match self.plan.traffic {
            Traffic::Count(total) => self.asked < total,
            Traffic::Hold(total) => self.asked < total as u64,
            _ => true,
        }
    }

    fn turn(&mut self, edge: &mut dyn FnMut(Edge) -> Result<()>) -> Result<()> {
        let mut events = Vec::with_capacity(1024);
        let warm = Instant::now() + self.plan.warmup;
        let mut begun: Option<Instant> = None;
        self.next_due = Instant::now();
        loop {
            let now = Instant::now();
            match begun {
                None if now >= warm => {
                    edge(Edge::Begin)?;
                    self.outcome = Outcome::default();
                    begun = Some(Instant::now());
                }
                Some(begin) if self.over(now.duration_since(begin))? => {
                    self.outcome.elapsed = now.duration_since(begin);
                    return edge(Edge::End);
                }
                _ => {}
            }
            let sleep = self.offer(now);
            events.clear();
            let spare = rustix::buffer::spare_capacity(&mut events);
            match epoll::wait(&self.poll, spare, Some(&timespec(sleep))) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error).context("load: epoll"),
            }
            for event in &events {
                let epoll::Event { data, .. } = *event;
                self.serve(data.u64() as usize)?;
            }
        }
    }

    /// Whether the counted window has ended.
    fn over(&self, elapsed: Duration) -> Result<bool> {
        let (reached, wanted) = match self.plan.traffic {
            Traffic::Count(wanted) => (self.outcome.completed, wanted),
            Traffic::Hold(wanted) => (self.outcome.held.len() as u64, wanted as u64),
            _ => return Ok(elapsed >= self.plan.window),
        };
        if reached < wanted && elapsed >= self.plan.window {
            bail!("only {reached} of {wanted} replies came within {:?}", self.plan.window);
        }
        Ok(reached >= wanted)
    }

    /// Sends what is due at a rate; tells how long the loop may sleep.
    fn offer(&mut self, now: Instant) -> Duration {
        let Traffic::Rate(rate) = self.plan.traffic else { return LOOK };
        while self.next_due <= now {
            self.late.push_back(self.next_due);
            self.next_due += Duration::from_secs(1) / rate.max(1);
        }
        while let Some(due) = self.late.front().copied() {
            let Some(slot) = self.free.pop() else { break };
            let Some(Some(connection)) = self.slots.get_mut(slot) else { continue };
            self.late.pop_front();
            let asked = connection.ask(&self.plan.talk, due).and_then(|()| connection.flush());
            if let Err(error) = asked {
                self.failed(&error, 1);
            }
        }
        self.next_due.saturating_duration_since(now).min(LOOK)
    }

    fn serve(&mut self, slot: usize) -> Result<()> {
        let Some(Some(connection)) = self.slots.get_mut(slot) else { return Ok(()) };
        let mut ended = std::mem::take(&mut self.ended);
        let advance = connection.advance(&mut self.buffer, &mut ended);
        let resumed = connection.resumed();
        let in_flight = connection.in_flight();
        if let Ok(advance) = &advance {
            self.outcome.bytes += advance.body;
        }
        for due in &ended {
            self.outcome.completed += 1;
            self.outcome.resumed += u64::from(resumed);
            self.outcome.latency.record(due.elapsed());
        }
        let answered = ended.len();
        ended.clear();
        self.ended = ended;
        match (advance, self.plan.traffic) {
            (Err(error), _) => {
                self.failed(&error, in_flight);
                self.replace(slot)
            }
            (Ok(_), Traffic::Hold(_)) if answered > 0 => self.hold(slot),
            (Ok(Advance { closed: true, .. }), _) => self.replace(slot),
            (Ok(_), Traffic::KeepAlive | Traffic::Count(_)) => self.again(slot, answered),
            (Ok(_), Traffic::Rate(_)) => {
                self.free.extend(std::iter::repeat_n(slot, answered));
                self.again(slot, 0)
            }
            (Ok(_), Traffic::Close | Traffic::Hold(_)) => Ok(()),
        }
    }

    /// Asks as often as there were answers, and sends all that is to be sent in one piece.
    fn again(&mut self, slot: usize, answered: usize) -> Result<()> {
        let mut asks = 0;
        while asks < answered && self.may_ask() {
            self.asked += 1;
            asks += 1;
        }
        let Some(Some(connection)) = self.slots.get_mut(slot) else { return Ok(()) };
        let now = Instant::now();
        let asked = (0..asks)
            .try_for_each(|_| connection.ask(&self.plan.talk, now))
            .and_then(|()| connection.flush());
        let in_flight = connection.in_flight();
        if let Err(error) = asked {
            self.failed(&error, in_flight);
            return self.replace(slot);
        }
        Ok(())
    }

    fn replace(&mut self, slot: usize) -> Result<()> {
        if self.outcome.failed > FAILURES_MAX {
            let first = self.outcome.first_failure.as_deref().unwrap_or("unknown");
            bail!("more than {FAILURES_MAX} requests failed, the first: {first}");
        }
        // A slot at a rate is free or asked; either way its successor is offered as free once.
        self.free.retain(|free| *free != slot);
        // Closed before the next is opened, or the two would share descriptors' limits.
        self.slots[slot] = None;
        self.open(slot)
    }

    fn hold(&mut self, slot: usize) -> Result<()> {
        if let Some(connection) = self.slots[slot].take() {
            epoll::delete(&self.poll, &connection.stream)?;
            self.outcome.held.push(connection);
        }
        self.open(slot)
    }

    fn failed(&mut self, error: &anyhow::Error, requests: usize) {
        // An error without a request in flight is one all the same.
        let requests = requests.max(1) as u64;
        self.outcome.failed += requests;
        // Successors take the failed requests' place in the count.
        self.asked = self.asked.saturating_sub(requests);
        self.outcome.first_failure.get_or_insert_with(|| format!("{error:#}"));
    }
}

fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(duration.subsec_nanos()),
    }
}
