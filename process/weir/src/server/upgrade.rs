//! Binary upgrade, both sides: a process that takes over, and one that hands over and finishes its
//! connections. What the two say to each other is in `process_runtime::handover`.

use super::{Ask, Control, Origin, drain_cut, refusal, stopped};
use anyhow::Context;
use core_model::config::Listener;
use process_runtime::admin::ReloadOutcome;
use process_runtime::handover::{
    self, FromSuccessor, HOLD_AT_LEAST, HandoverError, Inherited, Offer, Predecessor, SocketUse,
    Successor, TAKE_BACK_WITHIN,
};
use process_runtime::live::LiveTable;
use process_runtime::service::Notifier;
use process_runtime::signals::{Order, Signals};
use process_runtime::status::Phase;
use process_runtime::{operator_log, sockets};
use request_proxy::Edge;
use rustix::process::{Pid, Signal, kill_process};
use std::pin::Pin;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

/// How long a connection to a listener of our own may take to come through, on a busy machine.
const KNOCK_WITHIN: Duration = Duration::from_secs(5);

/// How often a process that has handed over looks whether it is done.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A hand-over until the new process is ready.
pub(super) struct Upgrading {
    work: Pin<Box<dyn Future<Output = Result<Successor, HandoverError>>>>,
    asker: Option<oneshot::Sender<ReloadOutcome>>,
    /// Whether a reload was asked for meanwhile.
    pub(super) reload: bool,
}

/// A hand-over whose new process is ready.
pub(super) struct Handed {
    successor: Successor,
    asker: Option<oneshot::Sender<ReloadOutcome>>,
    reload: bool,
}

/// How a process that has handed over ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    /// No connection is left.
    Whole,
    /// The time is over.
    Cut,
    /// It was told to.
    Told,
}

/// The outcome of the hand-over that is under way; never where none is.
pub(super) async fn outcome(upgrading: &mut Option<Upgrading>) -> Result<Successor, HandoverError> {
    match upgrading {
        Some(upgrading) => upgrading.work.as_mut().await,
        None => std::future::pending().await,
    }
}

/// Waits for the end of the process that served before; for ever where there is none.
pub(super) async fn ended(predecessor: &mut Option<Predecessor>) {
    match predecessor {
        Some(predecessor) => predecessor.ended().await,
        None => std::future::pending().await,
    }
}

/// As [`ended`], and at once where there is none.
pub(super) async fn gone(predecessor: &mut Option<Predecessor>) {
    if predecessor.is_some() {
        ended(predecessor).await;
    }
}

/// Sees that this process accepts from the sockets it was given, and makes the service its own.
pub(super) async fn take_over(
    edge: &Edge,
    inherited: Inherited,
    notifier: &Notifier,
    live: &LiveTable,
) -> anyhow::Result<Predecessor> {
    edge.knock(KNOCK_WITHIN).await.context("the connection to itself")?;
    let mut predecessor = inherited.settle()?;
    if !predecessor.ready().await {
        operator_log::warn(
            "predecessor_gone",
            "the process that handed over ended before its time; this one serves all the same",
            &[],
        );
        // Nobody else is left to say so.
        let _ = notifier.main_pid(std::process::id());
    }
    live.process.upgrades_taken_over.inc();
    Ok(predecessor)
}

/// Whether a listener's sockets are among those that a successor serves.
fn is_among(taken: &[SocketUse], listener: &Listener) -> bool {
    taken.iter().any(|what| match what {
        SocketUse::Listener { name, address } => {
            *address == listener.address && (address.port() != 0 || *name == *listener.name)
        }
        SocketUse::Admin { .. } => false,
    })
}

impl Control {
    /// Begins a hand-over. `None` where it cannot, which whoever asked is told.
    pub(super) fn upgrade(
        &mut self,
        asker: Option<oneshot::Sender<ReloadOutcome>>,
    ) -> Option<Upgrading> {
        let begun = match &self.origin {
            None => Err("this process was started without a configuration file".to_owned()),
            Some(Origin { program, .. }) => {
                self.offer().map(|offer| (program.clone(), offer)).map_err(|e| format!("{e:#}"))
            }
        };
        match begun {
            Ok((program, offer)) => {
                if let Some(packets) = &self.packets {
                    packets.release();
                }
                // The new process takes this edge's place at the control plane.
                self.follow(false);
                operator_log::info(
                    "upgrading",
                    "starting the program anew, to hand over to it",
                    &[("program", &program.path().display())],
                );
                let work = Box::pin(async move { handover::hand_over(&program, &offer).await });
                Some(Upgrading { work, asker, reload: false })
            }
            Err(why) => {
                self.upgrade_refused(asker, vec![why]);
                None
            }
        }
    }

