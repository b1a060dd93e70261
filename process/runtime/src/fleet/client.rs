//! Follows control planes for as long as the process serves: one stream at a time, to whichever
//! plane answers. It only brings snapshots to the control loop and takes back what became of them.

use super::enter::renewed;
use super::link::{Link, Trust};
use super::parts::{Arrived, Parts};
use super::report::{REPORT_ORIGINS, Reporter};
use super::{FleetError, FleetState, Folder, Identity, Lock, Member, PlaneUrl, now_unix};
use crate::operator_log;
use bytes::Bytes;
use control_api::publish::{
    Change, EdgeMessage, Frames, Outcome, PlaneMessage, Report, STREAM_PATH, SnapshotId, frame,
};
use h2::{RecvStream, SendStream};
use std::convert::Infallible;
use std::hash::{BuildHasher, Hasher};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, interval, sleep, sleep_until};

/// How often a plane says something where it has not said how often it does.
const BEAT_DEFAULT: Duration = Duration::from_secs(2);
/// Silent beats after which another plane is looked for.
const BEATS_MISSED_MAX: u32 = 3;
/// How often reports go out where nothing was said.
const REPORT_DEFAULT: Duration = Duration::from_secs(5);
/// What a plane may ask for, beats and reports alike.
const PERIODS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(60));
/// The first pause once every plane has failed.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// A stream that ends sooner counts as one that was not had.
const LASTED: Duration = Duration::from_secs(1);
/// From one try to renew the certificate to the next, at least and at most.
const RENEW_AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3_600));

/// A snapshot for the control loop.
#[derive(Debug)]
pub struct Incoming {
    /// What it is to be.
    pub snapshot: SnapshotId,
    /// What it changes; `changes` are all of it where there is none.
    pub base: Option<SnapshotId>,
    /// What is other in it.
    pub changes: Vec<Change>,
    /// When its last octet had come.
    pub arrived: std::time::Instant,
    /// Takes what became of it.
    pub answer: oneshot::Sender<Outcome>,
}

/// The end of a client that the control loop holds. Its drop ends the client.
#[derive(Debug)]
pub struct Fleet {
    orders: Orders,
    incoming: mpsc::Receiver<Incoming>,
    state: Arc<FleetState>,
    folder: Folder,
    lock: Arc<Mutex<Lock>>,
    task: JoinHandle<()>,
}

/// Tells a client whether to follow.
#[derive(Clone, Debug)]
pub struct Orders(Arc<watch::Sender<bool>>);

impl Orders {
    /// Leaves the plane, so that another process can take this edge's place there, until
    /// [`Self::resume`].
    pub fn pause(&self) {
        self.0.send_replace(true);
    }

