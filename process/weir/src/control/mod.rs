//! The control plane: `weir control` serves the API, `weir token` gives access to it.

mod serve;
mod token;

pub(crate) use serve::run;
pub(crate) use token::Command as TokenCommand;

use anyhow::Context;
use control_plane::rest::validate;
use control_plane::store::{Backend, Embedded, Etcd, EtcdOptions, Keeper, Who};
use process_runtime::config_file::{ControlFile, EtcdPlace, StorePlace};

/// Opens the store that a control file names.
///
/// # Errors
/// Another process has it, or it cannot be read.
pub(crate) async fn open(file: &ControlFile) -> anyhow::Result<Keeper> {
    let backend = match &file.store {
        StorePlace::File(path) => Backend::Embedded(Embedded::open(path).await?),
        StorePlace::Etcd(etcd) => Backend::Etcd(Etcd::new(&options(etcd))?),
    };
    Keeper::open(backend, validate).await.context("the store")
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
