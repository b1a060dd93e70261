//! Connections to origins that many requests share: HTTP/2 by a worker's own connections, few of
//! them, each made once for all requests that wait for it.

use super::connect::{Endpoints, Offer};
use super::{Key, KeyRef, OpenGuard, Upstream, Wire, connect};
use crate::codec::h2_mux::{Driver, Mux};
use crate::codec::h2_stream::H2Link;
use crate::exchange::Stage;
use crate::link::H1Link;
use crate::plan::{OriginPlan, PoolPlan, Transport};
use crate::reason::Reason;
use crate::stream::Stream;
use crate::timer::{self, NEVER, Timer};
use crate::upstream::wait::Failure;
use crate::worker::{Phase, Shared as Process, Worker};
use core_balance::retry::Progress;
use core_wire::h2::connection::{Connection, Event, Limits, Role, StreamKey};
use core_wire::h2::frame::ErrorCode;
use core_wire::h2::section::{Section, SectionLimits};
use hashbrown::HashMap;
use process_runtime::live::OriginLive;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

/// Limits of a reply head: what the heads of HTTP/1.1 replies may have.
const REPLY_SECTION: SectionLimits = SectionLimits { bytes: 64 << 10, fields: 200 };
/// Bytes of one reply that an origin may send ahead of a slow client. Small, since the streams of
/// many clients share the connection.
const STREAM_WINDOW: u32 = 64 * 1024;
/// Bytes of all replies of a connection that may be under way.
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// How long an origin that chose HTTP/1.1 is taken to do so: its connections are made at once for
/// each request again, and this is how late a change is noticed.
const CHOICE: Duration = Duration::from_secs(60);
/// How long an origin may leave what we have for it.
const STALL_MAX: Duration = Duration::from_secs(60);

/// What a worker knows of the connections to one origin.
#[derive(Default)]
struct Entry {
    open: Vec<Rc<Shared>>,
    /// A connection is being made.
    connecting: bool,
    /// Requests that wait for it.
    waiting: Vec<Waker>,
    /// Until this tick the origin is taken to speak HTTP/1.1.
    plain_until: u32,
}

/// One connection.
struct Shared {
    mux: Rc<Mux>,
    served: std::cell::Cell<u64>,
}

/// The shared connections of a worker.
#[derive(Default)]
pub(crate) struct StreamPool {
    map: HashMap<Key, Entry, foldhash::fast::RandomState>,
}

/// What a look into the pool came to.
enum Found {
    /// A stream for the request.
    Stream(Rc<Mux>, StreamKey, u64),
    /// The caller is to make a connection.
    Connect,
    /// Somebody makes one.
    Wait,
    /// The origin has not said yet what it takes.
    Unsettled(Rc<Mux>),
    /// It takes none.
    NoTunnel,
    /// The origin speaks HTTP/1.1.
    Plain,
}

impl StreamPool {
    fn entry(&mut self, address: SocketAddr, transport: &Arc<Transport>) -> &mut Entry {
        let key = KeyRef { address, transport };
        // Two look-ups, since only a miss needs a key of its own.
        if !self.map.contains_key(&key) {
            self.map.insert(Key { address, transport: transport.clone() }, Entry::default());
        }
        self.map.entry(Key { address, transport: transport.clone() }).or_default()
    }

    fn find(&mut self, address: SocketAddr, transport: &Arc<Transport>, tunnel: bool) -> Found {
        let entry = self.entry(address, transport);
        entry
            .open
            .retain(|shared| !shared.mux.is_lost() && !shared.mux.conn.borrow().is_going_away());
        for shared in &entry.open {
            // The origin has not said how many streams it takes, and whether tunnels.
            if !shared.mux.is_settled() && (tunnel || shared.served.get() > 0) {
                return Found::Unsettled(shared.mux.clone());
            }
            if tunnel && !shared.mux.conn.borrow().peer_allows_connect() {
                return Found::NoTunnel;
            }
            // The caller sends the head of its request in this same turn, as streams are opened in
            // the order of their heads.
            let opened = shared.mux.conn.borrow_mut().open();
            if let Ok(key) = opened {
                let served = shared.served.get() + 1;
                shared.served.set(served);
                return Found::Stream(shared.mux.clone(), key, served);
            }
        }
        if !timer::passed(entry.plain_until) {
            return Found::Plain;
        }
        if entry.connecting {
            return Found::Wait;
        }
        entry.connecting = true;
        Found::Connect
    }

