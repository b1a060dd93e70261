//! The control plane: `weir control` serves the API, `weir token` gives access to it, and the other
//! verbs look after its store.

mod apply;
mod check;
mod cloudflare;
mod edge;
mod history;
mod keep;
mod serve;
mod token;

pub(crate) use apply::{ApplyOptions, PlanOptions};
pub(crate) use check::check;
pub(crate) use edge::Command as EdgeCommand;
pub(crate) use history::{History, Rollback};
pub(crate) use keep::{Import, Place};
pub(crate) use serve::run;
pub(crate) use token::Command as TokenCommand;

use crate::cli::EXIT_REFUSED;
use crate::commands::print_faults;
use anyhow::Context;
use control_plane::operate::{Connection, Desk, Operator, Vaults};
use control_plane::rest::validate;
use control_plane::store::{Backend, Embedded, Etcd, EtcdOptions, Keeper, StoreError, Who};
use process_runtime::config_file::{ControlFile, EtcdPlace, StorePlace, load_control};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Opens the store that a control file names.
///
/// # Errors
/// Another process has it, or it cannot be read.
pub(crate) async fn open(file: &ControlFile) -> anyhow::Result<Keeper> {
    let backend = match &file.store {
        StorePlace::File(path) => Backend::Embedded(Embedded::open(path).await?),
        StorePlace::Etcd(place) => Backend::Etcd(Etcd::new(&options(place))?),
    };
    Keeper::open(backend, validate).await.context("the store")
}

/// How long a plane that has the store may take until its socket is there.
const STARTING: Duration = Duration::from_secs(5);
/// How long it is waited between two looks for it.
const STARTING_STEP: Duration = Duration::from_millis(50);

/// Reaches the plane that runs with this control file, or opens the store where none runs; a store
/// that is not there is made.
///
/// # Errors
/// Another process has the store, or it cannot be read.
pub(crate) async fn reach(file: &ControlFile) -> anyhow::Result<Operator> {
    let begun = Instant::now();
    loop {
        if let Some(connection) = Connection::open(&file.socket).await? {
            return Ok(Operator::Running(connection));
        }
        match open(file).await {
            Ok(keeper) => {
                let vaults = Vaults::File(file.key_file.clone());
                let desk = Desk::new(Arc::new(keeper), vaults);
                return Ok(Operator::Own(Box::new(desk), operator()));
            }
            // A plane that starts has the store before it has the socket.
            Err(error) if is_locked(&error) && begun.elapsed() < STARTING => {
                tokio::time::sleep(STARTING_STEP).await;
            }
            Err(error) => return Err(error),
        }
    }
}

fn is_locked(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(StoreError::Locked { .. }))
}

/// As [`reach`], but a store that is not there is an error: only who writes makes one.
///
/// # Errors
/// There is no store, another process has it, or it cannot be read.
pub(crate) async fn reach_there(file: &ControlFile) -> anyhow::Result<Operator> {
    if let StorePlace::File(path) = &file.store
        && !path.exists()
    {
        anyhow::bail!("{}: there is no store; `weir control` makes it", path.display());
    }
    reach(file).await
}

fn options(place: &EtcdPlace) -> EtcdOptions {
    let (cert, key) = place.client.clone().unzip();
    let (user, password_file) = place.user.clone().unzip();
    EtcdOptions {
        endpoints: place.endpoints.clone(),
        ca: place.ca.clone(),
        cert,
        key,
        user,
        password_file,
        prefix: place.prefix.clone(),
    }
}

/// Does `work` with a control file that has no fault.
///
/// # Errors
/// What `work` says.
pub(crate) fn on(
    path: &Path,
    work: impl FnOnce(ControlFile) -> anyhow::Result<()>,
) -> anyhow::Result<ExitCode> {
    match load_control(path) {
        Ok(file) => work(file).map(|()| ExitCode::SUCCESS),
        Err(faults) => {
            print_faults(&faults);
            Ok(ExitCode::from(EXIT_REFUSED))
        }
    }
}

/// Who history says an operator at the command line was.
pub(crate) fn operator() -> Who {
    Who::operator(rustix::process::geteuid().as_raw())
}

/// A runtime for one command.
///
/// # Errors
/// The kernel gives no more threads or descriptors.
pub(crate) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("a runtime")
}
