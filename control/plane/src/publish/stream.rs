//! One edge's stream: what it says, what it is given, and when it is given up.
//!
//! A stream has no queue. It looks what is meant for its edge whenever it has nothing under way, so
//! that an edge which is slow skips generations and holds nobody back.

use super::book::Delivery;
use super::fleet::Ticket;
use super::metrics::{Ended, Sent};
use super::publisher::Publisher;
use super::ring::Roles;
use super::{Identity, StreamBody};
use bytes::Bytes;
use control_api::publish::{
    EdgeMessage, FrameError, Frames, Hash, Outcome, PlaneMessage, SnapshotId, frame,
};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

/// How long edges are waited for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// How often an edge hears something at least.
    pub(crate) beat: Duration,
    /// How long an edge may take nothing of what is there for it.
    pub(crate) stall: Duration,
    /// How long an edge may take until it says what became of a snapshot.
    pub(crate) acknowledge: Duration,
    /// How long an edge may take until it says who it is.
    pub(crate) hello: Duration,
    /// When a snapshot is offered again that an edge refused: its own file may be mended by then.
    pub(crate) refused: Duration,
}

impl Patience {
    /// That of a control plane.
    pub(crate) const USUAL: Self = Self {
        beat: Duration::from_secs(2),
        stall: Duration::from_secs(30),
        acknowledge: Duration::from_secs(60),
        hello: Duration::from_secs(10),
        refused: Duration::from_secs(30),
    };
}

/// Times in a row that an edge may ask for everything; an edge that always does would be sent
/// everything for ever.
const RESYNC_LIMIT: u32 = 3;
/// Messages that wait in the body: one is taken while the next one is there.
const WAITING_MAX: usize = 2;

/// What a control plane says, as the body of a reply.
struct Said(mpsc::Receiver<Bytes>);

impl Body for Said {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|octets| octets.map(|octets| Ok(Frame::data(octets))))
    }
}

/// The two ends of what is said on a stream.
pub(super) fn said() -> (mpsc::Sender<Bytes>, StreamBody) {
    let (out, taken) = mpsc::channel(WAITING_MAX);
    (out, Said(taken).boxed_unsync())
}

/// One edge's stream.
pub(super) struct Stream {
    publisher: Arc<Publisher>,
    patience: Patience,
    identity: Identity,
    ticket: Ticket,
    roles: Roles,
    frames: Frames<EdgeMessage>,
    greeted: bool,
    /// What the edge has.
    has: Option<SnapshotId>,
    /// What it was sent and did not say anything of.
    under_way: Option<Arc<Delivery>>,
    /// What it refused last, and when that is offered again.
    refused: Option<(Hash, Instant)>,
    resyncs: u32,
    /// What is not in the body yet.
    waiting: VecDeque<Bytes>,
    /// When the edge took something, or something was put there for it to take.
    moved: Instant,
    /// When it must have said what became of what it took.
    acknowledges: Option<Instant>,
    beat: Instant,
}

impl Stream {
    pub(super) fn new(publisher: Arc<Publisher>, identity: Identity, ticket: Ticket) -> Self {
        let (now, patience) = (Instant::now(), publisher.patience());
        Self {
            patience,
            roles: Roles::of(&identity.roles),
            publisher,
            identity,
            ticket,
            frames: Frames::default(),
            greeted: false,
            has: None,
            under_way: None,
            refused: None,
            resyncs: 0,
            waiting: VecDeque::new(),
            moved: now,
            acknowledges: None,
            beat: now + patience.beat,
        }
    }

