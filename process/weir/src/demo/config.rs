//! What the demo's Weir runs on: a self-signed certificate in a folder of its own, and a
//! configuration as an operator would write it.

use super::origins::Origin;
use anyhow::Context;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use rustls::ClientConfig;
use rustls::RootCertStore;
use std::fmt::Write as _;
use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Worker threads: two show that requests move between them, more would take the load's cores.
pub(super) const WORKERS: usize = 2;
/// How long the certificate is valid, from yesterday on (clocks differ).
const VALID: Duration = Duration::from_secs(30 * 86_400);
const YESTERDAY: Duration = Duration::from_secs(86_400);
/// Names tried for the folder; others can only have taken them on purpose.
const FOLDERS_TRIED: u32 = 100;

/// A folder that only this user can read, removed with its owner.
#[derive(Debug)]
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new() -> io::Result<Self> {
        let mut last = io::Error::from(io::ErrorKind::AlreadyExists);
        for n in 0..FOLDERS_TRIED {
            let path = std::env::temp_dir().join(format!("weir-demo-{}-{n}", std::process::id()));
            // Fails where anything has the name, a link that somebody laid there included.
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Self(path)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => last = error,
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }

    /// Writes a file that was not there, for this user alone.
    pub(super) fn write(&self, name: &str, text: &str) -> io::Result<()> {
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o600).open(self.0.join(name))?;
        file.write_all(text.as_bytes())
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed lies in a folder for temporary files.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Makes a certificate in the folder; gives the trust of a client in it and nothing else.
pub(super) fn certificate(folder: &Folder) -> anyhow::Result<Arc<ClientConfig>> {
    let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "weir demo");
    let now = SystemTime::now();
    params.not_before = (now - YESTERDAY).into();
    params.not_after = (now + VALID).into();
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    let wrote = folder.write("demo.crt", &certificate.pem());
    wrote
        .and_then(|()| folder.write("demo.key", &key.serialize_pem()))
        .with_context(|| format!("writing the certificate into {}", folder.path().display()))?;
    let mut roots = RootCertStore::empty();
    roots.add(certificate.der().clone())?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(client))
}

/// The addresses of the demo.
#[derive(Clone, Copy, Debug)]
pub(super) struct Addresses {
    pub(super) http: SocketAddr,
    pub(super) https: SocketAddr,
    pub(super) admin: SocketAddr,
}

/// The configuration.
pub(super) fn text(at: Addresses, folder: &Path, origins: &[Arc<Origin>]) -> String {
    let Addresses { http, https, admin } = at;
    let (certificate, key) = (folder.join("demo.crt"), folder.join("demo.key"));
    let mut text = format!(
        "\
[runtime]
workers = {WORKERS}
# The demo ends within this time even where a browser holds a connection.
drain_timeout = \"2s\"

[admin]
address = \"{admin}\"

[logging]
level = \"error\"

[[listener]]
name = \"http\"
address = \"{http}\"

[[listener]]
name = \"https\"
address = \"{https}\"
tls = {{ certificates = [{{ certificate = {certificate:?}, key = {key:?} }}] }}

[[monitor]]
name = \"health\"
path = \"/health\"
interval = 2
timeout = 1
retries = 0
expected_codes = \"200\"

[[pool]]
name = \"demo\"
monitor = \"health\"
# An origin that dies takes a third of all requests in flight with it, which is far more than the
# usual budget of 20 percent; each of them is to have its further tries.
retries = {{ attempts = 2, budget_percent = 100, budget_min = 100 }}
# A dead origin is back within seconds, so it is not left alone for longer.
outlier_ejection = {{ base_time = \"1s\", max_time = \"1s\" }}
"
    );
    for origin in origins {
        let (name, ip, port) = (origin.name, origin.address.ip(), origin.address.port());
        // A string takes everything.
        let _ = write!(
            text,
            "\n[[pool.origins]]\nname = \"{name}\"\naddress = \"{ip}\"\nport = {port}\n"
        );
    }
    text.push_str("\n[[load_balancer]]\nname = \"*\"\ndefault_pools = [\"demo\"]\n");
    text
}