    /// Follows again.
    pub fn resume(&self) {
        self.0.send_replace(false);
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Fleet {
    /// Begins to follow. Needs a runtime. `has` is what is in force.
    #[must_use]
    pub fn start(
        member: Member,
        has: Option<SnapshotId>,
        reporter: Reporter,
        state: Arc<FleetState>,
    ) -> Self {
        let (pause, paused) = watch::channel(false);
        // One at a time: the next one is not read before this one is answered.
        let (sender, incoming) = mpsc::channel(1);
        let (folder, lock) = (member.folder.clone(), Arc::new(Mutex::new(member.lock)));
        let client = Client {
            urls: member.settings.urls,
            identity: member.identity,
            folder: member.folder,
            starts: member.starts,
            has,
            pending: None,
            reporter,
            state: state.clone(),
            incoming: sender,
            renew_after: 0,
        };
        let task = tokio::spawn(client.run(paused));
        Self { orders: Orders(Arc::new(pause)), incoming, state, folder, lock, task }
    }

    /// What keeps other processes from the state folder.
    #[must_use]
    pub fn lock(&self) -> &Arc<Mutex<Lock>> {
        &self.lock
    }

    /// The next snapshot to be put in force. Nothing is lost where the caller stops waiting.
    pub async fn next(&mut self) -> Incoming {
        match self.incoming.recv().await {
            Some(incoming) => incoming,
            None => std::future::pending().await,
        }
    }

    /// Tells the client whether to follow.
    #[must_use]
    pub fn orders(&self) -> &Orders {
        &self.orders
    }

    /// What is known of the fleet.
    #[must_use]
    pub fn state(&self) -> &Arc<FleetState> {
        &self.state
    }

    /// Notes that the process ends in order, so that its next start counts as no crash.
    pub fn ends(&self) {
        if let Err(error) = self.folder.ended() {
            let what = "the end of this process is not on disk, and counts as a crash";
            operator_log::warn("state_unwritten", what, &[("error", &full(&error))]);
        }
    }
}

/// An error with its cause.
pub(super) fn full(error: &FleetError) -> String {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}"));
    format!("{error}{}", cause.unwrap_or_default())
}

/// A snapshot that the control loop has not answered.
#[derive(Debug)]
struct Pending {
    snapshot: SnapshotId,
    answered: oneshot::Receiver<Outcome>,
}

struct Client {
    urls: Vec<PlaneUrl>,
    identity: Identity,
    folder: Folder,
    starts: u64,
    /// What is in force.
    has: Option<SnapshotId>,
    /// It outlives the stream that it came on: what is in force must be known before the next
    /// hello.
    pending: Option<Pending>,
    reporter: Reporter,
    state: Arc<FleetState>,
    incoming: mpsc::Sender<Incoming>,
    /// Before this second the renewal of the certificate is not tried again.
    renew_after: u64,
}

impl Client {
    async fn run(mut self, mut paused: watch::Receiver<bool>) {
        // Edges that lose a plane together do not all go to the same other one.
        let start = random() % self.urls.len().max(1) as u64;
        let mut at = usize::try_from(start).unwrap_or(0);
        let mut failures = 0_u32;
        loop {
            if let Some(pending) = self.pending.take() {
                let outcome = pending.answered.await;
                self.became(&pending.snapshot, outcome.as_ref().ok());
            }
            if paused.wait_for(|paused| !*paused).await.is_err() {
                return;
            }
            let Some(url) = self.urls.get(at % self.urls.len().max(1)).cloned() else { return };
            let mut welcomed = None;
            let error = tokio::select! {
                followed = self.follow(&url, &mut welcomed) => match followed {
                    Err(error) => error,
                    Ok(never) => match never {},
                },
                _ = paused.wait_for(|paused| *paused) => {
                    self.state.troubled("another process takes over".to_owned());
                    continue;
                }
            };
            self.lost(&error);
            at += 1;
            let lasted = welcomed.is_some_and(|since: Instant| since.elapsed() >= LASTED);
            failures = if lasted { 0 } else { failures.saturating_add(1) };
            if let Some(round) = failures.checked_sub(u32::try_from(self.urls.len()).unwrap_or(1)) {
                sleep(pause(round, random())).await;
            }
        }
    }

    fn lost(&self, error: &FleetError) {
        // An edge whose certificate is over is told so, whatever the words of the plane are.
        let ended = self.identity.ended().map(|ago| FleetError::Ended { ago });
        let error = ended.as_ref().unwrap_or(error);
        let shown = match error {
            FleetError::Ended { .. } => "its certificate has ended".to_owned(),
            error => full(error),
        };
        if self.state.troubled(shown) {
            operator_log::warn(
                "control_lost",
                "no control plane is followed, what is in force goes on; it is tried again",
                &[("error", &full(error)), ("edge", &self.identity.edge)],
            );
        }
    }

    fn became(&mut self, snapshot: &SnapshotId, outcome: Option<&Outcome>) {
        if let Some(outcome) = outcome {
            self.state.became(snapshot, outcome);
        }
        if let Some(Outcome::Applied { .. }) = outcome {
            self.has = Some(snapshot.clone());
        }
    }

