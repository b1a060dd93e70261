//! Cuts a request target into its parts and finds its form (RFC 9112 §3.2).

use super::{HeadError, Method, Span, Target, TargetForm};
use crate::bytes;

/// Reads the target from `at` up to the space behind it. Gives the offset of that space.
pub(super) fn read(
    buf: &[u8],
    at: usize,
    end: usize,
    method: Method,
) -> Result<(Target, usize), HeadError> {
    let line = buf.get(..end).unwrap_or(buf);
    let stop = bytes::skip_target(line, at);
    match line.get(stop) {
        Some(b' ') if stop > at => {}
        Some(b' ' | b'\t') => return Err(HeadError::BadSpace),
        Some(_) => return Err(HeadError::BadTargetChar),
        None if stop == at => return Err(HeadError::BadSpace),
        None => return Err(HeadError::MissingVersion),
    }
    Ok((cut(line, at, stop, method)?, stop))
}

fn cut(line: &[u8], at: usize, end: usize, method: Method) -> Result<Target, HeadError> {
    let whole = Span::new(at, end);
    let text = whole.get(line);
    let mut target = Target { whole, ..Target::default() };
    if method == Method::Connect {
        if text.contains(&b'/') || text.contains(&b'?') {
            return Err(HeadError::BadTargetForm);
        }
        target.form = TargetForm::Authority;
        target.authority = whole;
        return Ok(target);
    }
    match text {
        [b'/', ..] => path_and_query(&mut target, text, at),
        b"*" if method == Method::Options => {
            target.form = TargetForm::Asterisk;
            target.path = whole;
        }
        _ => {
            let https = text.get(4).is_some_and(|b| b.eq_ignore_ascii_case(&b's'));
            let scheme: &[u8] = if https { b"https://" } else { b"http://" };
            if !text.get(..scheme.len()).is_some_and(|s| s.eq_ignore_ascii_case(scheme)) {
                return Err(HeadError::BadTargetForm);
            }
            let from = at + scheme.len();
            let rest = text.get(scheme.len()..).unwrap_or_default();
            let len = rest.iter().position(|&b| b == b'/' || b == b'?').unwrap_or(rest.len());
            target.form = TargetForm::Absolute { https };
            target.authority = Span::new(from, from + len);
            path_and_query(&mut target, rest.get(len..).unwrap_or_default(), from + len);
        }
    }
    Ok(target)
}

/// Splits `text`, which stands at `at`, at its first question mark.
fn path_and_query(target: &mut Target, text: &[u8], at: usize) {
    let end = at + text.len();
    match memchr::memchr(b'?', text) {
        Some(mark) => {
            target.path = Span::new(at, at + mark);
            target.query = Some(Span::new(at + mark + 1, end));
        }
        None => target.path = Span::new(at, end),
    }
}
