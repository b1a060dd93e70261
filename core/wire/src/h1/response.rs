//! What a reply head means: where its body ends, and whether its connection may serve again.

use super::Framing;
use super::connection::{self, Coding, Facts};
use super::head::{HeadError, Method, ResponseHead, Span, Version};

/// What a reply of an origin says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseMeaning {
    /// Where the body ends.
    pub framing: Framing,
    /// The origin allows another request on the connection.
    pub keep_alive: bool,
    /// `keep_alive`, and the end of the reply is beyond doubt: what a pool asks for.
    pub reusable: bool,
    /// The protocol of a 101 that has both `Upgrade` and `Connection: upgrade`.
    pub upgrade: Option<Span>,
    /// A 1xx that another reply follows; false for 101.
    pub interim: bool,
    /// The `Content-Length` that was declared, which a reply to HEAD or a 304 has without a body.
    pub declared: Option<u64>,
}

/// Finds what the head means and marks the fields that must not be forwarded.
///
/// # Errors
/// The broken rule; the reply is a 502 then, and the connection is of no further use.
pub fn meaning(
    head: &mut ResponseHead,
    buf: &[u8],
    request_method: Method,
) -> Result<ResponseMeaning, HeadError> {
    let mut facts = Facts::default();
    connection::gather(&mut head.fields, buf, &mut facts)?;
    if facts.lengths > 1 {
        return Err(HeadError::RepeatedLength);
    }
    if facts.lengths == 1 && facts.length.is_none() {
        return Err(HeadError::BadLength);
    }
    let announced = facts.coding.is_some() || facts.length.is_some_and(|length| length > 0);
    if head.status < 200 && announced {
        return Err(HeadError::InterimWithBody);
    }
    let tunnel =
        head.status == 101 || (request_method == Method::Connect && head.status / 100 == 2);
    let bodiless = head.status < 200
        || matches!(head.status, 204 | 304)
        || request_method == Method::Head
        || tunnel;
    let framing = if bodiless { Framing::None } else { framing(&facts)? };
    let keep_alive = facts.lives_on(head.version) && !tunnel;
    let doubtful = (facts.coding.is_some() && facts.lengths > 0)
        || (facts.coding.is_some() && head.version == Version::Http10)
        || (head.status == 204 && announced)
        || framing == Framing::Eof;
    Ok(ResponseMeaning {
        framing,
        keep_alive,
        reusable: keep_alive && !doubtful,
        upgrade: facts.upgrade.filter(|_| head.status == 101 && facts.upgrade_option),
        interim: head.status < 200 && head.status != 101,
        declared: if facts.coding.is_none() { facts.length } else { None },
    })
}

fn framing(facts: &Facts) -> Result<Framing, HeadError> {
    match (facts.coding, facts.length) {
        (Some(Coding::Chunked), _) => Ok(Framing::Chunked),
        (Some(Coding::Others | Coding::ChunkedNotLast), _) => Ok(Framing::Eof),
        // The coding below chunked would be lost on the way to the client.
        (Some(Coding::OthersThenChunked), _) => Err(HeadError::UnknownCoding),
        (Some(Coding::Broken), _) => Err(HeadError::BadCoding),
        (None, Some(length)) => Ok(Framing::Exact(length)),
        (None, None) => Ok(Framing::Eof),
    }
}

#[cfg(test)]
mod tests;