    /// Forgets origins without a connection.
    pub(crate) fn tidy(&mut self) {
        self.map.retain(|_, entry| {
            entry.open.retain(|shared| !shared.mux.is_lost());
            entry.connecting || !entry.open.is_empty() || !timer::passed(entry.plain_until)
        });
    }
}

/// The right to make a connection; when it ends, others look again.
struct Connecting<'a> {
    worker: &'a Worker,
    key: Key,
}

impl Connecting<'_> {
    fn with(&self, change: impl FnOnce(&mut Entry)) {
        let mut pool = self.worker.streams.borrow_mut();
        change(pool.entry(self.key.address, &self.key.transport));
    }
}

impl Drop for Connecting<'_> {
    fn drop(&mut self) {
        let mut waiting = Vec::new();
        self.with(|entry| {
            entry.connecting = false;
            waiting = std::mem::take(&mut entry.waiting);
        });
        waiting.into_iter().for_each(Waker::wake);
    }
}

/// A stream to `address`, on a connection that is open or made for it; `None` where the origin is
/// known to speak HTTP/1.1. A connection that turns out to speak that comes as it is.
pub(crate) async fn acquire(
    stage: Stage<'_>,
    (pool, origin): (&PoolPlan, &OriginPlan),
    address: SocketAddr,
    (endpoints, tunnel): (Endpoints, bool),
) -> Result<Option<Box<Upstream>>, Failure> {
    let worker = stage.worker;
    loop {
        let found = worker.streams.borrow_mut().find(address, &origin.transport, tunnel);
        match found {
            Found::Stream(mux, stream, served) => {
                let link = H2Link::new(mux, stream);
                let key = Key { address, transport: origin.transport.clone() };
                let open = OpenGuard::of_stream(&origin.live);
                let mut upstream = Upstream::new(Wire::H2(link), key, open);
                upstream.served = served - 1;
                return Ok(Some(upstream));
            }
            Found::Plain => return Ok(None),
            Found::Unsettled(mux) => settled(stage, pool, &mux).await?,
            Found::NoTunnel => {
                return Err(Failure::new(Reason::NoTunnel, Progress::ReplyBegun));
            }
            Found::Connect => {
                let key = Key { address, transport: origin.transport.clone() };
                let connecting = Connecting { worker, key };
                let made = make(stage, (pool, origin), endpoints, connecting).await?;
                if made.is_some() {
                    return Ok(made);
                }
            }
            Found::Wait => wait(stage, &origin.transport, address).await?,
        }
    }
}

/// Waits until the origin has said what it takes on a connection (RFC 8441 §3).
async fn settled(stage: Stage<'_>, pool: &PoolPlan, mux: &Mux) -> Result<(), Failure> {
    let deadline = timer::tick_after(pool.config.timeouts.handshake).min(stage.end());
    poll_fn(|cx| match mux.poll_settled(cx) {
        Poll::Ready(()) => Poll::Ready(Ok(())),
        Poll::Pending => stage.timer.poll(cx, deadline).map(|()| {
            let failure = Failure::new(Reason::ReplyTimeout, Progress::NothingWritten);
            Err(failure.because(&"no SETTINGS came"))
        }),
    })
    .await
}

/// Waits until the connection that somebody makes is there, or is known not to come.
async fn wait(
    stage: Stage<'_>,
    transport: &Arc<Transport>,
    address: SocketAddr,
) -> Result<(), Failure> {
    let mut asked = false;
    poll_fn(|cx| {
        if stage.is_over() {
            let failure = Failure::new(Reason::DrainTimeout, Progress::NothingWritten);
            return Poll::Ready(Err(failure));
        }
        let mut pool = stage.worker.streams.borrow_mut();
        let entry = pool.entry(address, transport);
        if asked && !entry.connecting {
            return Poll::Ready(Ok(()));
        }
        asked = true;
        entry.waiting.push(cx.waker().clone());
        drop(pool);
        // Whoever connects has a time limit.
        stage
            .timer
            .poll(cx, stage.end())
            .map(|()| Err(Failure::new(Reason::DrainTimeout, Progress::NothingWritten)))
    })
    .await
}

