//! Retries: only where the request cannot have been acted upon twice (RFC 9110 §9.2.2).

use super::{Edge, Weir, after_request, failed, origin};
use crate::support::files::free_port;
use crate::support::upstream::{Conn, Upstream};
use crate::support::wait::SOON;

/// Enough requests that each of two origins chosen at random gets some.
const MANY: usize = 40;

/// No ejection, and a budget that never ends.
const POOL: &str = "outlier_ejection = { consecutive_failures = 0 }\n\
    retries = { attempts = 2, budget_percent = 100, budget_min = 1000 }";

fn two(first: u16, second: u16) -> Weir {
    let origins = [origin("o1", first), origin("o2", second)];
    Weir::start(Edge::simple(first).pool("p", POOL, &origins))
}

fn post(weir: &Weir, target: &str) -> u16 {
    let mut client = weir.client();
    let request = format!("POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
    client.send(request).expect("it is sent");
    client.reply_within("POST", SOON).map_or(0, |reply| reply.status)
}

#[test]
fn a_refused_connection_is_retried_for_any_method() {
    let good = Upstream::tagged();
    let weir = two(free_port(), good.port());
    for n in 0..MANY {
        assert_eq!(weir.get(&format!("/{n}")).map(|r| r.status), Ok(200), "GET {n}");
        assert_eq!(post(&weir, &format!("/{n}")), 200, "POST {n}");
    }
    assert_eq!(good.take().requests.len(), 2 * MANY);
    assert!(weir.metric("weir_retries_total", &[]) >= 1.0, "retries are counted");
}

#[test]
fn a_get_is_retried_and_a_post_is_not() {
    let (good, bad) = (Upstream::tagged(), after_request(|_| {}));
    let weir = two(bad.port(), good.port());
    for n in 0..MANY {
        assert_eq!(weir.get(&format!("/{n}")).map(|r| r.status), Ok(200), "GET {n}");
    }
    assert!(bad.count() > 0, "the failing origin was tried");
    good.take();
    bad.take();
    let mut refused = 0;
    for n in 0..MANY {
        match post(&weir, &format!("/{n}")) {
            200 => {}
            502 => refused += 1,
            status => panic!("POST {n}: {status}"),
        }
    }
    let (to_good, to_bad) = (good.take().requests.len(), bad.take().requests.len());
    assert_eq!(to_good + to_bad, MANY, "each POST went to one origin, once");
    assert_eq!((refused, to_good), (to_bad, MANY - to_bad));
    assert!(to_bad > 0, "the failing origin was tried");
}

#[test]
fn a_put_with_a_small_body_is_replayed_whole() {
    let (good, bad) = (Upstream::tagged(), after_request(|conn| conn.reset()));
    let weir = two(bad.port(), good.port());
    for n in 0..MANY {
        let mut client = weir.client();
        let body = "b".repeat(1000);
        let head = format!("PUT /{n} HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n{body}");
        client.send(head).expect("it is sent");
        let reply = client.reply("PUT");
        assert!([200, 502].contains(&reply.status), "PUT {n}: {reply:?}");
        if reply.status == 200 {
            assert_eq!(reply.text(), format!("PUT /{n} 1000"));
        }
    }
    assert!(good.take().requests.iter().all(|r| r.body == "b".repeat(1000).as_bytes()));
}

#[test]
fn nothing_is_retried_after_a_byte_of_the_reply() {
    let partial = || {
        after_request(|conn| {
            conn.write("HTTP/1.1 200 OK\r\nContent-");
        })
    };
    let (one, other) = (partial(), partial());
    let weir = two(one.port(), other.port());
    for _ in 0..10 {
        failed(&weir.get("/a"), 502, "connection_terminated");
    }
    assert_eq!(one.count() + other.count(), 10, "each request was sent once");
}

#[test]
fn attempts_end() {
    let bad: Vec<Upstream> = (0..4).map(|_| after_request(|_| {})).collect();
    let origins: Vec<String> =
        bad.iter().enumerate().map(|(n, u)| origin(&format!("o{n}"), u.port())).collect();
    let weir = Weir::start(Edge::simple(1).pool("p", POOL, &origins));
    failed(&weir.get("/a"), 502, "connection_terminated");
    let tries: Vec<usize> = bad.iter().map(Upstream::count).collect();
    assert_eq!(tries.iter().sum::<usize>(), 3, "one try and two further ones: {tries:?}");
    assert!(tries.iter().all(|&n| n <= 1), "never the same origin twice: {tries:?}");
}

#[test]
fn killed_with_requests_in_flight() {
    let good = Upstream::tagged();
    let port = free_port();
    let dying = Upstream::start_at(port, |conn: &mut Conn| {
        while let Some(request) = conn.request() {
            if request.target.starts_with("/wait") {
                conn.drain();
                return;
            }
            conn.answer(&request);
        }
    });
    let weir = two(port, good.port());
    let send = |line: &str| {
        let mut client = weir.client();
        client.send(line).expect("it is sent");
        client
    };
    let mut gets: Vec<_> =
        (0..MANY).map(|n| send(&format!("GET /wait{n} HTTP/1.1\r\nHost: a\r\n\r\n"))).collect();
    let lengthy = "HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi";
    let mut posts: Vec<_> = (0..MANY).map(|n| send(&format!("POST /wait{n} {lengthy}"))).collect();
    crate::support::wait::until("all are in flight", SOON, || {
        dying.count() + good.count() == 2 * MANY
    });
    let at_risk = dying.take().requests.iter().filter(|r| r.method == "POST").count();
    dying.kill();
    for (n, client) in gets.iter_mut().enumerate() {
        assert_eq!(client.reply("GET").text(), format!("GET /wait{n} 0"), "a GET is moved");
    }
    let statuses: Vec<u16> = posts.iter_mut().map(|client| client.reply("POST").status).collect();
    let lost = statuses.iter().filter(|&&s| s == 502).count();
    assert_eq!(lost, at_risk, "POSTs at the killed origin fail, and are not repeated");
    assert_eq!(statuses.iter().filter(|&&s| s == 200).count(), MANY - at_risk);
    assert_eq!(good.count(), MANY + (MANY - at_risk), "no POST was sent twice");
}

#[test]
fn a_stale_idle_connection_fails_no_request() {
    // The origin closes after each reply without saying so.
    let upstream = Upstream::start(|conn: &mut Conn| {
        if let Some(request) = conn.request() {
            conn.answer(&request);
        }
    });
    let weir = super::before(&upstream, "");
    for n in 0..100 {
        assert_eq!(weir.get(&format!("/{n}")).map(|r| r.status), Ok(200), "GET {n}");
    }
}
