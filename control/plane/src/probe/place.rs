//! Where a request of a probe goes, and where a redirect sends it.

/// Plain text or TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    Http,
    Https,
}

impl Scheme {
    pub(crate) fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// Where one request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) scheme: Scheme,
    /// Value of the Host field.
    pub(crate) authority: String,
    pub(crate) port: u16,
    /// Request target: path and query.
    pub(crate) target: String,
    /// Whether this is the origin itself, found at its own address; another host otherwise.
    pub(crate) own: bool,
}

impl Place {
    /// The host without its port, and without brackets for an IPv6 address.
    pub(crate) fn host(&self) -> &str {
        split_port(&self.authority).0
    }

    /// Where `location` leads from here (RFC 9110 §10.2.2); `None` where it cannot be followed.
    pub(crate) fn follow(&self, location: &str) -> Option<Self> {
        if location.is_empty() || !location.bytes().all(|b| b.is_ascii_graphic()) {
            return None;
        }
        let location = location.split('#').next().unwrap_or(location);
        let lower = location.to_ascii_lowercase();
        let (scheme, rest) = if lower.starts_with("http://") {
            (Scheme::Http, location.get(7..)?)
        } else if lower.starts_with("https://") {
            (Scheme::Https, location.get(8..)?)
        } else if let Some(rest) = location.strip_prefix("//") {
            (self.scheme, rest)
        } else {
            return self.relative(location);
        };
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at_checked(end)?;
        if authority.is_empty() || authority.contains('@') {
            return None;
        }
        let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
        let (host, port) = split_port(authority);
        let own = self.own && host.eq_ignore_ascii_case(self.host());
        let mut port = match port {
            Some(port) => port.parse().ok().filter(|port| *port > 0)?,
            None => scheme.default_port(),
        };
        // An origin behind a proxy names the port that clients see; its own port serves that.
        if own && scheme == self.scheme && port == scheme.default_port() {
            port = self.port;
        }
        Some(Self { scheme, authority: authority.to_owned(), port, target, own })
    }

    fn relative(&self, location: &str) -> Option<Self> {
        let path = self.target.split('?').next().unwrap_or("/");
        let target = if location.starts_with('/') {
            location.to_owned()
        } else if location.starts_with('?') {
            format!("{path}{location}")
        } else {
            let before = location.split(['/', '?']).next().unwrap_or("");
            if before.contains(':') {
                return None;
            }
            let folder = path.rfind('/').and_then(|slash| path.get(..=slash)).unwrap_or("/");
            format!("{folder}{location}")
        };
        Some(Self { target, ..self.clone() })
    }
}

/// Host (brackets removed) and port of `host`, `host:port`, `[v6]` or `[v6]:port`.
fn split_port(authority: &str) -> (&str, Option<&str>) {
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, after) = rest.split_once(']').unwrap_or((rest, ""));
        return (host, after.strip_prefix(':'));
    }
    match authority.rsplit_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From `http://Example.com:8080/a/b?q` at the origin itself.
    #[track_caller]
    fn check(location: &str, expect: &str) {
        let from = Place {
            scheme: Scheme::Http,
            authority: "Example.com".to_owned(),
            port: 8080,
            target: "/a/b?q".to_owned(),
            own: true,
        };
        let got = from.follow(location).map_or_else(String::new, |to| {
            let whose = if to.own { "own" } else { "other" };
            format!("{whose} {:?} {} {} {}", to.scheme, to.authority, to.port, to.target)
        });
        assert_eq!(got, expect, "{location}");
    }

    #[test]
    fn a_redirect_stays_at_the_origin_unless_it_names_another_host() {
        check("/x", "own Http Example.com 8080 /x");
        check("x?y", "own Http Example.com 8080 /a/x?y");
        check("?z", "own Http Example.com 8080 /a/b?z");
        check("/x#part", "own Http Example.com 8080 /x");
        check("http://example.com/x", "own Http example.com 8080 /x");
        check("HTTP://example.com", "own Http example.com 8080 /");
        check("http://example.com:81?x", "own Http example.com:81 81 /?x");
        check("https://example.com/x", "own Https example.com 443 /x");
        check("//example.com/x", "own Http example.com 8080 /x");
        check("http://other.example/x", "other Http other.example 80 /x");
        check("https://[::1]:8443/x", "other Https [::1]:8443 8443 /x");
    }

    #[test]
    fn what_cannot_be_followed_is_not() {
        for location in [
            "",
            "http://",
            "http://a@b/",
            "http://a:0/",
            "http://a:x/",
            "ftp://a/",
            "/a b",
            "mailto:x",
            "/\u{e9}",
            "/\r\nX: y",
        ] {
            check(location, "");
        }
    }

    #[test]
    fn a_host_loses_port_and_brackets() {
        for (authority, expect) in
            [("a.b", "a.b"), ("a.b:80", "a.b"), ("[::1]", "::1"), ("[::1]:80", "::1")]
        {
            assert_eq!(split_port(authority).0, expect);
        }
    }
}
