//! Where a control plane listens for edges: `https://HOST:PORT`.

use rustls_pki_types::ServerName;
use std::fmt;
use std::str::FromStr;

/// The port where none is written: what `[edges] address` of a control plane has by default.
const PORT_DEFAULT: u16 = 8781;

/// The listener for edges of one control plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlaneUrl {
    host: String,
    port: u16,
}

/// Why a text is no such place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not where a control plane listens for edges: it is https://HOST:PORT")]
pub struct UrlError;

impl PlaneUrl {
    /// Name or address, without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What its certificate must be for.
    ///
    /// # Errors
    /// None, once it was read from a text.
    pub fn server_name(&self) -> Result<ServerName<'static>, UrlError> {
        ServerName::try_from(self.host.clone()).map_err(|_| UrlError)
    }
}

impl FromStr for PlaneUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let rest = text.strip_prefix("https://").ok_or(UrlError)?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = match rest.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest.split_once(']').ok_or(UrlError)?;
                host.parse::<std::net::Ipv6Addr>().map_err(|_| UrlError)?;
                match port {
                    "" => (host, None),
                    port => (host, Some(port.strip_prefix(':').ok_or(UrlError)?)),
                }
            }
            None => match rest.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (rest, None),
            },
        };
        let port = match port {
            None => PORT_DEFAULT,
            Some(port) if port.bytes().all(|b| b.is_ascii_digit()) => {
                port.parse().ok().filter(|port| *port != 0).ok_or(UrlError)?
            }
            Some(_) => return Err(UrlError),
        };
        let url = Self { host: host.to_owned(), port };
        url.server_name()?;
        Ok(url)
    }
}

impl fmt::Display for PlaneUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "https://[{}]:{}", self.host, self.port),
            false => write!(f, "https://{}:{}", self.host, self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_https_with_a_host_and_maybe_a_port() {
        for (text, expect) in [
            ("https://plane.example:8781", Some("https://plane.example:8781")),
            ("https://plane.example", Some("https://plane.example:8781")),
            ("https://127.0.0.1:1/", Some("https://127.0.0.1:1")),
            ("https://[::1]:9", Some("https://[::1]:9")),
            ("https://[::1]", Some("https://[::1]:8781")),
            ("http://plane.example:8781", None),
            ("plane.example:8781", None),
            ("https://", None),
            ("https://a:0", None),
            ("https://a:+1", None),
            ("https://a:70000", None),
            ("https://a/path", None),
            ("https://user@a", None),
            ("https://[::1]9", None),
            ("https://[a]:9", None),
        ] {
            let url = text.parse::<PlaneUrl>().ok().map(|url| url.to_string());
            assert_eq!(url.as_deref(), expect, "{text}");
        }
    }
}
