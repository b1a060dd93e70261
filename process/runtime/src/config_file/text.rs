//! Texts of the file: times, sizes, status codes, hosts, nearest names, `${VARIABLE}`.

use super::schema::Text;
use core_model::config::packet::{
    HashKey, InterfaceName, LinkAddress, PortRange, Range, parse_hex,
};
use core_model::config::{CodeRange, HostPattern};
use core_model::{IpNet, ListenAddress};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Longest name of an object: it stands in each metric and log line of the object.
const NAME_MAX: usize = 64;
/// Longest DNS name (RFC 1035 §2.3.4), without the dots at its end.
const DNS_MAX: usize = 253;
/// Longest label of a DNS name (RFC 1035 §2.3.4).
const LABEL_MAX: usize = 63;
/// Characters of a found value that a fault shows.
const SHOWN_MAX: usize = 60;

/// Fields that describe one connection or the framing of one message (RFC 9110 §7.6.1, §8.6);
/// Weir writes them itself.
pub(crate) const OWN_FIELDS: [&str; 10] = [
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "expect",
];

/// `500ms`, `10s`, `5m`, `1h`, `30d`.
pub(crate) fn parse_time(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let number: u64 = number.parse().ok()?;
    let seconds = match unit {
        "ms" => return Some(Duration::from_millis(number)),
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return None,
    };
    number.checked_mul(seconds).map(Duration::from_secs)
}

/// The shortest way to write a time.
pub(crate) fn show_time(time: Duration) -> String {
    let millis = time.as_millis();
    for (unit, size) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)] {
        if millis.is_multiple_of(size) && (millis > 0 || unit == "s") {
            return format!("{}{unit}", millis / size);
        }
    }
    format!("{millis}ms")
}

const UNITS: [(&str, u64); 4] =
    [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

/// `32KiB`, `10MiB`, `1GiB`, `512B`.
pub(crate) fn parse_size(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let number: u64 = number.parse().ok()?;
    if matches!(unit, "" | "B") {
        return Some(number);
    }
    let (_, size) = UNITS.iter().find(|(name, _)| *name == unit)?;
    number.checked_mul(*size)
}

/// The shortest exact way to write a size.
pub(crate) fn show_size(bytes: u64) -> String {
    let exact = UNITS.iter().find(|(_, size)| bytes > 0 && bytes.is_multiple_of(*size));
    exact.map_or_else(|| bytes.to_string(), |(name, size)| format!("{}{name}", bytes / size))
}

/// A found value as a fault shows it: shortened, without control characters.
pub(crate) fn quote(text: &str) -> String {
    format!("`{}`", shorten(text))
}

/// A text of strangers on one line of bounded length.
pub(crate) fn shorten(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN_MAX).flat_map(char::escape_debug).collect();
    if text.chars().nth(SHOWN_MAX).is_some() {
        shown.push('…');
    }
    shown
}

/// The name nearest to `found`, if one is near enough to be meant.
pub(crate) fn nearest<'n>(found: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let length = found.chars().count();
    if length > NAME_MAX {
        return None;
    }
    let allowed = (length / 3).max(1);
    names
        .filter(|name| name.len().abs_diff(found.len()) <= allowed * 4)
        .map(|name| (distance(&found.to_lowercase(), &name.to_lowercase()), name))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, name)| name)
}

/// Edit distance in which exchanging two neighbours counts once.
fn distance(one: &str, two: &str) -> usize {
    let two: Vec<char> = two.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=two.len()).collect();
    let mut last = None;
    for (row, a) in one.chars().enumerate() {
        let mut line = vec![row + 1];
        for (column, b) in two.iter().enumerate() {
            let at =
                |line: &[usize], column: usize| line.get(column).copied().unwrap_or(usize::MAX);
            let mut best = (at(&above, column) + usize::from(a != *b))
                .min(at(&above, column + 1) + 1)
                .min(at(&line, column) + 1);
            let swapped = column > 0 && last == Some(*b) && two.get(column - 1) == Some(&a);
            if swapped && let Some(diagonal) = before.get(column - 1) {
                best = best.min(diagonal + 1);
            }
            line.push(best);
        }
        last = Some(a);
        before = std::mem::replace(&mut above, line);
    }
    above.last().copied().unwrap_or(0)
}

