//! nginx and HAProxy as origins that tell what they saw: method, host, target, body, client.

use crate::peers::{listening, program};
use crate::support::files::{TempDir, free_port};
use crate::support::process::Guard;
use crate::support::wait::{self, SOON};
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Which program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Nginx,
    Haproxy,
}

impl Kind {
    /// Whether the origin answers some of these cases with a 4xx by rules of its own, which are
    /// narrower than those of the RFCs. It takes nothing for another request thereby.
    pub(super) fn may_refuse(self, name: &str) -> bool {
        let starts: &[&str] = match self {
            Self::Nginx => &[
                // An empty Host, as HTTP/1.0 without one becomes; empty labels.
                "host/number-1.0/none",
                "target/form/1.0-without-host/",
                "host/value/.",
                "host/value/a..b",
                "h2/authority/.",
                "h2/authority/a..b",
                "owned/If-None-Match/",
                "target/form/OPTIONS/",
                "h2/options/",
                // Letters, `_` and `-` only.
                "target/method-byte/",
                "h2/method-byte/",
                // Climbs above the root, a NUL, a broken escape.
                "target/path/",
                "h2/plain-path/",
            ],
            // A name has 255 bytes at most.
            Self::Haproxy => &["size/name/", "target/method/PRI", "h2/pseudo/method/PRI"],
        };
        starts.iter().any(|start| name.starts_with(start))
    }

    /// Whether the origin, asked over HTTP/2, cannot take these cases: for what they show, the
    /// runs over HTTP/1 are there.
    pub(super) fn cannot(self, name: &str) -> bool {
        // Neither says 100 on a stream, for which these clients wait. A tunnel is another method
        // there, and one that HAProxy's answer opens.
        let mut starts = vec!["expect/waits/", "upgrade/websocket", "upgrade/foo", "upgrade/tls"];
        match self {
            // It takes trailers of a request for a fault of the whole connection.
            Self::Nginx => starts.extend(["chunk/trailer/", "h2/trailer/", "h2/length/trailers/"]),
            // It resets streams with longer names, and has no path for `*`.
            Self::Haproxy => starts.extend([
                "size/name/",
                "target/form/OPTIONS/*",
                "target/form/OPTIONS/http://a/a",
                "h2/options/*",
            ]),
        }
        starts.iter().any(|start| name.starts_with(start))
    }
}

/// A request as the origin saw it. What it could not read is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) method: String,
    /// The value of Host.
    pub(crate) host: String,
    pub(crate) target: String,
    /// The path in the origin's own normal form, where it has one.
    pub(crate) normal: Option<String>,
    pub(crate) body: Vec<u8>,
    /// Whom Weir says that it is from.
    pub(crate) client: String,
    pub(crate) status: u16,
    /// Bytes of head and body, where the origin counts them.
    pub(crate) length: Option<usize>,
}

/// A running origin.
pub(crate) struct Origin {
    pub(crate) kind: Kind,
    pub(crate) port: u16,
    guard: Guard,
    log: PathBuf,
    _dir: TempDir,
}

/// Bodies and heads of the corpus are smaller, so that an origin sees them in one piece.
const BUFFER: usize = 128 << 10;

impl Origin {
    #[track_caller]
    pub(crate) fn start(kind: Kind, http2: bool) -> Self {
        let (dir, port) = (TempDir::new(), free_port());
        let log = dir.path().join("seen.log");
        let mut command = match kind {
            Kind::Nginx => {
                let file = dir.write("nginx.conf", nginx(&dir, port, http2));
                let mut command = program("nginx");
                command.arg("-c").arg(file).arg("-p").arg(dir.path());
                command
            }
            Kind::Haproxy => {
                let file = dir.write("haproxy.cfg", haproxy(port, http2));
                let mut command = program("haproxy");
                command.arg("-db").arg("-f").arg(file);
                command
            }
        };
        let mut guard = Guard::start(&mut command);
        listening(&mut guard, port);
        Self { kind, port, guard, log, _dir: dir }
    }

    /// Ends the program and gives what it saw on each connection, by the address of its peer.
    #[track_caller]
    pub(crate) fn finish(mut self) -> BTreeMap<String, Vec<Seen>> {
        self.guard.signal(if self.kind == Kind::Nginx { Signal::QUIT } else { Signal::USR1 });
        self.guard.exit(SOON);
        let mut text = String::new();
        wait::until("the log is whole", SOON, || {
            text = match self.kind {
                Kind::Nginx => {
                    let bytes = std::fs::read(&self.log).expect("nginx writes its log");
                    String::from_utf8_lossy(&bytes).into_owned()
                }
                Kind::Haproxy => self.guard.stdout.text(),
            };
            self.kind == Kind::Nginx || self.guard.stdout.ended()
        });
        let mut seen: BTreeMap<String, Vec<Seen>> = BTreeMap::new();
        for line in text.lines() {
            let read = match self.kind {
                Kind::Nginx => from_nginx(line),
                // Beside the requests HAProxy tells of its own life.
                Kind::Haproxy if !line.starts_with("seen ") => continue,
                Kind::Haproxy => from_haproxy(line),
            };
            let (peer, request) = read.unwrap_or_else(|| panic!("{:?} logged {line:?}", self.kind));
            seen.entry(peer).or_default().push(request);
        }
        seen
    }
}