    /// Follows a plane until it cannot.
    async fn follow(
        &mut self,
        url: &PlaneUrl,
        welcomed: &mut Option<Instant>,
    ) -> Result<Infallible, FleetError> {
        let mut talk = Talk::open(url, &self.identity, self.has.clone(), self.starts).await?;
        let mut beat = BEAT_DEFAULT;
        let mut reports = interval(REPORT_DEFAULT);
        let mut heard = Instant::now();
        loop {
            let silent = beat * BEATS_MISSED_MAX;
            let waits = self.pending.is_some();
            tokio::select! {
                message = talk.next(), if !waits => {
                    heard = Instant::now();
                    let message = message?;
                    if let PlaneMessage::Welcome { report_ms, beat_ms, .. } = &message {
                        (beat, reports) = (period(*beat_ms), interval(period(*report_ms)));
                        *welcomed = Some(heard);
                        self.reporter.forget();
                    }
                    self.take(&mut talk, message)?;
                }
                outcome = answered(&mut self.pending) => {
                    heard = Instant::now();
                    let Some(Pending { snapshot, .. }) = self.pending.take() else { continue };
                    self.became(&snapshot, outcome.as_ref());
                    // The control loop is gone, and this process with it.
                    let Some(outcome) = outcome else { continue };
                    // What was counted before belongs to the snapshot before.
                    let report = Report { numbers: self.reporter.numbers(), origins: Vec::new() };
                    talk.say(&EdgeMessage::Report(report)).await?;
                    talk.say(&EdgeMessage::Ack { snapshot, outcome }).await?;
                }
                _ = reports.tick(), if welcomed.is_some() => self.report(&mut talk).await?,
                () = sleep_until(heard + silent), if !waits => {
                    return Err(FleetError::Silent { url: url.to_string(), silent });
                }
            }
            self.renew_where_due(&talk.link).await;
        }
    }
}

impl Client {
    fn take(&mut self, talk: &mut Talk, message: PlaneMessage) -> Result<(), FleetError> {
        match message {
            PlaneMessage::Welcome { name, roles, .. } => {
                operator_log::info(
                    "control_followed",
                    "a control plane is followed",
                    &[("url", &talk.link.url()), ("edge", &self.identity.edge), ("name", &name)],
                );
                self.state.connected(talk.link.url(), name, roles);
                return Ok(());
            }
            PlaneMessage::Beat { generation } => self.state.told(generation),
            PlaneMessage::Begin { ref snapshot, .. } => self.state.told(snapshot.generation),
            PlaneMessage::Items { .. } | PlaneMessage::End { .. } => {}
        }
        let Some(arrived) = talk.part(message)? else { return Ok(()) };
        let (answer, answered) = oneshot::channel();
        let Arrived { snapshot, base, changes } = arrived;
        self.pending = Some(Pending { snapshot: snapshot.clone(), answered });
        let arrived = std::time::Instant::now();
        let incoming = Incoming { snapshot, base, changes, arrived, answer };
        // There is room: none is sent while one is pending. Without a control loop the answer is
        // none, which ends the wait for it.
        drop(self.incoming.try_send(incoming));
        Ok(())
    }

    async fn report(&mut self, talk: &mut Talk) -> Result<(), FleetError> {
        let reporter = self.reporter.clone();
        // A fleet's origins are many: looking at all of them is for another thread.
        let made = tokio::task::spawn_blocking(move || reporter.report()).await;
        let mut report = made.unwrap_or_default();
        let mut origins = std::mem::take(&mut report.origins).into_iter().peekable();
        loop {
            let origins: Vec<_> = origins.by_ref().take(REPORT_ORIGINS).collect();
            let last = origins.len() < REPORT_ORIGINS;
            let numbers = report.numbers;
            talk.say(&EdgeMessage::Report(Report { numbers, origins })).await?;
            if last {
                return Ok(());
            }
        }
    }

