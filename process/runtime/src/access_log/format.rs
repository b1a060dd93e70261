//! Lines of the access log: JSON and the combined format, safe whatever a request holds.

use super::{AccessRecord, VALUE_BYTES_MAX};
use crate::operator_log::{civil, is_treacherous};
use std::io::Write as _;

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// One JSON object and a line end. Keys whose value is not known are left out.
pub(super) fn json(record: &AccessRecord<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"time\":\"");
    rfc3339(record.time_unix_ms, out);
    // Formatting an address into a vector cannot fail.
    let _ = write!(out, "\",\"client\":\"{}\"", record.client);
    text(out, "method", record.method);
    text(out, "scheme", record.scheme.as_bytes());
    text(out, "host", record.host);
    text(out, "target", record.target);
    text(out, "protocol", record.protocol.as_bytes());
    number(out, "status", u64::from(record.status));
    number(out, "bytes_out", record.bytes_out);
    number(out, "bytes_in", record.bytes_in);
    number(out, "duration_us", record.duration_us);
    if let Some(us) = record.upstream_us {
        number(out, "upstream_us", us);
    }
    text(out, "listener", record.listener.as_bytes());
    let names = [
        ("load_balancer", record.load_balancer.map(str::as_bytes)),
        ("pool", record.pool.map(str::as_bytes)),
        ("origin", record.origin.map(str::as_bytes)),
        ("referer", record.referer),
        ("user_agent", record.user_agent),
        ("tls_version", record.tls_version.map(str::as_bytes)),
        ("tls_cipher", record.tls_cipher.map(str::as_bytes)),
        ("reason", record.reason.map(str::as_bytes)),
        ("fault", record.fault.map(str::as_bytes)),
    ];
    for (key, value) in names {
        if let Some(value) = value {
            text(out, key, value);
        }
    }
    number(out, "retries", u64::from(record.retries));
    out.extend_from_slice(b"}\n");
}

/// The combined format of Apache and nginx, and a line end.
pub(super) fn combined(record: &AccessRecord<'_>, out: &mut Vec<u8>) {
    let _ = write!(out, "{} - - [", record.client);
    common_time(record.time_unix_ms, out);
    out.extend_from_slice(b"] \"");
    escape_hex(record.method, out);
    out.push(b' ');
    escape_hex(record.target, out);
    out.push(b' ');
    escape_hex(record.protocol.as_bytes(), out);
    out.extend_from_slice(b"\" ");
    decimal(u64::from(record.status), out);
    out.push(b' ');
    decimal(record.bytes_out, out);
    for field in [record.referer, record.user_agent] {
        out.extend_from_slice(b" \"");
        escape_hex(field.filter(|f| !f.is_empty()).unwrap_or(b"-"), out);
        out.push(b'"');
    }
    out.push(b'\n');
}

fn number(out: &mut Vec<u8>, key: &str, value: u64) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(b"\":");
    decimal(value, out);
}

fn text(out: &mut Vec<u8>, key: &str, value: &[u8]) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(b"\":\"");
    escape_json(value, out);
    out.push(b'"');
}

fn decimal(mut value: u64, out: &mut Vec<u8>) {
    // The longest u64 has 20 digits.
    let mut digits = [0u8; 20];
    let mut start = digits.len();
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + u8::try_from(value % 10).unwrap_or(0);
        value /= 10;
        start -= 1;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(start..).unwrap_or_default());
}

fn padded(value: u64, width: usize, out: &mut Vec<u8>) {
    let _ = write!(out, "{value:0width$}");
}

fn rfc3339(unix_ms: u64, out: &mut Vec<u8>) {
    let seconds = unix_ms / 1000;
    let (year, month, day) = civil(seconds / 86_400);
    for (value, width, after) in [
        (year, 4, b'-'),
        (month, 2, b'-'),
        (day, 2, b'T'),
        (seconds / 3600 % 24, 2, b':'),
        (seconds / 60 % 60, 2, b':'),
        (seconds % 60, 2, b'.'),
        (unix_ms % 1000, 3, b'Z'),
    ] {
        padded(value, width, out);
        out.push(after);
    }
}

fn common_time(unix_ms: u64, out: &mut Vec<u8>) {
    let seconds = unix_ms / 1000;
    let (year, month, day) = civil(seconds / 86_400);
    padded(day, 2, out);
    let month = usize::try_from(month).unwrap_or(0).saturating_sub(1);
    let _ = write!(out, "/{}/{year}:", MONTHS.get(month).copied().unwrap_or("???"));
    padded(seconds / 3600 % 24, 2, out);
    out.push(b':');
    padded(seconds / 60 % 60, 2, out);
    out.push(b':');
    padded(seconds % 60, 2, out);
    out.extend_from_slice(b" +0000");
}

/// Whether a byte stands for itself in both formats.
fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\'
}

/// JSON text of bytes: controls and characters that steer a terminal as `\u….`, bytes that are no
/// UTF-8 as U+FFFD.
fn escape_json(value: &[u8], out: &mut Vec<u8>) {
    let value = value.get(..VALUE_BYTES_MAX).unwrap_or(value);
    if value.iter().all(|byte| is_plain(*byte)) {
        return out.extend_from_slice(value);
    }
    for chunk in value.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' => out.extend_from_slice(b"\\\""),
                '\\' => out.extend_from_slice(b"\\\\"),
                c if is_treacherous(c) => {
                    let _ = write!(out, "\\u{:04x}", u32::from(c));
                }
                c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        if !chunk.invalid().is_empty() {
            out.extend_from_slice(b"\\ufffd");
        }
    }
}

/// Printable ASCII as it is, every other byte, quote and backslash as `\xHH`.
fn escape_hex(value: &[u8], out: &mut Vec<u8>) {
    let value = value.get(..VALUE_BYTES_MAX).unwrap_or(value);
    for byte in value {
        if is_plain(*byte) {
            out.push(*byte);
        } else {
            let _ = write!(out, "\\x{byte:02X}");
        }
    }
}
