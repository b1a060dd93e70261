//! The file of `weir control`: read and checked by the same rules as the edge's file.

use super::build::Builder;
use super::table::Table;
use super::{Reader, World, machine, schema};
use crate::config_file::files;
use crate::config_file::report::Report;
use core_model::config::{Certificate, LogFormat, LogLevel};
use core_model::{Fault, IpNet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What the socket of operators is called.
const SOCKET_NAME: &str = "weir-control.sock";

/// What the file of a control plane says.
#[derive(Clone, Debug, PartialEq)]
pub struct ControlFile {
    /// Where the API listens.
    pub address: SocketAddr,
    /// Certificate and key of the API; none is plain HTTP.
    pub tls: Option<Certificate>,
    /// The Unix socket by which operators reach the plane.
    pub socket: PathBuf,
    /// What `GET /ips` tells.
    pub ips: Vec<IpNet>,
    /// Where objects are kept.
    pub store: StorePlace,
    /// What clients may ask.
    pub limits: ControlLimits,
    /// The file of the key that encrypts secrets.
    pub key_file: PathBuf,
    /// Where edges are served, if they are.
    pub edges: Option<EdgesSettings>,
    /// How changes go out to them.
    pub publish: PublishSettings,
    /// Least severe level of the operator log.
    pub log_level: LogLevel,
    /// Form of the operator log.
    pub log_format: LogFormat,
}

/// Where objects are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StorePlace {
    /// A file of this machine.
    File(PathBuf),
    /// An etcd cluster.
    Etcd(EtcdPlace),
}

/// An etcd cluster, and how it is spoken to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EtcdPlace {
    /// URLs of the members, at least one.
    pub endpoints: Vec<String>,
    /// Authorities of the members' certificates (PEM).
    pub ca: Option<PathBuf>,
    /// Client certificate and its key (PEM).
    pub client: Option<(PathBuf, PathBuf)>,
    /// User and the file with the password.
    pub user: Option<(String, PathBuf)>,
    /// What every key starts with.
    pub prefix: String,
}

/// What clients may ask of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ControlLimits {
    /// The time over which calls count.
    pub window: Duration,
    /// Calls of one token in a window.
    pub calls_per_token: u32,
    /// Calls of one address in a window.
    pub calls_per_address: u32,
    /// Calls with a wrong token that one address may make in a window.
    pub denials_per_address: u32,
    /// Connections at once.
    pub connections: usize,
}

/// How edges are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EdgesSettings {
    /// Where they find the control plane.
    pub address: SocketAddr,
    /// DNS names and addresses of the control plane's certificate, at least one.
    pub names: Vec<String>,
    /// How long certificates are valid.
    pub certificate_life: Duration,
    /// Connections at once.
    pub connections: usize,
}

/// How changes go out to edges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublishSettings {
    /// The share of edges that get a change first, 0 to 100.
    pub canary_percent: u32,
    /// How long they must do well before the others get it.
    pub canary_hold: Duration,
    /// How often each edge reports.
    pub report: Duration,
}

/// Reads the control plane's file at `path`.
///
/// # Errors
/// All faults, in the order of their places.
pub fn load_control(path: &Path) -> Result<ControlFile, Vec<Fault>> {
    let name = path.display().to_string();
    match files::read_main(path) {
        Ok(bytes) => load_in(&name, bytes, &machine()),
        Err(error) => {
            let mut report = Report::default();
            let what = format!("cannot read the control file: {}", files::reason(&error));
            report.whole_file(&name, what, "a file that this user can read".to_owned());
            Err(report.finish().0)
        }
    }
}

pub(crate) fn load_in(
    name: &str,
    bytes: Vec<u8>,
    world: &World<'_>,
) -> Result<ControlFile, Vec<Fault>> {
    let mut reader = Reader::new(world, &schema::CONTROL_ROOT);
    reader.read_all(name, bytes);
    let Reader { report, roots, .. } = reader;
    let mut builder = Builder::new(world, report, &roots);
    let file = roots.first().and_then(|root| builder.control(&root.table));
    let (report, _) = builder.finish();
    let (faults, _) = report.finish();
    match file {
        Some(file) if faults.is_empty() => Ok(file),
        _ => Err(faults),
    }
}

