//! Weir itself, built with the profile its packages are built with.

use std::ffi::OsString;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::{Network, Peer, Site, Style, Told};
use crate::machine::Places;
use crate::options::Options;
use crate::row::Upstream;

pub(super) const NAME: &str = "weir";
/// For the answer of the admin listener.
const ANSWER: Duration = Duration::from_secs(10);
/// Bytes of all metrics: a hundred times what a configuration of this size makes of them.
const METRICS_MAX: u64 = 4 << 20;

pub(super) struct Weir {
    program: PathBuf,
    version: String,
}

impl Weir {
    pub(super) fn build(options: &Options, places: &Places, network: Network) -> Result<Self> {
        let program = match &options.weir {
            Some(program) => program.clone(),
            None => places.target.join("dist/weir"),
        };
        if options.weir.is_none() && network == Network::Reachable {
            eprintln!("bench: cargo build --profile dist -p process-weir");
            let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
            let status = Command::new(cargo)
                .args(["build", "--profile", "dist", "-p", "process-weir"])
                .current_dir(&places.root)
                .status()
                .context("cargo build")?;
            if !status.success() {
                bail!("weir could not be built");
            }
        }
        let version = super::version(&[program.clone().into_os_string()], "--version")?;
        Ok(Self { program, version })
    }
}

impl Peer for Weir {
    fn name(&self) -> &'static str {
        NAME
    }

    fn version(&self) -> &str {
        &self.version
    }

    /// A Weir that does not know a protocol refuses the configuration that names it.
    fn unable(&self, site: &Site, _style: Style) -> Result<Option<String>> {
        if !site.h2 && site.upstream == Upstream::H1 {
            return Ok(None);
        }
        let file = site.folder.join("asked.toml");
        fs::write(&file, configuration(site))?;
        let check = Command::new(&self.program).arg("check").arg(&file).output();
        let check = check.context("weir check")?;
        if check.status.success() {
            return Ok(None);
        }
        let told = String::from_utf8_lossy(&[check.stdout, check.stderr].concat()).into_owned();
        let line = told.lines().find(|line| !line.trim().is_empty()).unwrap_or("no reason told");
        let place = format!("{}:", file.display());
        let line = line.trim().trim_start_matches(&place);
        Ok(Some(format!("its configuration is refused: {line}")))
    }

    fn command(&self, site: &Site, _style: Style) -> Result<Vec<OsString>> {
        let file = site.folder.join("weir.toml");
        fs::write(&file, configuration(site))?;
        Ok(vec![self.program.clone().into_os_string(), "run".into(), file.into_os_string()])
    }

    fn told(&self, site: &Site) -> Result<Option<Told>> {
        let text = metrics(site.admin).context("Weir's metrics")?;
        Ok(Some(Told {
            blocks: metric(&text, "weir_allocations_total")?,
            ledger: metric(&text, "weir_http2_ledger_max_bytes{side=\"clients\"}")?,
        }))
    }
}

fn metrics(admin: SocketAddr) -> Result<String> {
    let mut stream = TcpStream::connect(admin)?;
    stream.set_read_timeout(Some(ANSWER))?;
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.take(METRICS_MAX).read_to_string(&mut text)?;
    Ok(text)
}

/// The value of a series in the text of `/metrics`.
fn metric(text: &str, series: &str) -> Result<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    value.and_then(|value| value.parse().ok()).with_context(|| format!("no number for {series}"))
}

fn configuration(site: &Site) -> String {
    let Site { plain, tls, admin, origin, identity, .. } = site;
    let (certificate, key) = (identity.certificate.display(), identity.key.display());
    let (ip, port) = (origin.ip(), origin.port());
    let clients = if site.h2 { "protocols = [\"h2\", \"http/1.1\"]\n" } else { "" };
    let origins = if site.upstream == Upstream::H2 { "protocols = [\"h2\"]\n" } else { "" };
    format!(
        "[runtime]
workers = 1

[admin]
address = \"{admin}\"

[[listener]]
name = \"plain\"
address = \"{plain}\"
{clients}limits = {{ requests_per_connection = 1000000000 }}
timeouts = {{ keepalive = \"600s\" }}

[[listener]]
name = \"tls\"
address = \"{tls}\"
{clients}limits = {{ requests_per_connection = 1000000000 }}
timeouts = {{ keepalive = \"600s\" }}
tls = {{ certificates = [{{ certificate = \"{certificate}\", key = \"{key}\" }}] }}

[[pool]]
name = \"o\"
{origins}keepalive = {{ connections = 1024, idle = \"600s\", requests = 1000000000 }}

[[pool.origins]]
name = \"o1\"
address = \"{ip}\"
port = {port}

[[load_balancer]]
name = \"*\"
default_pools = [\"o\"]
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_found_by_its_whole_name() {
        let text = "# TYPE a_total counter\na_total_of_b 1\na_total 7\na{side=\"x\"} 9\n";
        assert_eq!(metric(text, "a_total").unwrap(), 7);
        assert_eq!(metric(text, "a{side=\"x\"}").unwrap(), 9);
        assert!(metric(text, "a").is_err());
    }
}
