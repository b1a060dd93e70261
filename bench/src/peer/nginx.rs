//! nginx, of Debian's newest suite, or the system's.

use std::ffi::OsString;
use std::fs;

use anyhow::{Context, Result};

use super::{CONNECTIONS, Peer, Site, Style, debian};
use crate::row::Upstream;

pub(super) const NAME: &str = "nginx";
/// The oldest release the goals were set against.
const LEAST: [u32; 2] = [1, 30];
/// With its default of 4 KiB nginx spends more than twice the CPU on bodies of 100 kB and above; a
/// peer is measured at its best.
const BUFFER: usize = 64;
const BUSY: usize = 2 * BUFFER;

pub(super) struct Nginx {
    program: Vec<OsString>,
    version: String,
}

impl Nginx {
    pub(super) fn find(newest: Option<&debian::Unpacked>) -> Result<Self> {
        let program = match newest {
            Some(suite) => suite.program("usr/sbin/nginx")?,
            None => vec!["/usr/sbin/nginx".into()],
        };
        let version = super::version(&program, "-v").context("nginx")?;
        super::at_least(NAME, &version, &LEAST);
        Ok(Self { program, version })
    }
}

impl Peer for Nginx {
    fn name(&self) -> &'static str {
        NAME
    }

    fn version(&self) -> &str {
        &self.version
    }

    fn command(&self, site: &Site, style: Style) -> Result<Vec<OsString>> {
        let file = site.folder.join("nginx.conf");
        fs::write(&file, configuration(site, style))?;
        let mut command = self.program.clone();
        let log = site.folder.join("nginx.log");
        for word in ["-p".into(), site.folder.clone().into_os_string(), "-e".into(), log.into()] {
            command.push(word);
        }
        command.extend(["-c".into(), file.into_os_string()]);
        Ok(command)
    }
}

fn configuration(site: &Site, style: Style) -> String {
    let folder = site.folder.display();
    let master = if style == Style::Usual { "on" } else { "off" };
    let Site { plain, tls, origin, identity, .. } = site;
    let (certificate, key) = (identity.certificate.display(), identity.key.display());
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|kind| format!("  {kind}_temp_path {folder}/{kind};\n"))
        .collect();
    let h2 = if site.h2 { "on" } else { "off" };
    let location = match site.upstream {
        Upstream::H1 => proxied(),
        Upstream::H2 => PASSED.to_owned(),
    };
    format!(
        "daemon off;
master_process {master};
worker_processes 1;
user root root;
pid {folder}/nginx.pid;
events {{
  worker_connections {CONNECTIONS};
}}
http {{
  access_log off;
{temporary}  keepalive_requests 1000000000;
  keepalive_timeout 600s;
  ssl_certificate {certificate};
  ssl_certificate_key {key};
  ssl_protocols TLSv1.2 TLSv1.3;
  ssl_session_tickets on;
  upstream origin {{
    server {origin};
    keepalive 1024;
    keepalive_requests 1000000000;
    keepalive_timeout 600s;
  }}
  server {{
    listen {plain} backlog=4096;
    listen {tls} ssl backlog=4096;
    http2 {h2};
    location / {{
{location}    }}
  }}
}}
"
    )
}

/// One stream per connection is what it can do towards an HTTP/2 origin.
const PASSED: &str = "      grpc_pass grpc://origin;
      grpc_set_header Host $host;
      grpc_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      grpc_set_header X-Forwarded-Proto $scheme;
";

fn proxied() -> String {
    format!(
        "      proxy_pass http://origin;
      proxy_http_version 1.1;
      proxy_set_header Host $host;
      proxy_set_header Connection \"\";
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_max_temp_file_size 0;
      proxy_buffer_size {BUFFER}k;
      proxy_buffers 8 {BUFFER}k;
      proxy_busy_buffers_size {BUSY}k;
"
    )
}