/// The server in front reads the body whole before it asks the one behind, which answers. Only
/// so does nginx keep the body for its log.
fn nginx(dir: &TempDir, port: u16, http2: bool) -> String {
    // A listener without TLS speaks the one or the other.
    let protocol = if http2 { " http2" } else { "" };
    let root = dir.path().display();
    format!(
        "daemon off; master_process off; error_log stderr crit; pid {root}/pid;\n\
         events {{ worker_connections 2048; }}\n\
         http {{ client_body_temp_path {root}/b; proxy_temp_path {root}/p;\n\
         fastcgi_temp_path {root}/f; uwsgi_temp_path {root}/u; scgi_temp_path {root}/s;\n\
         client_max_body_size 0; client_body_buffer_size {BUFFER};\n\
         client_body_in_single_buffer on; keepalive_requests 1000000; keepalive_timeout 300s;\n\
         large_client_header_buffers 8 {BUFFER};\n\
         log_format seen escape=json '{{\"peer\":\"$remote_addr\",\"method\":\"$request_method\",\
         \"host\":\"$http_host\",\"target\":\"$request_uri\",\"normal\":\"$uri\",\
         \"body\":\"$request_body\",\"client\":\"$http_cf_connecting_ip\",\
         \"status\":\"$status\",\"length\":\"$request_length\"}}';\n\
         server {{ listen unix:{root}/n.sock; access_log off; return 200 \"behind\\n\"; }}\n\
         server {{ listen 127.0.0.1:{port}{protocol}; access_log {root}/seen.log seen;\n\
         add_header X-Method $request_method always;\n\
         add_header X-Target $request_uri always;\n\
         location /early {{ return 200 \"early\\n\"; }}\n\
         location = /none {{ return 204; }}\n\
         location / {{ proxy_pass_request_headers off; proxy_pass_request_body off;\n\
         proxy_set_header Content-Length \"\"; proxy_set_header Host inner; proxy_method GET;\n\
         set $behind \"http://unix:{root}/n.sock:/ok\"; proxy_pass $behind; }} }} }}\n"
    )
}

fn haproxy(port: u16, http2: bool) -> String {
    let (protocol, target) = if http2 { (" proto h2", "pathq") } else { ("", "url") };
    let hex = |name: &str| format!("%[var(txn.{name}),hex]");
    format!(
        "global\n  maxconn 2000\n  nbthread 1\n  tune.bufsize {BUFFER}\n  tune.http.maxhdr 300\n  \
         log stdout len 65535 format raw local0\n\
         defaults\n  mode http\n  option http-ignore-probes\n  log global\n  \
         timeout client 60s\n  timeout http-request 60s\n  \
         timeout http-keep-alive 300s\n\
         frontend f\n  bind 127.0.0.1:{port}{protocol}\n  \
         http-request wait-for-body time 60s unless {{ path_beg /early }}\n  \
         http-request set-var(txn.method) method,bytes(0)\n  \
         http-request set-var(txn.host) req.fhdr(host)\n  \
         http-request set-var(txn.target) {target}\n  \
         http-request set-var(txn.body) req.body\n  \
         http-request set-var(txn.client) req.fhdr(cf-connecting-ip)\n  \
         log-format \"seen %ci %ST m={} h={} t={} b={} c={}\"\n  \
         http-request return status 204 hdr X-Method %[method] hdr X-Target %[{target}] \
         if {{ path /none }}\n  \
         http-request return status 200 content-type text/plain string \"origin\\n\" \
         hdr X-Method %[method] hdr X-Target %[{target}]\n",
        hex("method"),
        hex("host"),
        hex("target"),
        hex("body"),
        hex("client"),
    )
}

fn from_nginx(line: &str) -> Option<(String, Seen)> {
    let value: serde_json::Value = serde_json::from_str(line).ok()?;
    let text = |key: &str| value.get(key).and_then(|v| v.as_str()).map(str::to_owned);
    let seen = Seen {
        method: text("method")?,
        host: text("host")?,
        target: text("target")?,
        normal: text("normal"),
        body: text("body")?.into_bytes(),
        client: text("client")?,
        status: text("status")?.parse().ok()?,
        length: text("length")?.parse().ok(),
    };
    Some((text("peer")?, seen))
}

fn from_haproxy(line: &str) -> Option<(String, Seen)> {
    let parts: Vec<&str> = line.split(' ').collect();
    let [_, peer, status, method, host, target, body, client] = parts[..] else { return None };
    let value = |part: &str, key: &str| -> Option<Vec<u8>> {
        let digits = part.strip_prefix(key)?;
        // HAProxy writes a dash for what it does not know.
        let pairs = digits.strip_suffix('-').unwrap_or(digits).as_bytes().chunks(2);
        pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
    };
    let text = |part: &str, key: &str| {
        value(part, key).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    };
    let seen = Seen {
        method: text(method, "m=")?,
        host: text(host, "h=")?,
        target: text(target, "t=")?,
        normal: None,
        body: value(body, "b=")?,
        client: text(client, "c=")?,
        status: status.parse().ok()?,
        length: None,
    };
    Some((peer.to_owned(), seen))
}
