//! `weir control FILE`: the life of a control plane.

use super::{open, operator, runtime};
use crate::cli::EXIT_REFUSED;
use crate::commands::print_faults;
use anyhow::Context;
use control_plane::operate::Listener;
use control_plane::publish::ca::Authority;
use control_plane::publish::listen::{EdgeServer, Gate};
use control_plane::publish::{Attached, EdgesSettings, Publisher};
use control_plane::rest::{Server, Site, operator};
use control_plane::store::{Keeper, Vault};
use process_runtime::config_file::{ControlFile, load_control};
use process_runtime::service::Notifier;
use process_runtime::signals::Signals;
use process_runtime::{operator_log, panics, privileges};
use std::future::Future;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::watch;

/// Serves the API over the store that `file` names, until TERM or INT.
///
/// # Errors
/// What kept it from starting.
pub(crate) fn run(file: &Path) -> anyhow::Result<ExitCode> {
    let file = match load_control(file) {
        Ok(file) => file,
        Err(faults) => {
            print_faults(&faults);
            return Ok(ExitCode::from(EXIT_REFUSED));
        }
    };
    panics::install_hook();
    operator_log::configure(file.log_level.into(), file.log_format.into());
    // Each edge has a connection; where the limit cannot be raised, those beyond it wait.
    let _ = privileges::raise_open_files();
    privileges::harden().context("keep keys in memory")?;
    runtime()?.block_on(serve(&file))
}

async fn serve(file: &ControlFile) -> anyhow::Result<ExitCode> {
    let keeper = Arc::new(open(file).await?);
    let vault = Arc::new(Vault::open(&file.key_file).context("[secrets]")?);
    let operators = Listener::bind(&file.socket)?;
    operator::first_account(&keeper, &operator()).await?;
    let server = Server::bind(file.address, file.tls.as_ref()).await.context("[control]")?;
    let url = server.base_url();
    let revision = keeper.state().revision;
    let mut site = Site::new(keeper.clone(), vault.clone(), &file.limits, file.ips.clone());
    let (ending, ended) = watch::channel(false);
    let stopped = |mut ended: watch::Receiver<bool>| async move {
        drop(ended.wait_for(|ended| *ended).await);
    };
    let mut attached = Attached::default();
    let mut edges = None;
    if let Some(settings) = &file.edges {
        let fleet = Fleet::start(file, settings, &keeper, &vault).await.context("[edges]")?;
        attached = Attached::to(fleet.publisher.clone());
        let (gate, publisher) = (fleet.gate.clone(), fleet.publisher.clone());
        site = site.with_edges(publisher.clone());
        site = site.expose(move || gate.metrics() + &publisher.metrics());
        edges = Some(fleet);
    }
    let operators = operators.serve(keeper, vault, attached, stopped(ended.clone()));
    let operators = tokio::spawn(operators);
    let mut signals = Signals::new().context("signals")?;
    let notifier = Notifier::from_env()?;
    let message = "the API is served";
    operator_log::info("control_started", message, &[("url", &url), ("revision", &revision)]);
    let edges = match edges {
        Some(fleet) => Some(tokio::spawn(fleet.serve(stopped(ended))?)),
        None => None,
    };
    // A service manager that does not listen is no reason not to serve.
    let _ = notifier.ready(&url);
    let stop = async move {
        while !signals.next().await.ends() {}
        // Edges look for another control plane while calls of the API come to their end.
        ending.send_replace(true);
    };
    server.serve(Arc::new(site), stop).await;
    operators.await.context("the operators' socket")?;
    if let Some(edges) = edges {
        edges.await.context("the listener of edges")?;
    }
    operator_log::info("control_stopped", "no call is left", &[]);
    Ok(ExitCode::SUCCESS)
}

/// What serves edges.
struct Fleet {
    publisher: Arc<Publisher>,
    gate: Arc<Gate>,
    server: EdgeServer,
}

impl Fleet {
    async fn start(
        file: &ControlFile,
        settings: &EdgesSettings,
        keeper: &Arc<Keeper>,
        vault: &Arc<Vault>,
    ) -> anyhow::Result<Self> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let authority = Authority::open(keeper, vault, &operator(), since.as_secs()).await?;
        let publisher = Publisher::start(keeper.clone(), vault.clone(), &file.publish).await?;
        let streams = publisher.clone();
        let gate = Gate::new(keeper.clone(), authority, settings, &file.limits, streams);
        let server = EdgeServer::bind(settings.address, &gate).await?;
        Ok(Self { publisher, gate: Arc::new(gate), server })
    }

    /// Serves edges until `stop` ends.
    fn serve(
        self,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> anyhow::Result<impl Future<Output = ()> + Send + 'static> {
        let address = self.server.address().context("[edges]")?;
        operator_log::info("edges_started", "edges are served", &[("address", &address)]);
        Ok(self.server.serve(self.gate, stop))
    }
}
