//! What the admin server answers to which path, and whom it answers at all.

use super::exchange::{Reply, Request};
use super::{RELOAD_TIMEOUT, Reload, Wish, page};
use crate::prometheus;
use crate::status::{Phase, StatusSource};
use std::net::IpAddr;
use std::sync::Arc;

/// What every connection needs.
pub(super) struct Site {
    pub(super) source: Arc<StatusSource>,
    pub(super) reload: Reload,
}

const PATHS: &str = "/ /status /metrics /ready /health /config/generation /packet/shield, and \
                     POST /reload /diff /upgrade";

/// The reply to `request`, which came in at `door` (none for a Unix socket).
pub(super) async fn answer(site: &Site, request: &Request, door: Option<IpAddr>) -> Reply {
    if door.is_some_and(|door| !host_is_here(&request.host, door)) {
        let why = "this server answers to `localhost` and to the address it is reached at, so that \
                   no web page can reach it under a name of its own; use the address\n";
        return Reply::text(421, why);
    }
    let wish = match request.path.as_str() {
        "/reload" => Some(Wish::Reload),
        "/diff" => Some(Wish::Differences),
        "/upgrade" => Some(Wish::Upgrade),
        _ => None,
    };
    match (request.method.as_str(), wish) {
        ("POST", Some(_)) if !request.admin_mark => {
            Reply::text(403, "POST needs the header `X-Weir-Admin: 1`\n")
        }
        ("POST", Some(wish)) => fulfil(site, wish).await,
        ("GET" | "HEAD", None) => get(site, &request.path),
        _ => {
            let allowed = if wish.is_some() { "POST" } else { "GET, HEAD" };
            let mut reply = Reply::text(405, format!("{}: use {allowed}\n", request.path));
            reply.fields = format!("Allow: {allowed}\r\n");
            reply
        }
    }
}

fn get(site: &Site, path: &str) -> Reply {
    let source = &site.source;
    match path {
        "/" => page::reply(),
        "/status" => Reply::json(200, &source.status()),
        "/metrics" => Reply::new(200, prometheus::CONTENT_TYPE, prometheus::encode(source)),
        "/health" => Reply::text(200, "ok\n"),
        "/ready" => match source.phase() {
            Phase::Serving => Reply::text(200, "serving\n"),
            Phase::Starting => Reply::text(503, "starting\n"),
            Phase::Draining => Reply::text(503, "draining\n"),
        },
        "/packet/shield" => match source.shield() {
            Some(Ok(shield)) => Reply::json(200, &shield),
            Some(Err(why)) => Reply::text(503, format!("{why}\n")),
            None => Reply::text(404, "there is no packet path\n"),
        },
        "/config/generation" => {
            let snapshot = source.snapshot();
            let (generation, parent) = (snapshot.generation.0, snapshot.parent.0);
            let value = serde_json::json!({ "generation": generation, "parent": parent });
            Reply::json(200, &value)
        }
        _ => Reply::text(404, format!("there is {PATHS}\n")),
    }
}

async fn fulfil(site: &Site, wish: Wish) -> Reply {
    // A task of its own: neither a client that leaves nor the time limit cuts it in half.
    let task = tokio::spawn((site.reload)(wish));
    match tokio::time::timeout(RELOAD_TIMEOUT, task).await {
        Ok(Ok(outcome)) => {
            let dry = wish == Wish::Differences;
            let fine = outcome.applied || (dry && outcome.faults.is_empty());
            Reply::json(if fine { 200 } else { 422 }, &outcome)
        }
        Ok(Err(_)) => Reply::text(500, "it failed by a bug of Weir; the log tells more\n"),
        Err(_) => Reply::text(504, "it goes on; ask /config/generation\n"),
    }
}

/// Whether a `Host` names this machine by a loopback name, a loopback address or the address the
/// client reached. A page under a name that an attacker lets resolve to 127.0.0.1 sends its own
/// name here, and is refused (DNS rebinding).
#[must_use]
pub fn host_is_here(host: &str, door: IpAddr) -> bool {
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((v6, port)) if port.is_empty() || port_is_valid(port) => v6,
        Some(_) => return false,
        None => match host.split_once(':') {
            Some((name, port)) if port_is_valid(&format!(":{port}")) => name,
            Some(_) => return false,
            None => host,
        },
    };
    match name.parse::<IpAddr>() {
        Ok(ip) => ip.to_canonical().is_loopback() || ip.to_canonical() == door.to_canonical(),
        Err(_) => name.eq_ignore_ascii_case("localhost"),
    }
}

fn port_is_valid(port: &str) -> bool {
    port.strip_prefix(':').is_some_and(|digits| digits.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_answered() {
        let door: IpAddr = "192.0.2.1".parse().unwrap();
        for (host, here) in [
            ("localhost", true),
            ("LOCALHOST:9900", true),
            ("127.0.0.1:9900", true),
            ("127.8.8.8", true),
            ("[::1]:9900", true),
            ("[::ffff:127.0.0.1]", true),
            ("192.0.2.1:80", true),
            ("192.0.2.2:80", false),
            ("attacker.example:9900", false),
            ("localhost.attacker.example", false),
            ("127.0.0.1.attacker.example", false),
            ("localhost:x", false),
            ("[::1", false),
            ("[::1]x", false),
            ("", false),
        ] {
            assert_eq!(host_is_here(host, door), here, "{host}");
        }
    }
}
