//! Stage: what a request must satisfy before anything is done for it.

use crate::exchange::{Exchange, Stage};
use crate::lifecycle::Refusal;
use crate::reason::Reason;
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