/// Makes a connection for all. Gives it to this request where it speaks HTTP/1.1.
async fn make(
    stage: Stage<'_>,
    (pool, origin): (&PoolPlan, &OriginPlan),
    endpoints: Endpoints,
    connecting: Connecting<'_>,
) -> Result<Option<Box<Upstream>>, Failure> {
    super::within_breakers(stage, pool, origin)?;
    let stats = origin.live.stats.shard(stage.worker.index);
    let key = connecting.key.clone();
    let made = connect(pool, origin, &key, (endpoints, Offer::All), stage.timer).await;
    let (stream, open) = made.map_err(|error| {
        stats.connect_failures.inc();
        Failure::new(error.reason(), Progress::NothingWritten).because(&error)
    })?;
    stats.connects.inc();
    let protocols = &origin.transport.protocols;
    if stream.negotiated_h2().unwrap_or(!protocols.http1) {
        let shared = start(stage, (pool, &origin.live), stream, open);
        connecting.with(|entry| {
            entry.plain_until = 0;
            entry.open.push(shared);
        });
        return Ok(None);
    }
    if !protocols.http1 {
        let failure = Failure::new(Reason::TlsFailed, Progress::NothingWritten);
        return Err(failure.because(&"the origin does not offer HTTP/2 by ALPN"));
    }
    connecting.with(|entry| entry.plain_until = timer::tick_after(CHOICE));
    Ok(Some(Upstream::new(Wire::H1(H1Link::new(stream)), key, open)))
}

/// Starts the task of a connection.
fn start(
    stage: Stage<'_>,
    (pool, live): (&PoolPlan, &Arc<OriginLive>),
    stream: Stream,
    open: OpenGuard,
) -> Rc<Shared> {
    let limits = Limits {
        section: REPLY_SECTION,
        stream_window: STREAM_WINDOW,
        connection_window: CONNECTION_WINDOW,
        requests_max: pool.config.keepalive.requests,
        ..Limits::default()
    };
    let conn = Connection::new(Role::Client, &limits, timer::now());
    let mux = Mux::new(conn, (None, None));
    let task = Origin {
        driver: Driver::new(mux.clone(), stream, None),
        shared: stage.worker.shared.clone(),
        timer: Timer::new(),
        idle: pool.config.keepalive.idle,
        until: NEVER,
        live: live.clone(),
        _open: open,
    };
    tokio::task::spawn_local(task.serve());
    Rc::new(Shared { mux, served: std::cell::Cell::new(0) })
}

/// The task of a connection.
struct Origin {
    driver: Driver,
    shared: Arc<Process>,
    timer: Timer,
    idle: Duration,
    until: u32,
    live: Arc<OriginLive>,
    _open: OpenGuard,
}

impl Origin {
    async fn serve(mut self) {
        poll_fn(|cx| self.poll(cx)).await;
        // What the origin is owed by us is said; it may close as it likes.
        let driver = &mut self.driver;
        poll_fn(|cx| {
            let _ = driver.poll_write(cx);
            let _ = driver.stream.poll_shutdown(cx);
            Poll::Ready(())
        })
        .await;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let turn = self.driver.poll_turn(cx, handle);
            if turn.is_ready() {
                return Poll::Ready(());
            }
            let mux = &self.driver.mux;
            let draining = self.shared.phase() != Phase::Serving;
            let stall = self.driver.stalled_since().map_or(NEVER, |t| t + timer::ticks(STALL_MAX));
            if timer::passed(stall) {
                self.live.set_reason("an HTTP/2 connection takes nothing any more");
                return Poll::Ready(());
            }
            let conn = mux.conn.borrow();
            if conn.active() > 0 {
                self.until = NEVER;
            } else if draining || conn.is_going_away() {
                drop(conn);
                return self.goodbye();
            } else if self.until == NEVER {
                self.until = timer::tick_after(self.idle);
            }
            drop(conn);
            if timer::passed(self.until) {
                return self.goodbye();
            }
            ready!(self.timer.poll(cx, self.until.min(stall)));
        }
    }

    fn goodbye(&self) -> Poll<()> {
        self.driver.mux.conn.borrow_mut().shut_down_now();
        Poll::Ready(())
    }
}

fn handle(mux: &Rc<Mux>, event: Event, section: &mut Section) {
    match event {
        Event::Head { stream, ends } => {
            if !mux.put_head(stream, (std::mem::take(section), ends)) {
                mux.conn.borrow_mut().reset(stream, ErrorCode::ENHANCE_YOUR_CALM);
                mux.wake(stream);
            }
        }
        Event::Readable(key) | Event::Reset(key) => mux.wake(key),
        Event::Settings => mux.settle(),
        // A request that finds no stream free makes a connection of its own.
        Event::GoAway { .. } | Event::PingAck => {}
    }
}
