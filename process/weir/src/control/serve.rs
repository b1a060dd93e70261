//! `weir control FILE`: the life of a control plane.

use super::{open, operator, runtime};
use crate::cli::EXIT_REFUSED;
use crate::commands::print_faults;
use anyhow::Context;
use control_plane::operate::Listener;
use control_plane::publish::Attached;
use control_plane::rest::{Server, Site, operator};
use control_plane::store::Vault;
use process_runtime::config_file::{ControlFile, load_control};
use process_runtime::service::Notifier;
use process_runtime::signals::Signals;
use process_runtime::{operator_log, panics};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
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
    runtime()?.block_on(serve(&file))
}

async fn serve(file: &ControlFile) -> anyhow::Result<ExitCode> {
    let keeper = open(file).await?;
    let keeper = Arc::new(keeper);
    let vault = Arc::new(Vault::open(&file.key_file).context("[secrets]")?);
    let operators = Listener::bind(&file.socket)?;
    operator::first_account(&keeper, &operator()).await?;
    let server = Server::bind(file.address, file.tls.as_ref()).await.context("[control]")?;
    let url = server.base_url();
    let revision = keeper.state().revision;
    let site = Site::new(keeper.clone(), vault.clone(), &file.limits, file.ips.clone());
    let (ending, mut ended) = watch::channel(false);
    let stopped = async move { drop(ended.wait_for(|ended| *ended).await) };
    let operators = tokio::spawn(operators.serve(keeper, vault, Attached::default(), stopped));
    let mut signals = Signals::new().context("signals")?;
    let notifier = Notifier::from_env()?;
    let message = "the API is served";
    operator_log::info("control_started", message, &[("url", &url), ("revision", &revision)]);
    // A service manager that does not listen is no reason not to serve.
    let _ = notifier.ready(&url);
    let stop = async move { while !signals.next().await.ends() {} };
    server.serve(Arc::new(site), stop).await;
    ending.send_replace(true);
    operators.await.context("the operators' socket")?;
    operator_log::info("control_stopped", "no call is left", &[]);
    Ok(ExitCode::SUCCESS)
}
