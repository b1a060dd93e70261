//! The one normalization of paths (RFC 3986 §6.2.2), for everything that compares them: route
//! matching, cache keys, logs of decisions. The path that goes to an origin is the one that came.
//!
//! In this order:
//! 1. `%xx` of an unreserved character (`A-Z a-z 0-9 - . _ ~`) becomes that character; the digits
//!    of other escapes get upper case.
//! 2. Runs of `/` become one, as most origins take them.
//! 3. Segments `.` and `..` are resolved.
//!
//! What origins read in different ways is refused as [`Ambiguous`] instead: an encoded slash or
//! backslash, a backslash, a dot segment with a parameter (`..;x`), a path that climbs above its
//! root, a control character or NUL behind an escape, a `%` without two digits.

use crate::faults::faults;

faults! {
    /// Why a path has more than one reading; a 400 where routes matter.
    Ambiguous {
        EncodedSlash, "encoded_slash", "the path has an encoded slash";
        Backslash, "backslash", "the path has a backslash, plain or encoded";
        DotParameter, "dot_parameter", "a dot segment has a parameter";
        Climbs, "climbs", "dot segments climb above the root";
        BadEscape, "bad_escape", "a percent sign is not followed by two hexadecimal digits";
        EncodedControl, "encoded_control", "the path has an encoded control character";
        NotRooted, "not_rooted", "the path does not start with a slash";
    }
}

/// The normal form of `path` (without its query): `path` itself where it is normal already, else
/// a new one in `scratch`, which is cleared first.
///
/// # Errors
/// Where the path can be read in more than one way.
pub fn normalize<'a>(path: &'a [u8], scratch: &'a mut Vec<u8>) -> Result<&'a [u8], Ambiguous> {
    if path.first() != Some(&b'/') {
        return if path == b"*" { Ok(path) } else { Err(Ambiguous::NotRooted) };
    }
    if is_plain(path) {
        return Ok(path);
    }
    scratch.clear();
    scratch.reserve(path.len());
    let decoded = decode(path)?;
    resolve(&decoded, scratch)?;
    Ok(scratch)
}

/// True where none of the rules can apply: no `%`, `\` or `;`, and no slash before a slash or dot.
fn is_plain(path: &[u8]) -> bool {
    let mut slash = false;
    for &b in path {
        if matches!(b, b'%' | b'\\' | b';') || (slash && matches!(b, b'/' | b'.')) {
            return false;
        }
        slash = b == b'/';
    }
    true
}

/// Undoes escapes of unreserved characters and refuses those that hide structure.
fn decode(path: &[u8]) -> Result<Vec<u8>, Ambiguous> {
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((&b, behind)) = rest.split_first() {
        rest = behind;
        match b {
            b'\\' => return Err(Ambiguous::Backslash),
            b'%' => {
                let ([high, low], behind) =
                    rest.split_first_chunk::<2>().ok_or(Ambiguous::BadEscape)?;
                rest = behind;
                let value = hex(*high)? << 4 | hex(*low)?;
                match value {
                    b'/' => return Err(Ambiguous::EncodedSlash),
                    b'\\' => return Err(Ambiguous::Backslash),
                    0..=0x1f | 0x7f => return Err(Ambiguous::EncodedControl),
                    b'-' | b'.' | b'_' | b'~' => out.push(value),
                    _ if value.is_ascii_alphanumeric() => out.push(value),
                    _ => {
                        let upper = [b'%', high.to_ascii_uppercase(), low.to_ascii_uppercase()];
                        out.extend_from_slice(&upper);
                    }
                }
            }
            _ => out.push(b),
        }
    }
    Ok(out)
}

fn hex(digit: u8) -> Result<u8, Ambiguous> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        b'A'..=b'F' => Ok(digit - b'A' + 10),
        _ => Err(Ambiguous::BadEscape),
    }
}

/// Merges slashes and resolves dot segments into `out`, which always starts with a slash.
fn resolve(path: &[u8], out: &mut Vec<u8>) -> Result<(), Ambiguous> {
    let mut segments = path.split(|&b| b == b'/').skip(1).peekable();
    out.push(b'/');
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        let name = segment.split(|&b| b == b';').next().unwrap_or_default();
        let dots = matches!(name, b"." | b"..");
        if dots && name.len() != segment.len() {
            return Err(Ambiguous::DotParameter);
        }
        if name == b".." {
            // `out` ends with the slash behind the parent, or is the root.
            out.pop();
            let parent = memchr::memrchr(b'/', out).ok_or(Ambiguous::Climbs)?;
            out.truncate(parent + 1);
        } else if !dots && !segment.is_empty() {
            out.extend_from_slice(segment);
            if !last {
                out.push(b'/');
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