    /// Serves the stream until one of both ends it, and tells why it ended.
    pub(super) async fn run<B>(
        mut self,
        mut incoming: B,
        out: mpsc::Sender<Bytes>,
        mut stop: watch::Receiver<bool>,
    ) -> Ended
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let mut news = self.publisher.news();
        loop {
            news.mark_unchanged();
            if let Err(ended) = self.offer().await {
                return ended;
            }
            tokio::select! {
                _ = stop.changed() => return Ended::Stopped,
                () = out.closed() => return Ended::Gone,
                heard = incoming.frame() => match heard {
                    Some(Ok(heard)) => {
                        if let Err(ended) = self.hear(heard.into_data().unwrap_or_default()) {
                            return ended;
                        }
                    }
                    Some(Err(_)) | None => return Ended::Gone,
                },
                place = out.reserve(), if !self.waiting.is_empty() => {
                    let Ok(place) = place else { return Ended::Gone };
                    self.moved = Instant::now();
                    if let Some(octets) = self.waiting.pop_front() {
                        place.send(octets);
                    }
                    if self.waiting.is_empty() && self.under_way.is_some() {
                        let until = Instant::now() + self.patience.acknowledge;
                        self.acknowledges.get_or_insert(until);
                    }
                }
                _ = news.changed(), if self.is_free() => {}
                () = sleep_until(self.deadline()) => if let Err(ended) = self.tick() {
                    return ended;
                },
            }
        }
    }

    /// Whether another snapshot could be sent.
    fn is_free(&self) -> bool {
        self.greeted && self.under_way.is_none() && self.waiting.is_empty()
    }

    /// Sends what is meant for the edge, if it does not have it.
    async fn offer(&mut self) -> Result<(), Ended> {
        if !self.is_free() {
            return Ok(());
        }
        let again = self.refused.filter(|(_, at)| *at > Instant::now()).map(|(hash, _)| hash);
        let publisher = self.publisher.clone();
        let id = (&*self.identity.id, self.ticket);
        let Some(delivery) = publisher.delivery(id, self.roles, self.has.as_ref(), again) else {
            return Ok(());
        };
        let octets = delivery.octets().await.map_err(|_| Ended::Broken)?;
        publisher.metrics.sent(match (&delivery.base, delivery.changes.is_empty()) {
            (None, _) => Sent::Whole,
            (Some(_), true) => Sent::Name,
            (Some(_), false) => Sent::Delta,
        });
        self.waiting.extend(octets.iter().cloned());
        self.under_way = Some(delivery);
        self.moved = Instant::now();
        Ok(())
    }

    fn deadline(&self) -> Instant {
        if !self.greeted {
            return self.moved + self.patience.hello;
        }
        let stalls = (!self.waiting.is_empty()).then(|| self.moved + self.patience.stall);
        let again = self.refused.map(|(_, at)| at);
        let all = [stalls, self.acknowledges, again];
        all.into_iter().flatten().fold(self.beat, Instant::min)
    }

    /// Something is due.
    fn tick(&mut self) -> Result<(), Ended> {
        let now = Instant::now();
        if !self.greeted {
            return Err(Ended::Silent);
        }
        if !self.waiting.is_empty() && now >= self.moved + self.patience.stall {
            return Err(Ended::Slow);
        }
        if self.acknowledges.is_some_and(|at| now >= at) {
            return Err(Ended::Silent);
        }
        if self.refused.is_some_and(|(_, at)| now >= at) {
            self.refused = None;
        }
        if now >= self.beat {
            self.beat = now + self.patience.beat;
            // What is under way says something itself.
            if self.waiting.is_empty() {
                let generation = self.publisher.generation_for(&self.identity.id);
                self.say(&PlaneMessage::Beat { generation })?;
            }
        }
        Ok(())
    }

    fn say(&mut self, message: &PlaneMessage) -> Result<(), Ended> {
        let octets = frame(message).map_err(|_| Ended::Broken)?;
        if self.waiting.is_empty() {
            self.moved = Instant::now();
        }
        self.waiting.push_back(octets.into());
        Ok(())
    }

    /// Takes up octets of the edge.
    fn hear(&mut self, octets: Bytes) -> Result<(), Ended> {
        self.frames.push(&octets);
        loop {
            match self.frames.take() {
                Ok(Some(message)) => self.obey(message)?,
                Ok(None) => return Ok(()),
                Err(FrameError::Long(_) | FrameError::Unknown(_)) => return Err(Ended::Broken),
            }
        }
    }

    fn obey(&mut self, message: EdgeMessage) -> Result<(), Ended> {
        match message {
            EdgeMessage::Hello { version, has, starts } => {
                if self.greeted {
                    return Err(Ended::Broken);
                }
                self.greeted = true;
                self.has = has.clone();
                let mut fleet = self.publisher.fleet();
                fleet.greeted(&self.identity.id, self.ticket, &version, starts, has);
                drop(fleet);
                let report = self.publisher.settings().report.as_millis();
                self.say(&PlaneMessage::Welcome {
                    name: self.identity.name.clone(),
                    roles: self.identity.roles.clone(),
                    report_ms: u64::try_from(report).unwrap_or(u64::MAX),
                    beat_ms: u64::try_from(self.patience.beat.as_millis()).unwrap_or(u64::MAX),
                })
            }
            _ if !self.greeted => Err(Ended::Broken),
            EdgeMessage::Ack { snapshot, outcome } => self.acknowledged(&snapshot, &outcome),
            EdgeMessage::Report(report) => {
                self.publisher.reported(&self.identity.id, self.ticket, &report);
                Ok(())
            }
        }
    }

    /// The edge says what became of a snapshot.
    fn acknowledged(&mut self, snapshot: &SnapshotId, outcome: &Outcome) -> Result<(), Ended> {
        // One that was given up for another is of no interest.
        let Some(delivery) = self.under_way.take_if(|sent| sent.snapshot == *snapshot) else {
            return Ok(());
        };
        // It cannot know before the end of it.
        self.acknowledges.take().ok_or(Ended::Broken)?;
        let publisher = self.publisher.clone();
        publisher.outcome(&self.identity, self.ticket, &delivery, outcome);
        match outcome {
            Outcome::Applied { .. } => {
                self.has = Some(delivery.snapshot.clone());
                (self.refused, self.resyncs) = (None, 0);
            }
            Outcome::Refused { .. } => {
                self.refused =
                    Some((delivery.snapshot.hash, Instant::now() + self.patience.refused));
            }
            Outcome::Resync => {
                self.has = None;
                self.resyncs += 1;
                if self.resyncs > RESYNC_LIMIT {
                    return Err(Ended::Broken);
                }
            }
        }
        Ok(())
    }
}