    /// What there is to hand over.
    fn offer(&self) -> anyhow::Result<Offer> {
        let mut offer = Offer { sockets: Vec::new(), tickets: self.edge.ticket_keys() };
        for (listener, descriptors) in self.edge.sockets() {
            for socket in sockets::distinct(descriptors)? {
                let (name, address) = (listener.name.to_string(), listener.address);
                let what = SocketUse::Listener { name, address };
                offer.sockets.push((what, socket.try_clone()?.into()));
            }
        }
        if let (Some(admin), Some(address)) =
            (&self.admin, &self.current.load().config.admin.address)
        {
            let what = SocketUse::Admin { address: address.to_string() };
            offer.sockets.push((what, admin.socket.try_clone()?));
        }
        Ok(offer)
    }

    fn upgrade_refused(&self, asker: Option<oneshot::Sender<ReloadOutcome>>, faults: Vec<String>) {
        self.live.process.upgrades_refused.inc();
        let why = faults.first().cloned().unwrap_or_default();
        operator_log::error(
            "upgrade_refused",
            "there is no new process, this one goes on serving",
            &[("faults", &faults.len()), ("first", &why)],
        );
        self.status.note("upgrade_refused", format!("upgrade refused: {why}"));
        let generation = self.current.load().generation.0;
        let outcome = ReloadOutcome { applied: false, generation, faults, notes: Vec::new() };
        // Who asked may have gone.
        asker.map(|asker| asker.send(outcome));
    }

    /// What follows from the outcome of a hand-over: the one that is ready, or none, and this
    /// process goes on.
    pub(super) async fn upgraded(
        &mut self,
        outcome: Result<Successor, HandoverError>,
        upgrading: Option<Upgrading>,
    ) -> Option<Handed> {
        let (asker, reload) = upgrading.map_or((None, false), |u| (u.asker, u.reload));
        let faults = match outcome {
            Ok(successor) => return Some(Handed { successor, asker, reload }),
            Err(HandoverError::Refused(faults)) => faults,
            Err(error) => vec![error.to_string()],
        };
        self.resume_packets();
        self.follow(true);
        self.upgrade_refused(asker, faults);
        if reload {
            self.reload().await;
        }
        None
    }

    /// Stops accepting, gives the service away, and lets connections finish. `None` where the new
    /// process died meanwhile and this one serves again.
    pub(super) async fn leave(
        &mut self,
        handed: Handed,
        signals: &mut Signals,
        asked: &mut mpsc::Receiver<Ask>,
    ) -> Option<Left> {
        let Handed { mut successor, asker, reload } = handed;
        let begun = Instant::now();
        let taken = std::mem::take(&mut successor.listeners);
        let retired = self.edge.leave(|listener| is_among(&taken, listener));
        if let Some(admin) = &self.admin {
            admin.open.send_replace(false);
        }
        let _ = self.notifier.main_pid(successor.pid);
        successor.yours().await;
        if reload {
            // The file may have changed after it was read there.
            let pid = i32::try_from(successor.pid).ok().and_then(Pid::from_raw);
            let _ = pid.map(|pid| kill_process(pid, Signal::HUP));
        }
        self.handed_over(&successor, asker);
        if let Some(predecessor) = &mut self.predecessor {
            predecessor.let_go().await;
        }
        let end = self.finish(&successor, begun, signals, asked).await;
        if end.is_none() {
            self.take_back(successor, retired).await;
        }
        end
    }

    fn handed_over(&self, successor: &Successor, asker: Option<oneshot::Sender<ReloadOutcome>>) {
        let (pid, program) = (successor.pid, &successor.program);
        operator_log::info(
            "handed_over",
            "another process accepts connections; the open ones finish here",
            &[("pid", &pid), ("version", program)],
        );
        self.status.set_phase(Phase::Draining);
        let generation = self.current.load().generation.0;
        let notes = vec![format!("process {pid} (weir {program}) serves")];
        let outcome = ReloadOutcome { applied: true, generation, faults: Vec::new(), notes };
        // Who asked may have gone.
        asker.map(|asker| asker.send(outcome));
    }