/// Replaces `${NAME}` and `${NAME:-default}`; `$${` stands for `${`.
pub(crate) fn expand(
    text: &str,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<String, Vec<(String, String)>> {
    let (mut out, mut rest, mut wrong) = (String::new(), text, Vec::new());
    while let Some((before, after)) = rest.split_once("${") {
        if let Some(before) = before.strip_suffix('$') {
            out.push_str(before);
            out.push_str("${");
            rest = after;
            continue;
        }
        out.push_str(before);
        let Some((inside, after)) = after.split_once('}') else {
            let what = "`${` without a closing `}`".to_owned();
            wrong.push((what, "${NAME}, ${NAME:-default}, or $${ for the characters".to_owned()));
            return Err(wrong);
        };
        rest = after;
        let (name, fallback) = match inside.split_once(":-") {
            Some((name, fallback)) => (name, Some(fallback)),
            None => (inside, None),
        };
        let proper = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
            && name.bytes().next().is_some_and(|b| !b.is_ascii_digit());
        if !proper {
            let what = format!("{} is not the name of a variable", quote(name));
            wrong.push((what, "letters, digits and `_`, such as ${PORT}".to_owned()));
            continue;
        }
        match env(name).filter(|value| !value.is_empty()).or(fallback.map(str::to_owned)) {
            Some(value) => out.push_str(&value),
            None => wrong.push((
                format!("the environment variable {name} is not set, or empty"),
                format!("set it, or write ${{{name}:-default}}"),
            )),
        }
    }
    out.push_str(rest);
    if wrong.is_empty() { Ok(out) } else { Err(wrong) }
}

/// Cloudflare's `2xx,304`.
pub(crate) fn parse_codes(text: &str) -> Option<Vec<CodeRange>> {
    if text.trim().is_empty() {
        return Some(Vec::new());
    }
    text.split(',').map(|part| parse_code(part.trim())).collect()
}

fn parse_code(text: &str) -> Option<CodeRange> {
    let (first, tail) = text.split_at_checked(1)?;
    let hundreds = first.parse::<u16>().ok().filter(|digit| (1..=5).contains(digit))? * 100;
    if tail.eq_ignore_ascii_case("xx") {
        return Some(CodeRange { first: hundreds, last: hundreds + 99 });
    }
    let plain = tail.len() == 2 && tail.bytes().all(|byte| byte.is_ascii_digit());
    let code = hundreds + tail.parse::<u16>().ok().filter(|_| plain)?;
    Some(CodeRange { first: code, last: code })
}

/// A host pattern in lower case.
pub(crate) fn parse_host(text: &str) -> Option<HostPattern> {
    let host = text.to_ascii_lowercase();
    if host == "*" {
        return Some(HostPattern::Any);
    }
    if let Some(suffix) = host.strip_prefix("*.") {
        return is_dns(suffix).then(|| HostPattern::Wildcard(suffix.to_owned()));
    }
    let v6 = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    if let Some(v6) = v6 {
        let v6: std::net::Ipv6Addr = v6.parse().ok()?;
        return Some(HostPattern::Exact(format!("[{v6}]")));
    }
    is_dns(&host).then_some(HostPattern::Exact(host))
}

fn is_dns(name: &str) -> bool {
    let label = |label: &str| {
        (1..=LABEL_MAX).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= DNS_MAX && name.split('.').all(label)
}

/// An address of an origin, with or without the brackets of IPv6.
pub(crate) fn parse_ip(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok()
}

/// Whether this is a token (RFC 9110 §5.6.2).
pub(crate) fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

fn is_field_value(text: &str) -> bool {
    text.bytes().all(|b| b == b'\t' || (b >= 0x20 && b != 0x7f)) && text.trim() == text
}

fn is_target(text: &str) -> bool {
    text.starts_with('/') && text.bytes().all(|b| b.is_ascii_graphic() && b != b'#')
}

fn is_url_path(text: &str) -> bool {
    is_target(text)
        && !text.contains('?')
        && !text.split('/').any(|segment| segment == "." || segment == "..")
}

fn is_location(text: &str) -> bool {
    let start = ["/", "http://", "https://"].iter().find(|start| text.starts_with(**start));
    start.is_some_and(|start| *start == "/" || text.len() > start.len())
        && text.bytes().all(|b| b.is_ascii_graphic())
}

/// What would be valid, if `text` is not.
pub(crate) fn fault_of(kind: Text, text: &str) -> Option<&'static str> {
    let name = |max: usize| {
        (1..=max).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
    };
    let right = match kind {
        Text::Free => !text.chars().any(|c| c.is_control() && c != '\n' && c != '\t'),
        Text::Name => name(NAME_MAX),
        Text::Account => name(32) && !text.starts_with('-'),
        Text::Reference(_) => !text.is_empty(),
        Text::Socket => text.parse::<SocketAddr>().is_ok(),
        Text::Listen => text == "none" || text.parse::<ListenAddress>().is_ok(),
        Text::Ip => text.parse::<IpAddr>().is_ok(),
        Text::Net => text.parse::<IpNet>().is_ok(),
        Text::Origin => parse_ip(text).is_some() || is_dns_name(text),
        Text::Host => parse_host(text).is_some(),
        Text::Domain => is_dns(text) && text == text.to_ascii_lowercase(),
        Text::ServerName => parse_ip(text).is_some() || is_dns(text),
        Text::File | Text::Target | Text::Glob => !text.is_empty() && !text.contains('\0'),
        Text::UrlPath => is_url_path(text),
        Text::RequestTarget => is_target(text),
        Text::HeaderName => is_token(text),
        Text::HeaderValue => is_field_value(text),
        Text::Codes => parse_codes(text).is_some(),
        Text::Location => is_location(text),
        Text::Interface => text.parse::<InterfaceName>().is_ok(),
        Text::PinFolder => name(NAME_MAX) && !text.contains('.'),
        Text::HashKey => text.parse::<HashKey>().is_ok(),
        Text::LinkAddress => text.parse::<LinkAddress>().is_ok(),
        Text::Ports | Text::Lengths => text.parse::<PortRange>().is_ok(),
        Text::Ttls => text.parse::<Range<u8>>().is_ok(),
        Text::IpProtocol => parse_ip_protocol(text).is_some(),
        Text::Hex => parse_hex(text).is_some_and(|octets| !octets.is_empty()),
    };
    (!right).then(|| valid_text(kind))
}

/// A DNS name that cannot be taken for an address, such as `10.0.0.256` could.
fn is_dns_name(text: &str) -> bool {
    let last = text.rsplit('.').next().unwrap_or("");
    is_dns(text) && !last.bytes().all(|b| b.is_ascii_digit())
}

/// Protocols that have a name in rules, with their numbers.
const IP_PROTOCOLS: [(&str, u8); 7] =
    [("tcp", 6), ("udp", 17), ("icmp", 1), ("icmpv6", 58), ("gre", 47), ("esp", 50), ("sctp", 132)];

/// A protocol in IP by name or number.
pub(crate) fn parse_ip_protocol(text: &str) -> Option<u8> {
    let named = IP_PROTOCOLS.iter().find(|(name, _)| *name == text).map(|(_, number)| *number);
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    named.or_else(|| text.parse().ok().filter(|_| digits))
}

/// What a text of this kind is.
pub(crate) fn valid_text(kind: Text) -> &'static str {
    match kind {
        Text::Free => "text without control characters",
        Text::Name => "1 to 64 letters, digits, `_`, `-` and `.`",
        Text::Account => "the name of an account, at most 32 letters, digits, `_`, `-` and `.`",
        Text::Reference("monitor") => "the name of a [[monitor]]",
        Text::Reference("listener") => "the name of a [[listener]]",
        Text::Reference(_) => "the name of a [[pool]]",
        Text::Socket => "an address with a port, such as 0.0.0.0:443 or [::]:443",
        Text::Listen => "an address with a port, unix:/path/to.sock, or none",
        Text::Ip => "an IP address",
        Text::Net => "an IP address or prefix, such as 10.0.0.0/8 or ::1",
        Text::Origin => "an IP address or a DNS name; the port stands in `port`",
        Text::Host => {
            "a host such as example.com, *.example.com or *, without port; \
             international names in their xn-- form"
        }
        Text::Domain => "a domain such as example.com in lower case, without `*` and port",
        Text::ServerName => "a DNS name or an IP address",
        Text::File => "a file, relative to the one that names it",
        Text::Target => "stdout, or a file",
        Text::Glob => "a file, or a pattern such as conf.d/*.toml",
        Text::UrlPath => "a path that starts with `/`, without `?`, `#`, spaces and `..`",
        Text::RequestTarget => "a path that starts with `/`, without `#` and spaces",
        Text::HeaderName => "a field name: letters, digits and -!#$%&'*+.^_`|~",
        Text::HeaderValue => "a field value without line ends, control characters and outer spaces",
        Text::Codes => "codes such as 200, 2xx or 2xx,304, or nothing for any",
        Text::Location => "a path that starts with `/`, or an http:// or https:// URL",
        Text::Interface => "the name of a network interface, such as eth0",
        Text::PinFolder => "1 to 64 letters, digits, `_` and `-`",
        Text::HashKey => "32 hexadecimal digits that are not all alike: openssl rand -hex 16",
        Text::LinkAddress => "an Ethernet address of one machine, such as 02:00:5e:10:00:01",
        Text::Ports => "a port or a range of ports, such as 443 or 8000-8999",
        Text::Lengths => "octets 0 to 65535 or a range of them, such as 40 or 1200-1500",
        Text::Ttls => "a time to live 0 to 255 or a range of them, such as 255 or 1-16",
        Text::IpProtocol => "tcp, udp, icmp, icmpv6, gre, esp, sctp, or a number 0 to 255",
        Text::Hex => "hexadecimal digits, two for each octet",
    }
}
