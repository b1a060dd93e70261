//! A configuration becomes another one: on order from its file, or by what a control plane
//! publishes. As a whole, or not at all.

use super::{Control, packets, settle};
use core_model::{Config, Fault};
use process_runtime::admin::ReloadOutcome;
use process_runtime::config_file::{self, Loaded};
use process_runtime::operator_log;
use std::sync::Arc;

/// Who wants another configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// The operator, whose file may be another one.
    Reload,
    /// A control plane, with this generation of its own.
    Published(u64),
}

impl Control {
    /// Reads the local file anew off this thread, since it may be slow to read.
    async fn read(&self) -> Result<Loaded, Vec<Fault>> {
        let Some(origin) = &self.origin else {
            return Err(vec![Fault {
                place: core_model::Place::default(),
                what: "this process was started without a configuration file".into(),
                valid: "start it with `weir run FILE`".into(),
                nearest: None,
            }]);
        };
        let source = origin.source.clone();
        let read = tokio::task::spawn_blocking(move || {
            source.on(|assembly| assembly.reload()).and_then(|loaded| source.part_of(loaded))
        });
        let read = read.await.unwrap_or_else(|_| Err(Vec::new()));
        if read.is_err() {
            self.unread();
        }
        read
    }

    /// What was read of the local file is not in force, and what is published next goes with the
    /// file that is.
    fn unread(&self) {
        if let Some(origin) = &self.origin {
            origin.source.on(config_file::Assembly::take_back);
        }
    }

    fn refused(&self, cause: Cause, faults: Vec<String>) -> ReloadOutcome {
        let first = faults.first().cloned().unwrap_or_default();
        let generation = self.current.load().generation.0;
        if cause == Cause::Reload {
            self.live.process.reloads_refused.inc();
            operator_log::error(
                "reload_refused",
                "the new configuration is not used, the one in force goes on serving; see `weir \
                 check`",
                &[("faults", &faults.len()), ("first", &first)],
            );
            self.status.note("reload_refused", format!("reload refused: {first}"));
        }
        ReloadOutcome { applied: false, generation, faults, notes: Vec::new() }
    }

    /// What a reload would change.
    pub(super) async fn differences(&self) -> ReloadOutcome {
        let generation = self.current.load().generation.0;
        let (faults, notes) = match self.read().await {
            Err(faults) => (faults.iter().map(ToString::to_string).collect(), Vec::new()),
            Ok(loaded) => {
                self.unread();
                let changes = config_file::diff(&self.current.load().config, &loaded.config);
                (Vec::new(), changes.iter().map(ToString::to_string).collect())
            }
        };
        ReloadOutcome { applied: false, generation, faults, notes }
    }

    /// Reads the file again and puts it in force as a whole, or not at all.
    pub(super) async fn reload(&mut self) -> ReloadOutcome {
        let _ = self.notifier.reloading();
        let outcome = match self.read().await {
            Ok(loaded) => self.change(Cause::Reload, loaded).await,
            Err(faults) => {
                self.refused(Cause::Reload, faults.iter().map(ToString::to_string).collect())
            }
        };
        if !outcome.applied {
            self.unread();
        }
        let _ = self.notifier.ready(&format!("serving generation {}", outcome.generation));
        outcome
    }

    /// Puts another configuration in force.
    pub(super) async fn change(&mut self, cause: Cause, loaded: Loaded) -> ReloadOutcome {
        if let Some(predecessor) = &mut self.predecessor {
            // What it would take back is about to be of another configuration.
            predecessor.let_go().await;
        }
        let old = self.current.load_full();
        let mut config = loaded.config;
        let changes = config_file::diff(&old.config, &config);
        let packets_wanted = config.packet.is_some();
        keep_what_stays(&old.config, &mut config);
        let snapshot = old.successor(config);
        if let Err(error) = self.apply_packets(&snapshot.config).await {
            return self.refused(cause, vec![format!("{error:#}")]);
        }
        // New origins are looked up and probed before requests can go to them.
        self.resolver.apply(&snapshot.config);
        self.prober.apply(&snapshot.config);
        settle(&self.resolver, &self.prober).await;
        if let Err(error) = self.edge.apply(&snapshot).await {
            self.resolver.apply(&old.config);
            self.prober.apply(&old.config);
            self.withdraw_packets();
            return self.refused(cause, vec![error.to_string()]);
        }
        let config = &snapshot.config;
        if cause == Cause::Reload {
            operator_log::configure(config.logging.level.into(), config.logging.format.into());
            if let Err(error) = self.log.reconfigure(config.logging.access.as_ref()) {
                operator_log::error(
                    "access_log_unchanged",
                    "the access log goes on where it went",
                    &[("error", &error)],
                );
            }
        }
        let generation = snapshot.generation.0;
        self.current.store(Arc::new(snapshot));
        drop(old);
        self.live.forget_unused();
        let notes: Vec<_> = changes.iter().map(ToString::to_string).collect();
        self.changed(cause, notes.len());
        self.tell_of_kept_packets(packets_wanted);
        // What the file is warned of was told when it was read.
        let told = |warning: &&Fault| {
            cause == Cause::Reload || warning.place.file.starts_with("published ")
        };
        for warning in loaded.warnings.iter().filter(told) {
            operator_log::warn("configuration", warning, &[]);
        }
        ReloadOutcome { applied: true, generation, faults: Vec::new(), notes }
    }

    fn changed(&self, cause: Cause, notes: usize) {
        let generation = self.current.load().generation;
        match cause {
            Cause::Reload => {
                self.live.process.reloads_applied.inc();
                operator_log::info(
                    "reloaded",
                    "the new configuration is in force",
                    &[("generation", &generation), ("changes", &notes)],
                );
                self.status.note("reloaded", format!("generation {generation}: {notes} changes"));
            }
            Cause::Published(published) => {
                operator_log::info(
                    "published",
                    "what a control plane published is in force",
                    &[("published", &published), ("generation", &generation), ("changes", &notes)],
                );
                let what = format!("published generation {published}: {notes} changes");
                self.status.note("published", what);
            }
        }
    }
}

/// Leaves as it is what takes a restart; the differences tell of it.
fn keep_what_stays(old: &Config, new: &mut Config) {
    new.runtime.workers = old.runtime.workers;
    new.runtime.user.clone_from(&old.runtime.user);
    new.runtime.group.clone_from(&old.runtime.group);
    new.admin = old.admin.clone();
    new.control.clone_from(&old.control);
    packets::keep_what_stays(old, new);
    for listener in &mut new.listeners {
        let same = old.listeners.iter().find(|l| l.address == listener.address);
        listener.backlog = same.map_or(listener.backlog, |old| old.backlog);
    }
}
