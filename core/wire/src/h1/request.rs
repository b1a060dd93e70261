//! What a request head means: where its body ends, whom it is for, what becomes of the connection.
//! Framing is settled before any field is left out, and the serializer states it anew.

use super::Framing;
use super::authority::{self, Authority};
use super::connection::{self, Coding, Facts};
use super::head::{HeadError, Known, Method, RequestHead, Span, TargetForm, Version};

/// What a request asks of the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestMeaning {
    /// Where the body ends; never [`Framing::Eof`].
    pub framing: Framing,
    /// The client allows another request on the connection.
    pub keep_alive: bool,
    /// The client waits for `100 (Continue)` before it sends its body.
    pub expect_continue: bool,
    /// The protocol that the client wants to switch to; nothing of it may be acted on before the
    /// origin's 101.
    pub upgrade: Option<Span>,
    /// The client takes trailers, so `TE: trailers` may be sent on.
    pub te_trailers: bool,
    /// Whom the request is for.
    pub authority: Authority,
}

/// Finds what the head means and marks the fields that must not be forwarded.
///
/// # Errors
/// The broken rule; no byte of the message may reach an origin then.
pub fn meaning(head: &mut RequestHead, buf: &[u8]) -> Result<RequestMeaning, HeadError> {
    let mut facts = Facts::default();
    connection::gather(&mut head.fields, buf, &mut facts)?;
    if facts.nominated_framing {
        return Err(HeadError::NominatedFraming);
    }
    let framing = framing(&facts, head.version)?;
    let authority = whom(&facts, head, buf)?;
    match head.method {
        Method::Connect if framing != Framing::None => return Err(HeadError::ConnectWithBody),
        Method::Connect => return Err(HeadError::ConnectRefused),
        Method::Trace if framing != Framing::None => return Err(HeadError::TraceWithBody),
        Method::Trace => return Err(HeadError::TraceRefused),
        _ => {}
    }
    let current = head.version == Version::Http11;
    let expect_continue = facts.expects > 0 && expects(&facts, head, framing, buf)?;
    let upgrade =
        facts.upgrade.filter(|_| facts.upgrade_option && current && framing == Framing::None);
    // An old client that sends a body without saying how long it is says so by closing, and the
    // next request could not be told from that body.
    let undelimited = !current
        && facts.lengths == 0
        && matches!(head.method, Method::Post | Method::Put | Method::Patch | Method::Other);
    Ok(RequestMeaning {
        framing,
        keep_alive: facts.lives_on(head.version) && !undelimited,
        expect_continue,
        upgrade,
        te_trailers: facts.te_trailers && current,
        authority,
    })
}

/// Whether the client allows another request on the connection; for replies to requests that
/// [`meaning`] refused with a fault that does not close.
#[must_use]
pub fn keep_alive(head: &RequestHead, buf: &[u8]) -> bool {
    let (mut fields, mut facts) = (head.fields.clone(), Facts::default());
    connection::gather(&mut fields, buf, &mut facts).is_ok() && facts.lives_on(head.version)
}

fn framing(facts: &Facts, version: Version) -> Result<Framing, HeadError> {
    if let Some(coding) = facts.coding {
        if version == Version::Http10 {
            return Err(HeadError::CodingOn10);
        }
        if facts.lengths > 0 {
            return Err(HeadError::LengthAndCoding);
        }
        return match coding {
            Coding::Chunked => Ok(Framing::Chunked),
            Coding::Others | Coding::OthersThenChunked => Err(HeadError::UnknownCoding),
            Coding::ChunkedNotLast | Coding::Broken => Err(HeadError::BadCoding),
        };
    }
    match (facts.lengths, facts.length) {
        (0, _) => Ok(Framing::None),
        (1, Some(length)) => Ok(Framing::Exact(length)),
        (1, None) => Err(HeadError::BadLength),
        _ => Err(HeadError::RepeatedLength),
    }
}

/// The authority of the target or of `Host`; where both are there they must be the same.
fn whom(facts: &Facts, head: &RequestHead, buf: &[u8]) -> Result<Authority, HeadError> {
    if facts.hosts > 1 {
        return Err(HeadError::RepeatedHost);
    }
    if facts.hosts == 0 && head.version == Version::Http11 {
        return Err(HeadError::MissingHost);
    }
    let read = |span| authority::read(buf, span).ok_or(HeadError::BadHost);
    let host = if facts.hosts == 1 { Some(read(facts.host)?) } else { None };
    if head.target.form == TargetForm::Origin {
        return Ok(host.unwrap_or_default());
    }
    let usual = match head.target.form {
        TargetForm::Origin | TargetForm::Asterisk => return Ok(host.unwrap_or_default()),
        TargetForm::Absolute { https: true } => Some(443),
        TargetForm::Absolute { https: false } => Some(80),
        TargetForm::Authority => None,
    };
    let named = read(head.target.authority)?;
    if usual.is_none() && named.port.is_none() {
        return Err(HeadError::BadHost);
    }
    if let Some(host) = host {
        let same = named.host(buf).eq_ignore_ascii_case(host.host(buf))
            && named.port.or(usual) == host.port.or(usual);
        if !same {
            return Err(HeadError::HostMismatch);
        }
    }
    Ok(named)
}

/// Whether the client waits for 100. An expectation without a body has no effect and is not
/// forwarded, nor is one of HTTP/1.0 (RFC 9110 §10.1.1).
fn expects(
    facts: &Facts,
    head: &mut RequestHead,
    framing: Framing,
    buf: &[u8],
) -> Result<bool, HeadError> {
    if facts.expects > 1 || !facts.expect.get(buf).eq_ignore_ascii_case(b"100-continue") {
        return Err(HeadError::Expectation);
    }
    let waits =
        head.version == Version::Http11 && !matches!(framing, Framing::None | Framing::Exact(0));
    if !waits {
        head.fields
            .iter_mut()
            .filter(|field| field.known == Known::Expect)
            .for_each(|field| field.hop = true);
    }
    Ok(waits)
}

#[cfg(test)]
mod tests;
