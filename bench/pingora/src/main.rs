//! A reverse proxy on the Pingora crates, for side-by-side measurements: one worker, no log,
//! forwarded headers, connections to the origin kept alive.
//!
//! `pingora-peer PLAIN TLS CERTIFICATE KEY h1|h2 ORIGIN h1|h2`: addresses of the listeners, files
//! of the TLS one, what its clients may speak, the origin's address and what it speaks.

use std::env;
use std::error::Error;
use std::net::SocketAddr;

use async_trait::async_trait;
use pingora::apps::HttpServerOptions;
use pingora::http::RequestHeader;
use pingora::listeners::tls::TlsSettings;
use pingora::modules::http::HttpModules;
use pingora::prelude::{HttpPeer, ProxyHttp, Session, http_proxy_service};
use pingora::server::Server;
use pingora::server::configuration::ServerConf;

/// Idle connections to the origin: more than any row has clients.
const KEPT: usize = 1024;
/// Streams per connection to an HTTP/2 origin.
const STREAMS: usize = 128;
const USAGE: &str = "usage: pingora-peer PLAIN TLS CERTIFICATE KEY h1|h2 ORIGIN h1|h2";

struct Forward {
    origin: HttpPeer,
    tls: SocketAddr,
}

#[async_trait]
impl ProxyHttp for Forward {
    type CTX = ();

    fn new_ctx(&self) -> Self::CTX {}

    /// None: by default there is one for compression.
    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    async fn upstream_peer(
        &self,
        _session: &mut Session,
        _ctx: &mut Self::CTX,
    ) -> pingora::Result<Box<HttpPeer>> {
        Ok(Box::new(self.origin.clone()))
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        _ctx: &mut Self::CTX,
    ) -> pingora::Result<()> {
        let client = session.client_addr().and_then(|address| address.as_inet());
        if let Some(client) = client {
            let client = client.ip().to_string();
            let before = request.headers.get("x-forwarded-for");
            let list = match before.and_then(|value| value.to_str().ok()) {
                Some(before) => format!("{before}, {client}"),
                None => client,
            };
            request.insert_header("X-Forwarded-For", list)?;
        }
        let local = session.server_addr().and_then(|address| address.as_inet());
        let scheme = if local == Some(&self.tls) { "https" } else { "http" };
        request.insert_header("X-Forwarded-Proto", scheme)
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = env::args().skip(1).collect();
    if words.first().is_some_and(|word| word == "--version") {
        println!("{}", env!("PEER_VERSION"));
        return Ok(());
    }
    let [plain, tls, certificate, key, clients, origin, speaks] = words.as_slice() else {
        return Err(USAGE.into());
    };
    let conf = ServerConf {
        threads: 1,
        // One thread has nobody to steal from.
        work_stealing: false,
        upstream_keepalive_pool_size: KEPT,
        ..ServerConf::default()
    };
    let mut origin = HttpPeer::new(origin.as_str(), false, String::new());
    if speaks == "h2" {
        origin.options.set_http_version(2, 2);
        origin.options.max_h2_streams = STREAMS;
    }
    let mut settings = TlsSettings::intermediate(certificate, key)?;
    #[cfg(any(feature = "boringssl", feature = "openssl"))]
    groups(&mut settings)?;
    if clients == "h2" {
        settings.enable_h2();
    }
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let forward = Forward { origin, tls: tls.parse()? };
    let mut service = http_proxy_service(&server.configuration, forward);
    if clients == "h2"
        && let Some(proxy) = service.app_logic_mut()
    {
        let mut options = HttpServerOptions::default();
        options.h2c = true;
        proxy.server_options = Some(options);
    }
    service.add_tcp(plain);
    service.add_tls_with_settings(tls, None, settings);
    server.add_service(service);
    server.run_forever()
}

/// Makes the hybrid group available, which is not among the defaults everywhere.
#[cfg(any(feature = "boringssl", feature = "openssl"))]
fn groups(settings: &mut TlsSettings) -> Result<(), Box<dyn Error>> {
    #[cfg(feature = "boringssl")]
    settings.set_curves_list("X25519MLKEM768:X25519:P-256")?;
    #[cfg(not(feature = "boringssl"))]
    settings.set_groups_list("X25519MLKEM768:X25519:P-256")?;
    Ok(())
}
