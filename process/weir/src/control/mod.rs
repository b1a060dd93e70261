//! The control plane: `weir control` serves the API, `weir token` gives access to it, and the other
//! verbs look after its store.

mod history;
mod keep;
mod serve;
mod token;

pub(crate) use history::{History, Rollback};
pub(crate) use keep::{Import, Place};
pub(crate) use serve::run;
pub(crate) use token::Command as TokenCommand;

use crate::cli::EXIT_REFUSED;
use crate::commands::print_faults;
use anyhow::Context;
use control_plane::rest::validate;
use control_plane::store::{Backend, Embedded, Etcd, EtcdOptions, Keeper, Who};
use process_runtime::config_file::{ControlFile, EtcdPlace, StorePlace, load_control};
use std::path::Path;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

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

/// As [`open`], but a file that is not there is an error: only who writes makes one.
///
/// # Errors
/// There is no store, another process has it, or it cannot be read.
pub(crate) async fn open_there(file: &ControlFile) -> anyhow::Result<Keeper> {
    if let StorePlace::File(path) = &file.store
        && !path.exists()
    {
        anyhow::bail!("{}: there is no store; `weir control` makes it", path.display());
    }
    open(file).await
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

/// The time, in milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Who history says an operator at the command line was.
pub(crate) fn operator() -> Who {
    let user = rustix::process::geteuid();
    let actor = match user.is_root() {
        true => "cli:root".to_owned(),
        false => format!("cli:{}", user.as_raw()),
    };
    Who { actor, address: None }
}

/// A runtime for one command.
///
/// # Errors
/// The kernel gives no more threads or descriptors.
pub(crate) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("a runtime")
}
