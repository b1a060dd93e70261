//! Stage: what a request must satisfy before anything is done for it.

use crate::exchange::{Exchange, Stage};
use crate::lifecycle::Refusal;
use crate::plan::HostPlan;
use crate::reason::Reason;
use crate::tls::TlsPolicy;
use core_model::config::HeaderNamePolicy;
use core_wire::h1::Framing;

/// Lets the request through, or says why not.
pub(crate) fn admit(stage: Stage<'_>, exchange: &mut Exchange) -> Result<(), Refusal> {
    let config = &stage.listener.config;
    if config.header_names == HeaderNamePolicy::Reject
        && exchange.request().fields.iter().any(|field| field.odd_name)
    {
        return Err(Reason::HeaderName.into());
    }
    if let Framing::Exact(length) = exchange.meaning.framing
        && length > config.limits.body_bytes
    {
        return Err(Reason::BodyTooLarge.into());
    }
    Ok(())
}

/// Whether the connection may ask for `host`: what was agreed in its handshake for one host says
/// nothing about another one with another policy (RFC 9110 §7.4; docs/decisions, 0014).
pub(super) fn may_speak_for(exchange: &Exchange, host: &HostPlan) -> Result<(), Refusal> {
    let peer = &exchange.peer;
    if peer.https && peer.policy != host.policy {
        return Err(Reason::Misdirected.into());
    }
    if host.policy == TlsPolicy::ClientCertificate && !peer.certified {
        return Err(Reason::NoCertificate.into());
    }
    Ok(())
}