    /// Renews the certificate where its time has come. That it fails is told and tried again.
    async fn renew_where_due(&mut self, link: &Link) {
        let now = now_unix();
        if now < self.identity.renew || now < self.renew_after {
            return;
        }
        let left = Duration::from_secs(self.identity.ends.saturating_sub(now)) / 10;
        self.renew_after = now + left.clamp(RENEW_AGAIN.0, RENEW_AGAIN.1).as_secs();
        let renewed = renewed(link, &self.identity).await;
        match renewed.and_then(|new| self.folder.keep_identity(&new).map(|()| new)) {
            Ok(new) => {
                self.identity = new;
                self.state.set_certificate(self.identity.ends);
                let ends = self.identity.ends;
                let what = "this edge has a new certificate";
                operator_log::info("certificate_renewed", what, &[("ends_unix_s", &ends)]);
            }
            Err(error) => operator_log::warn(
                "certificate_old",
                "this edge's certificate could not be renewed; it is tried again",
                &[("error", &full(&error)), ("ends_unix_s", &self.identity.ends)],
            ),
        }
    }
}

/// A stream to a plane.
pub(super) struct Talk {
    link: Link,
    out: SendStream<Bytes>,
    body: RecvStream,
    frames: Frames<PlaneMessage>,
    parts: Parts,
}

impl Talk {
    pub(super) async fn open(
        url: &PlaneUrl,
        identity: &Identity,
        has: Option<SnapshotId>,
        starts: u64,
    ) -> Result<Self, FleetError> {
        let link = Link::open(url, &Trust::Identity(Box::new(identity.clone()))).await?;
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let hello = framed(link.url(), &EdgeMessage::Hello { version, has, starts })?;
        let (out, body) = link.stream(STREAM_PATH, hello).await?;
        Ok(Self { link, out, body, frames: Frames::default(), parts: Parts::default() })
    }

    /// The next message. Nothing is lost where the caller stops waiting.
    async fn next(&mut self) -> Result<PlaneMessage, FleetError> {
        loop {
            let taken = self.frames.take();
            let wrong = |cause| FleetError::Frames { url: self.link.url().to_owned(), cause };
            if let Some(message) = taken.map_err(wrong)? {
                return Ok(message);
            }
            let octets = self.link.hear(&mut self.body).await?;
            self.frames.push(&octets);
        }
    }

    fn part(&mut self, message: PlaneMessage) -> Result<Option<Arrived>, FleetError> {
        let url = self.link.url();
        self.parts.take(message).map_err(|what| FleetError::Order { url: url.to_owned(), what })
    }

    /// Takes the next message, and gives the snapshot that it ends.
    pub(super) async fn next_snapshot(&mut self) -> Result<Option<Arrived>, FleetError> {
        let message = self.next().await?;
        self.part(message)
    }

    async fn say(&mut self, message: &EdgeMessage) -> Result<(), FleetError> {
        let octets = framed(self.link.url(), message)?;
        self.link.say(&mut self.out, octets.into(), false).await
    }
}

fn framed(url: &str, message: &EdgeMessage) -> Result<Vec<u8>, FleetError> {
    frame(message).map_err(|cause| FleetError::Frames { url: url.to_owned(), cause })
}

/// What became of the snapshot that is pending; never where none is.
async fn answered(pending: &mut Option<Pending>) -> Option<Outcome> {
    match pending {
        Some(pending) => (&mut pending.answered).await.ok(),
        None => std::future::pending().await,
    }
}

/// What a plane asked for, within reason.
fn period(ms: u64) -> Duration {
    Duration::from_millis(ms).clamp(PERIODS.0, PERIODS.1)
}

/// The pause before the next try, once every plane has failed `round` times more: it doubles, and a
/// half of it is by chance.
fn pause(round: u32, chance: u64) -> Duration {
    let whole = PAUSE_FIRST.saturating_mul(1 << round.min(16)).min(PAUSE_MAX);
    let half = whole / 2;
    half + half.mul_f64((chance % 1_024) as f64 / 1_024.0)
}

fn random() -> u64 {
    std::hash::RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_five_seconds_and_half_of_each_is_chance() {
        for (round, least_ms, most_ms) in
            [(0, 50, 100), (1, 100, 200), (3, 400, 800), (6, 2_500, 5_000), (400, 2_500, 5_000)]
        {
            let ms = |chance| pause(round, chance).as_millis();
            assert_eq!(ms(0), least_ms, "round {round}");
            assert!(ms(1_023) <= most_ms && ms(1_023) > least_ms, "round {round}");
        }
    }

    #[test]
    fn what_a_plane_asks_for_is_kept_within_reason() {
        for (asked, ms) in [(0, 50), (2_000, 2_000), (u64::MAX, 60_000)] {
            assert_eq!(period(asked), Duration::from_millis(ms), "{asked}");
        }
    }
}