impl Builder<'_> {
    fn control(&mut self, root: &Table) -> Option<ControlFile> {
        let control = root.table("control")?;
        let logging = root.table("logging")?;
        let tls = control.table("tls").map(|table| self.certificate(table, false));
        let address: Option<SocketAddr> = control.text("address").and_then(|a| a.parse().ok());
        if let Some(address) = address
            && !address.ip().to_canonical().is_loopback()
            && tls.is_none()
            && !control.bool("allow_remote")
        {
            let what = format!("`{address}` is reached by other machines without TLS");
            let valid = "a loopback address, [control.tls], or allow_remote = true as well";
            self.fault(control, "address", what, valid);
        }
        let secrets = root.table("secrets")?;
        let key_file = self.file_of(secrets.at_of("key_file"), secrets.text("key_file")?);
        let store = self.store_place(root.table("store")?)?;
        let socket = match (control.text("socket"), &store) {
            (Some(path), _) => self.file_of(control.at_of("socket"), path),
            (None, StorePlace::File(path)) => path.with_file_name(SOCKET_NAME),
            (None, StorePlace::Etcd(_)) => key_file.with_file_name(SOCKET_NAME),
        };
        Some(ControlFile {
            address: address?,
            tls: match tls {
                Some(tls) => Some(tls?),
                None => None,
            },
            ips: super::build::parsed(control.list("ips")),
            store,
            socket,
            limits: limits_of(root.table("limits")?),
            key_file,
            edges: match root.table("edges") {
                Some(table) => Some(self.edges(table)?),
                None => None,
            },
            publish: publish_of(root.table("publish")?),
            log_level: super::build::level_of(logging.text("level")),
            log_format: super::build::format_of(logging.text("format")),
        })
    }

    fn edges(&mut self, table: &Table) -> Option<EdgesSettings> {
        let address: SocketAddr = table.text("address")?.parse().ok()?;
        let ip = address.ip().to_canonical();
        let named = table.list("names").iter().filter_map(|item| item.text());
        let mut names: Vec<String> = named.map(str::to_owned).collect();
        if names.is_empty() {
            if ip.is_unspecified() {
                let what = format!("`{address}` does not say what edges call this control plane");
                self.fault(table, "names", what, "at least one name or address, as in their URLs");
            }
            names.push(ip.to_string());
            names.extend(ip.is_loopback().then(|| "localhost".to_owned()));
        }
        Some(EdgesSettings {
            address,
            names,
            certificate_life: table.time("certificate_life"),
            connections: table.size("connections"),
        })
    }

    fn store_place(&mut self, table: &Table) -> Option<StorePlace> {
        let Some(etcd) = table.table("etcd") else {
            return Some(StorePlace::File(self.file_of(table.at_of("path"), table.text("path")?)));
        };
        if table.given("path") {
            self.fault(table, "path", "`path` beside `etcd`", "one of the two");
        }
        let file = |key: &str| etcd.text(key).map(|path| self.file_of(etcd.at_of(key), path));
        let (cert, key) = (file("cert"), file("key"));
        let (user, password) = (etcd.text("user").map(str::to_owned), file("password_file"));
        let ca = file("ca");
        for (one, other) in
            [("cert", "key"), ("key", "cert"), ("user", "password_file"), ("password_file", "user")]
        {
            if etcd.given(one) && !etcd.given(other) {
                self.fault(etcd, one, format!("`{one}` without `{other}`"), "both or neither");
            }
        }
        let endpoints = etcd.list("endpoints").iter().filter_map(|item| item.text());
        Some(StorePlace::Etcd(EtcdPlace {
            endpoints: endpoints.map(str::to_owned).collect(),
            ca,
            client: cert.zip(key),
            user: user.zip(password),
            prefix: etcd.text("prefix")?.to_owned(),
        }))
    }
}

fn publish_of(table: &Table) -> PublishSettings {
    PublishSettings {
        canary_percent: table.int32("canary_percent"),
        canary_hold: table.time("canary_hold"),
        report: table.time("report"),
    }
}

fn limits_of(table: &Table) -> ControlLimits {
    ControlLimits {
        window: table.time("window"),
        calls_per_token: table.int32("calls_per_token"),
        calls_per_address: table.int32("calls_per_address"),
        denials_per_address: table.int32("denials_per_address"),
        connections: table.size("connections"),
    }
}
