//! HAProxy, of Debian's newest suite, or the system's.

use std::ffi::OsString;
use std::fs;

use anyhow::{Context, Result, bail};

use super::{Peer, Site, Style, debian};
use crate::row::Upstream;

pub(super) const NAME: &str = "haproxy";
/// The oldest release the goals were set against.
const LEAST: [u32; 2] = [3, 2];
/// HAProxy counts two descriptors per connection against the process's limit.
const CONNECTIONS: usize = 10_200;

pub(super) struct Haproxy {
    program: Vec<OsString>,
    version: String,
}

impl Haproxy {
    pub(super) fn find(newest: Option<&debian::Unpacked>) -> Result<Self> {
        let program = match newest {
            Some(suite) => suite.program("usr/sbin/haproxy")?,
            None => vec!["/usr/sbin/haproxy".into()],
        };
        let version = super::version(&program, "-v").context("haproxy")?;
        if super::number(&version).is_empty() {
            bail!("haproxy does not run: {version}");
        }
        super::at_least(NAME, &version, &LEAST);
        Ok(Self { program, version })
    }
}

impl Peer for Haproxy {
    fn name(&self) -> &'static str {
        NAME
    }

    fn version(&self) -> &str {
        &self.version
    }

    fn command(&self, site: &Site, _style: Style) -> Result<Vec<OsString>> {
        let file = site.folder.join("haproxy.cfg");
        fs::write(&file, configuration(site))?;
        let mut command = self.program.clone();
        command.extend(["-db".into(), "-q".into(), "-f".into(), file.into_os_string()]);
        Ok(command)
    }
}

fn configuration(site: &Site) -> String {
    let Site { plain, tls, origin, identity, .. } = site;
    let pem = identity.both.display();
    let alpn = if site.h2 { "h2,http/1.1" } else { "http/1.1" };
    let proto = if site.upstream == Upstream::H2 { " proto h2" } else { "" };
    format!(
        "global
  nbthread 1
  no strict-limits
  maxconn {CONNECTIONS}
  tune.pipesize 65536
defaults
  mode http
  timeout connect 5s
  timeout client 600s
  timeout server 600s
  timeout http-keep-alive 600s
  http-reuse always
  option splice-auto
  maxconn {CONNECTIONS}
frontend edge
  bind {plain} backlog 4096
  bind {tls} backlog 4096 ssl crt {pem} alpn {alpn}
  option forwardfor
  http-request set-header X-Forwarded-Proto https if {{ ssl_fc }}
  http-request set-header X-Forwarded-Proto http unless {{ ssl_fc }}
  default_backend origin
backend origin
  server o1 {origin}{proto} pool-max-conn 1024
"
    )
}
