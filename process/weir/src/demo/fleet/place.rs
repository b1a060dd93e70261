//! Where the fleet of the demo lies: its addresses, and the files that its processes run on.

use super::{EDGES, OfFleet, Wish};
use crate::demo::config::Folder;
use anyhow::Context;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::{ClientConfig, RootCertStore};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// How long certificates are valid, from yesterday on (clocks differ).
const VALID: Duration = Duration::from_secs(30 * 86_400);
const YESTERDAY: Duration = Duration::from_secs(86_400);

/// One control plane.
#[derive(Clone, Debug)]
pub(super) struct PlaneAt {
    pub(super) name: String,
    /// Where the API is.
    pub(super) api: SocketAddr,
    /// Where edges come to.
    pub(super) edges: SocketAddr,
}

/// One edge.
#[derive(Clone, Debug)]
pub(super) struct EdgeAt {
    pub(super) name: String,
    pub(super) http: SocketAddr,
    pub(super) admin: SocketAddr,
}

/// Addresses and folder.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) planes: Vec<PlaneAt>,
    pub(super) edges: Vec<EdgeAt>,
    /// Of etcd's clients and of its peers.
    pub(super) etcd: Option<[SocketAddr; 2]>,
    folder: Folder,
    /// Trust in the demo's authority, where the API has TLS.
    pub(super) trust: Option<Arc<ClientConfig>>,
}

/// The address so many ports after this one.
fn after(address: SocketAddr, ports: u16) -> anyhow::Result<SocketAddr> {
    let port = address.port().checked_add(ports).filter(|_| address.port() > 0);
    let port = port.with_context(|| format!("{address}: a port with some after it is needed"))?;
    Ok(SocketAddr::new(address.ip(), port))
}

impl Place {
    /// Looks whether all addresses are free, and makes the folder.
    ///
    /// # Errors
    /// An address is in use, or there is no room for files.
    pub(super) fn new(wish: &Wish) -> anyhow::Result<Self> {
        let OfFleet { etcd, tls, api, .. } = &wish.of_fleet;
        let mut asked = Vec::new();
        let mut edges = Vec::new();
        for at in 0..EDGES {
            let (http, admin) = (after(wish.http, at)?, after(wish.admin, at)?);
            asked.extend([("http", http), ("admin", admin)]);
            edges.push(EdgeAt { name: format!("edge-{}", at + 1), http, admin });
        }
        let mut planes = Vec::new();
        for at in 0..if *etcd { 2 } else { 1 } {
            let (api, edges) = (after(*api, 2 * at)?, after(*api, 2 * at + 1)?);
            asked.extend([("api", api), ("api", edges)]);
            planes.push(PlaneAt { name: format!("plane-{}", at + 1), api, edges });
        }
        let etcd = if *etcd { Some([after(*api, 4)?, after(*api, 5)?]) } else { None };
        asked.extend(etcd.iter().flatten().map(|address| ("api", *address)));
        crate::demo::free(&asked)?;
        let folder = Folder::new().context("making a folder for the fleet")?;
        let mut place = Self { planes, edges, etcd, folder, trust: None };
        if *tls {
            place.trust = Some(place.certificates()?);
        }
        for plane in &place.planes {
            place.write(&format!("{}.toml", plane.name), &place.control_file(plane))?;
        }
        for edge in &place.edges {
            place.write(&format!("{}.toml", edge.name), &place.edge_file(edge))?;
        }
        Ok(place)
    }

    /// A file of the folder.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The same as text.
    pub(super) fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// Writes a file that was not there, for this user alone.
    pub(super) fn write(&self, name: &str, text: &str) -> anyhow::Result<()> {
        self.folder.write(name, text).with_context(|| self.text(name))
    }

    /// What the control plane runs on, as an operator would write it.
    pub(super) fn control_file(&self, plane: &PlaneAt) -> String {
        let PlaneAt { name, api, edges } = plane;
        let tls = match self.trust {
            Some(_) => "tls = { certificate = \"api.crt\", key = \"api.key\" }\n",
            None => "",
        };
        let store = match self.etcd {
            Some([clients, _]) => format!("[store.etcd]\nendpoints = [\"http://{clients}\"]\n"),
            None => "[store]\npath = \"store\"\n".to_owned(),
        };
        format!(
            "\
[control]
address = \"{api}\"
# Commands of this machine come by it.
socket = \"{name}.sock\"
{tls}
[edges]
address = \"{edges}\"

{store}
[secrets]
key_file = \"secrets.key\"

# Nobody else is here: tests that call without end are welcome.
[limits]
calls_per_token = 10000000
calls_per_address = 10000000

[logging]
level = \"info\"
"
        )
    }

    /// What an edge runs on: all that is not published.
    pub(super) fn edge_file(&self, edge: &EdgeAt) -> String {
        let EdgeAt { name, http, admin } = edge;
        let urls: Vec<_> =
            self.planes.iter().map(|plane| format!("\"https://{}\"", plane.edges)).collect();
        let urls = urls.join(", ");
        format!(
            "\
[runtime]
workers = 1
# The demo ends within this time even where a browser holds a connection.
drain_timeout = \"2s\"

[admin]
address = \"{admin}\"

[logging]
level = \"info\"

[control]
urls = [{urls}]
join_token_file = \"join-token\"
state = \"{name}.state\"
name = \"{name}\"

[[listener]]
name = \"http\"
address = \"{http}\"
"
        )
    }

    /// Makes an authority and a certificate for the API; gives the trust of a client in them and
    /// nothing else.
    fn certificates(&self) -> anyhow::Result<Arc<ClientConfig>> {
        let now = SystemTime::now();
        let valid = |params: &mut CertificateParams, name: &str| {
            params.distinguished_name = DistinguishedName::new();
            params.distinguished_name.push(DnType::CommonName, name);
            params.not_before = (now - YESTERDAY).into();
            params.not_after = (now + VALID).into();
        };
        let mut params = CertificateParams::new([])?;
        valid(&mut params, "weir demo authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let authority = params.self_signed(&key)?;
        let issuer = Issuer::new(params, key);
        let ip = self.planes.first().map(|plane| plane.api.ip().to_string());
        let names = ["localhost".to_owned()].into_iter().chain(ip);
        let mut params = CertificateParams::new(names.collect::<Vec<_>>())?;
        valid(&mut params, "weir demo");
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate()?;
        let leaf = params.signed_by(&key, &issuer)?;
        self.write("authority.crt", &authority.pem())?;
        self.write("api.crt", &leaf.pem())?;
        self.write("api.key", &key.serialize_pem())?;
        let mut roots = RootCertStore::empty();
        roots.add(authority.der().clone())?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Arc::new(client))
    }
}
