//! Which origin gets a request: weights, hash, least outstanding, passive ejection, DNS names.

use super::{Edge, Weir, after_request, origin};
use crate::support::client::Client;
use crate::support::dns::Dns;
use crate::support::edge::origin_with;
use crate::support::files::free_port;
use crate::support::upstream::{Conn, Upstream};
use crate::support::wait::{self, SOON};
use std::collections::BTreeSet;
use std::net::Ipv4Addr;

/// An origin that answers with its name.
fn named(name: &'static str) -> Upstream {
    named_at(Ipv4Addr::LOCALHOST, free_port(), name)
}

fn named_at(address: Ipv4Addr, port: u16, name: &'static str) -> Upstream {
    Upstream::start_on((address, port).into(), move |conn: &mut Conn| {
        while conn.request().is_some() {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", name.len());
            if !conn.write(format!("{head}{name}")) {
                return;
            }
        }
    })
}

fn weighted(name: &str, port: u16, weight: &str) -> String {
    origin_with(name, "127.0.0.1", port, &format!("weight = {weight}"))
}

#[test]
fn random_follows_the_weights() {
    let (light, heavy, none) = (named("light"), named("heavy"), named("none"));
    let origins = [
        weighted("o1", light.port(), "0.2"),
        weighted("o2", heavy.port(), "0.8"),
        weighted("o3", none.port(), "0"),
    ];
    let weir = Weir::start(Edge::simple(1).pool("p", "", &origins));
    let mut client = weir.client();
    let count = 1000;
    let to_light =
        (0..count).filter(|_| client.get("/").expect("a reply").text() == "light").count();
    // Five standard deviations of 1000 draws at 0.2.
    assert!((137..=263).contains(&to_light), "{to_light} of {count} at weight 0.2");
    assert_eq!(none.count(), 0, "an origin of weight 0 gets nothing");
}

#[test]
fn hash_keeps_a_client_at_its_origin() {
    let origins: Vec<Upstream> = ["a", "b", "c"].into_iter().map(named).collect();
    let lines: Vec<String> = origins
        .iter()
        .enumerate()
        .map(|(n, upstream)| origin(&format!("o{n}"), upstream.port()))
        .collect();
    let pool = "origin_steering = { policy = \"hash\" }";
    let weir = Weir::start(Edge::simple(1).workers(2).pool("p", pool, &lines));
    let mut used = BTreeSet::new();
    for source in 2..34 {
        let mut seen = BTreeSet::new();
        for _ in 0..4 {
            let source = Ipv4Addr::new(127, 0, 0, source);
            let mut client = Client::connect_from(source, weir.web()).expect("accepted");
            seen.insert(client.get("/").expect("a reply").text());
        }
        assert_eq!(seen.len(), 1, "one client, several origins: {seen:?}");
        used.extend(seen);
    }
    assert_eq!(used.len(), 3, "32 clients are spread over all origins: {used:?}");
}

#[test]
fn least_outstanding_avoids_the_busy_one() {
    let busy = Upstream::start(|conn: &mut Conn| {
        if conn.request().is_some() {
            conn.drain();
        }
    });
    let idle = Upstream::tagged();
    let pool = "origin_steering = { policy = \"least_outstanding_requests\" }";
    let origins = [origin("o1", busy.port()), origin("o2", idle.port())];
    let weir = Weir::start(Edge::simple(1).pool("p", pool, &origins));
    let mut held = Vec::new();
    wait::until("the busy one has a request", SOON, || {
        let mut client = weir.client();
        client.send("GET /a HTTP/1.1\r\nHost: a\r\n\r\n").expect("it is sent");
        let answered = client.reply_within("GET", std::time::Duration::from_millis(300)).is_ok();
        held.push(client);
        !answered
    });
    for _ in 0..20 {
        assert_eq!(weir.get("/b").map(|r| r.status), Ok(200));
    }
    assert_eq!(busy.count(), 1, "a busy origin got further requests");
}

#[test]
fn failures_in_a_row_eject() {
    let (good, bad) = (Upstream::tagged(), after_request(|_| {}));
    let pool = "outlier_ejection = { consecutive_failures = 3, base_time = \"60s\" }\n\
        retries = { budget_min = 1000 }";
    let origins = [origin("o1", good.port()), origin("o2", bad.port())];
    let weir = Weir::start(Edge::simple(1).pool("p", pool, &origins));
    for n in 0..60 {
        assert_eq!(weir.get(&format!("/{n}")).map(|r| r.status), Ok(200), "GET {n}");
    }
    assert_eq!(bad.count(), 3, "after three failures it is left alone");
    assert!(weir.metric("weir_origin_ejected", &[]) >= 1.0, "the ejection is seen");
}

#[test]
fn a_name_that_moves_is_followed() {
    let dns = Dns::start();
    let port = free_port();
    let old = named_at(Ipv4Addr::LOCALHOST, port, "old");
    let new = named_at(Ipv4Addr::new(127, 0, 0, 2), port, "new");
    dns.set("moving.test", &[Ipv4Addr::LOCALHOST]);
    let edge = Edge::simple(1)
        .runtime(&format!("dns_servers = [\"{}\"]\ndns_max_ttl = \"1s\"", dns.address))
        .pool("p", "", &[origin_with("o1", "moving.test", port, "")]);
    let weir = Weir::start(edge);
    let mut client = weir.client();
    let mut who = || client.get("/").map(|reply| reply.text()).unwrap_or_else(|e| e);
    wait::until("the name is resolved", SOON, || who() == "old");
    dns.set("moving.test", &[Ipv4Addr::new(127, 0, 0, 2)]);
    // Every request meanwhile is answered by one or the other.
    wait::until("the new address is used", SOON, || match who().as_str() {
        "old" => false,
        "new" => true,
        other => panic!("a request failed while the name moved: {other}"),
    });
    for _ in 0..20 {
        assert_eq!(who(), "new", "the old address was used again");
    }
    assert!(dns.asked() > 0);
    drop((old, new));
}

#[test]
fn every_address_of_a_name_is_used() {
    let dns = Dns::start();
    let port = free_port();
    let dead = Ipv4Addr::new(127, 0, 0, 3);
    let live = named_at(Ipv4Addr::new(127, 0, 0, 4), port, "live");
    dns.set("two.test", &[dead, Ipv4Addr::new(127, 0, 0, 4)]);
    let pool = "outlier_ejection = { consecutive_failures = 0 }\nretries = { budget_min = 1000 }";
    let edge = Edge::simple(1).runtime(&format!("dns_servers = [\"{}\"]", dns.address)).pool(
        "p",
        pool,
        &[origin_with("o1", "two.test", port, "")],
    );
    let weir = Weir::start(edge);
    wait::until("the name is resolved", SOON, || weir.get("/").is_ok_and(|r| r.status == 200));
    for n in 0..20 {
        assert_eq!(weir.get("/").map(|r| r.text()), Ok("live".into()), "request {n}");
    }
    drop(live);
}

#[test]
fn an_unknown_name_is_told() {
    let dns = Dns::start();
    let edge = Edge::simple(1).runtime(&format!("dns_servers = [\"{}\"]", dns.address)).pool(
        "p",
        "",
        &[origin_with("o1", "nowhere.test", 9, "")],
    );
    let weir = Weir::start(edge);
    super::failed(&weir.get("/"), 502, "dns_error");
}
