//! Tasks that serve the requests of streams, one after the other, so that a request costs no new
//! task: making one and taking it down moves two kilobytes several times.

use crate::buffers::Out;
use crate::codec::client::{self, Arrived};
use crate::codec::h2_stream::H2Link;
use crate::exchange::{Client, Exchange, HeadBytes, Outcome, Peer, Stage};
use crate::lifecycle;
use crate::link::Link;
use crate::timer::Timer;
use crate::worker::{Local, Worker};
use core_wire::h1::Framing;
use core_wire::h1::head::RequestParser;
use core_wire::h1::request::RequestMeaning;
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

/// Tasks of a worker that wait for a request at most (half a MiB).
const WAITING_MAX: usize = 256;

/// A request whose head was read.
pub(crate) struct Job {
    pub(crate) local: Rc<Local>,
    pub(crate) peer: Peer,
    pub(crate) link: H2Link,
    pub(crate) parser: Box<RequestParser>,
    pub(crate) bytes: Out,
    pub(crate) meaning: RequestMeaning,
    pub(crate) started: Instant,
}

/// Where a task finds its next request.
pub(crate) struct Desk {
    job: RefCell<Option<Job>>,
    waker: RefCell<Option<Waker>>,
    closed: Cell<bool>,
}

impl Desk {
    /// Waits for a job, which stays where it is: it is large, and each hand it goes through would
    /// copy it. False at the end.
    fn poll_job(&self, cx: &mut Context<'_>) -> Poll<bool> {
        let given = self.job.borrow().is_some();
        if given || self.closed.get() {
            return Poll::Ready(given);
        }
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }
}

/// Has a task that waits serve `job`, or a new one.
pub(crate) fn give(worker: &Rc<Worker>, job: Job) {
    let waiting = worker.desks.borrow_mut().pop();
    match waiting {
        Some(desk) => {
            *desk.job.borrow_mut() = Some(job);
            desk.wake();
        }
        None => {
            let desk = Desk {
                job: RefCell::new(Some(job)),
                waker: RefCell::default(),
                closed: Cell::new(false),
            };
            tokio::task::spawn_local(serve(worker.clone(), Rc::new(desk)));
        }
    }
}

/// Ends half of the tasks that wait.
pub(crate) fn trim(desks: &mut Vec<Rc<Desk>>) {
    for desk in desks.drain(desks.len() / 2..) {
        desk.closed.set(true);
        desk.wake();
    }
}

async fn serve(worker: Rc<Worker>, desk: Rc<Desk>) {
    while poll_fn(|cx| desk.poll_job(cx)).await {
        exchange(&worker, &desk).await;
        let mut waiting = worker.desks.borrow_mut();
        if waiting.len() >= WAITING_MAX {
            return;
        }
        waiting.push(desk.clone());
    }
}

/// The life of the request on a desk.
async fn exchange(worker: &Worker, desk: &Desk) {
    let Some(job) = desk.job.borrow_mut().take() else { return };
    let Job { local, peer, mut link, parser, bytes, meaning, started } = job;
    if link.is_over() {
        // Given up in the same turn in which it was asked: no work is begun for it.
        local.plan.stats.shard(worker.index).aborted.inc();
        worker.keep_request_parser(parser);
        return;
    }
    let timer = Timer::new();
    let Arrived { client, host } = client::arrived(&local, &peer, &parser, &meaning, bytes.bytes());
    let framing = if meaning.upgrade.is_some() { Framing::None } else { meaning.framing };
    link.begin_receiving(framing, local.plan.config.limits.body_bytes);
    let mut exchange = Exchange {
        head: HeadBytes::Decoded(bytes),
        parser,
        meaning,
        host,
        peer,
        client,
        started,
        keep: true,
        outcome: Outcome::default(),
    };
    let stage = Stage { worker, listener: &local.plan, timer: &timer, local: &local };
    let mut lent = Client { link: Link::H2(&mut link), ended: false };
    lifecycle::serve(stage, &mut exchange, &mut lent).await;
    worker.keep_request_parser(exchange.parser);
}
