//! How probes speak TLS: what they trust and what they show.

use super::plan::Plan;
use core_model::config::{Certificate, MonitorKind, UpstreamProtocols};
use process_runtime::origin_tls::{self, Trust};
use rustls::ClientConfig;
use std::sync::Arc;

/// The TLS settings of one plan.
#[derive(Clone, Debug, Default)]
pub(crate) struct Session {
    /// Towards the origin: the pool's authorities, client certificate and protocols.
    pub(crate) own: Option<Arc<ClientConfig>>,
    /// Towards another host that a redirect names: the system's authorities, and nothing shown.
    pub(crate) other: Option<Arc<ClientConfig>>,
}

/// Makes the TLS settings that `plan` may need. The error says which part of the pool's TLS
/// settings cannot be used.
pub(crate) fn session(plan: &Plan) -> Result<Session, String> {
    let (kind, follows) = (plan.monitor.kind, plan.monitor.follow_redirects);
    if kind == MonitorKind::Tcp || (kind == MonitorKind::Http && !follows) {
        return Ok(Session::default());
    }
    let tls = plan.tls.as_ref();
    let verify = !plan.monitor.allow_insecure;
    let authorities = tls.map_or(&[][..], |tls| &tls.authorities);
    let own_trust = match (verify && tls.is_none_or(|tls| tls.verify), authorities) {
        (false, _) => Trust::Anything,
        (true, []) => Trust::System,
        (true, authorities) => Trust::Authorities(authorities),
    };
    let shown = tls.and_then(|tls| tls.client_certificate.as_ref());
    let other = match follows {
        true => {
            let trust = if verify { Trust::System } else { Trust::Anything };
            Some(client(trust, None, UpstreamProtocols::HTTP1)?)
        }
        false => None,
    };
    Ok(Session { own: Some(client(own_trust, shown, plan.protocols)?), other })
}

fn client(
    trust: Trust<'_>,
    shown: Option<&Certificate>,
    protocols: UpstreamProtocols,
) -> Result<Arc<ClientConfig>, String> {
    let mut config = origin_tls::client_config(trust, shown).map_err(|e| e.to_string())?;
    config.alpn_protocols = protocols.alpn();
    // A resumed session proves nothing about the certificate that the origin has at present.
    config.resumption = rustls::client::Resumption::disabled();
    Ok(Arc::new(config))
}