    /// Waits until no connection is left, or the time is over. `None` where the successor died
    /// while the sockets are still held.
    async fn finish(
        &mut self,
        successor: &Successor,
        begun: Instant,
        signals: &mut Signals,
        asked: &mut mpsc::Receiver<Ask>,
    ) -> Option<Left> {
        let limit = self.current.load().config.runtime.drain_timeout.max(HOLD_AT_LEAST);
        let (mut held, mut alive) = (true, true);
        let mut look = tokio::time::interval(LOOK_EVERY);
        loop {
            tokio::select! {
                said = successor.next(), if alive => match said {
                    FromSuccessor::LetGo => {
                        held = false;
                        self.let_go();
                        successor.gone().await;
                    }
                    FromSuccessor::Ending { quick } => {
                        held = false;
                        self.let_go();
                        if let Some(predecessor) = &mut self.predecessor {
                            predecessor.ending(quick).await;
                        }
                        if quick {
                            return Some(Left::Told);
                        }
                    }
                    FromSuccessor::Died if held => return None,
                    FromSuccessor::Died => alive = false,
                },
                () = ended(&mut self.predecessor) => self.predecessor = None,
                order = signals.next() => match order {
                    Order::Drain | Order::Stop => return Some(Left::Told),
                    Order::Reload | Order::Upgrade => operator_log::warn(
                        "handed_over_already",
                        "this process only finishes its connections: signal the one that serves",
                        &[],
                    ),
                },
                Some(ask) = asked.recv() => {
                    // It came in before the admin's door was closed here.
                    let _ = ask.answer.send(refusal("another process serves by now: ask again"));
                }
                _ = look.tick() => {
                    let time = begun.elapsed();
                    if held && time >= TAKE_BACK_WITHIN {
                        held = false;
                        self.let_go();
                    }
                    // The process before this one has a deadline of its own, which is sooner.
                    let quiet = self.edge.is_quiet() && self.predecessor.is_none();
                    if quiet && time >= HOLD_AT_LEAST {
                        return Some(Left::Whole);
                    }
                    if time >= limit {
                        drain_cut(limit);
                        return Some(Left::Cut);
                    }
                }
            }
        }
    }

    /// Closes the sockets for good: the new process may want to give an address up.
    fn let_go(&mut self) {
        self.edge.let_go();
        self.admin = None;
    }

    /// Serves again, after the new process died.
    async fn take_back(&mut self, successor: Successor, retired: bool) {
        let (pid, version) = (successor.pid, successor.program.clone());
        let accepts = self.edge.stay();
        self.resume_packets();
        self.follow(true);
        if let Some(admin) = &self.admin {
            admin.open.send_replace(true);
        }
        let status = successor.end().await.map_or_else(|| "?".to_owned(), |s| s.to_string());
        self.live.process.upgrades_taken_back.inc();
        operator_log::error(
            "upgrade_taken_back",
            "the new process ended; this one accepts connections again",
            &[("pid", &pid), ("version", &version), ("status", &status)],
        );
        if let Err(error) = accepts {
            operator_log::error(
                "listen_failed",
                "a listener is served in part",
                &[("error", &error)],
            );
        }
        if retired {
            self.listen_again().await;
        }
        let _ = self.notifier.main_pid(std::process::id());
        self.status.note("upgrade_taken_back", format!("process {pid} ended: {status}"));
        self.ready();
    }

    /// Binds the addresses anew that the new process had given up.
    async fn listen_again(&mut self) {
        let old = self.current.load_full();
        let snapshot = old.successor(old.config.clone());
        match self.edge.apply(&snapshot).await {
            Ok(()) => self.current.store(std::sync::Arc::new(snapshot)),
            Err(error) => operator_log::error(
                "listen_failed",
                "a listener that the new process had removed is not served; reload to try again",
                &[("error", &error)],
            ),
        }
    }

    /// Ends, after the service was given away.
    pub(super) fn left(self, end: Left) -> ExitCode {
        let how = match end {
            Left::Whole => "every connection had ended",
            Left::Cut => "its time was over",
            Left::Told => "it was told to",
        };
        operator_log::info("leaving", "the process that handed over ends", &[("why", &how)]);
        self.edge.stop();
        stopped(&self.log)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_belongs_to_a_listener_by_address_and_for_port_0_by_name() {
        let listener = |name: &str, address: &str| {
            let text = format!(
                "[[listener]]\nname = \"{name}\"\naddress = \"{address}\"\n\
                 [[pool]]\nname = \"p\"\n[[pool.origins]]\nname = \"o\"\naddress = \"127.0.0.1\"\n\
                 port = 1\n[[load_balancer]]\nname = \"*\"\ndefault_pools = [\"p\"]\n"
            );
            let loaded = process_runtime::config_file::load_text("t.toml", &text).unwrap();
            loaded.config.listeners.first().unwrap().clone()
        };
        for (name, address, taken, expect) in [
            ("a", "127.0.0.1:80", ("a", "127.0.0.1:80"), true),
            ("a", "127.0.0.1:80", ("b", "127.0.0.1:80"), true),
            ("a", "127.0.0.1:80", ("a", "127.0.0.1:81"), false),
            ("a", "127.0.0.1:0", ("a", "127.0.0.1:0"), true),
            ("a", "127.0.0.1:0", ("b", "127.0.0.1:0"), false),
        ] {
            let (theirs, at) = taken;
            let what =
                SocketUse::Listener { name: theirs.to_owned(), address: at.parse().unwrap() };
            let admin = SocketUse::Admin { address: address.to_owned() };
            let found = is_among(&[admin, what], &listener(name, address));
            assert_eq!(found, expect, "{name} {address} {taken:?}");
        }
    }
}
