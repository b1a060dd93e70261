//! A connection after an upgrade: bytes both ways, each direction until its own end.

use crate::exchange::{Client, Stage};
use crate::lifecycle::Refusal;
use crate::reason::Reason;
use crate::relay::{Meter, poll_move};
use crate::timer;
use crate::upstream::Upstream;
use process_runtime::metrics::Limit;
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// From here on both sides are streams of bytes that end with their connection.
pub(crate) fn begin(client: &mut Client<'_>, upstream: &mut Upstream) {
    client.link.tunnel();
    upstream.link().tunnel();
    upstream.upload.meter = Meter::new(false);
}

/// Two directions of bytes, each of which may end by itself.
pub(crate) struct Tunnel<'a> {
    stage: Stage<'a>,
    download: &'a mut Meter,
    up: bool,
    down: bool,
    idle: Duration,
}

impl<'a> Tunnel<'a> {
    /// A tunnel that ends after `idle` without a byte.
    pub(crate) fn new(stage: Stage<'a>, download: &'a mut Meter, idle: Duration) -> Self {
        Self { stage, download, up: false, down: false, idle }
    }
}

impl Tunnel<'_> {
    /// Moves what is ready. Ready when both directions have ended.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut Client<'_>,
        upstream: &mut Upstream,
    ) -> Poll<Result<(), Refusal>> {
        loop {
            let (mut link, upload) = upstream.halves();
            if !self.up && poll_move(cx, &mut client.link, &mut link, &mut upload.meter).is_ready()
            {
                self.up = true;
                link.poll_shutdown(cx);
            }
            if !self.down && poll_move(cx, &mut link, &mut client.link, self.download).is_ready() {
                self.down = true;
                client.link.poll_shutdown(cx);
            }
            if self.up && self.down {
                return Poll::Ready(Ok(()));
            }
            if self.stage.is_over() {
                return Poll::Ready(Err(Reason::DrainTimeout.into()));
            }
            let last = self.download.last().max(upstream.upload.meter.last());
            let idle = timer::tick_after(self.idle).saturating_sub(timer::now());
            let end = last.saturating_add(idle);
            if timer::passed(end) {
                let stats = self.stage.listener.stats.shard(self.stage.worker.index);
                stats.hit(Limit::TunnelIdle);
                return Poll::Ready(Err(Reason::TunnelIdle.into()));
            }
            ready!(self.stage.timer.poll(cx, end.min(self.stage.end())));
        }
    }
}
