//! Row 35: clients that hold a connection by being slow.

use super::rig::{Rig, by_request};
use crate::support::client::{Client, End};
use crate::support::meter;
use crate::support::wait::SOON;
use std::time::{Duration, Instant};

/// Time limits short enough for a test; the body rate has a grace of 5 s.
const SHORT: &str = "\
    timeouts = { first_byte = \"5s\", head = \"1s\", body_idle = \"2s\", keepalive = \"2s\" }
    limits = { body_min_rate = 64 }";

/// Sends a byte each `pace` until the other side says or closes something; gives the time it took.
fn drip(client: &mut Client, bytes: &[u8], pace: Duration, bound: Duration) -> Duration {
    let start = Instant::now();
    for byte in bytes.iter().cycle() {
        if start.elapsed() > bound || client.send([*byte]).is_err() {
            break;
        }
        if client.reply_within("GET", pace).is_ok() {
            break;
        }
        if !client.unread().is_empty()
            || !matches!(client.end(Duration::from_millis(1)), End::Open(_))
        {
            break;
        }
    }
    start.elapsed()
}

#[test]
fn row_35_slow_heads_and_bodies() {
    let script = by_request(|conn, mut request| conn.body(&mut request) && conn.answer(&request));
    let mut rig = Rig::with(35, script, |edge| edge.listener("web", SHORT));
    let before = meter::cpu(rig.weir.pid());
    let web = rig.weir.web();
    let head = std::thread::spawn(move || {
        let mut client = Client::connect(web);
        client.send("GET /a HTTP/1.1\r\nHost: a\r\nX: ").expect("it is sent");
        // Each byte comes well within any time limit between two bytes.
        drip(&mut client, b"a", Duration::from_millis(100), SOON)
    });
    let body = std::thread::spawn(move || {
        let mut client = Client::connect(web);
        client
            .send("POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 10000\r\n\r\n")
            .expect("it is sent");
        drip(&mut client, b"b", Duration::from_millis(250), Duration::from_secs(20))
    });
    let silent_head = std::thread::spawn(move || {
        let mut client = Client::connect(web);
        client.send("GET /a HTTP/1.1\r\n").expect("it is sent");
        client.reply_within("GET", SOON).map(|reply| reply.status)
    });
    // Others are served meanwhile.
    for n in 0..50 {
        let reply = rig.weir.get(&format!("/good{n}")).expect("others are served");
        assert_eq!(reply.text(), format!("GET /good{n} 0"), "I2");
    }
    assert_eq!(silent_head.join().expect("it ends"), Ok(408));
    let took = head.join().expect("it ends");
    assert!(took < Duration::from_secs(4), "a head at 10 bytes/s held on for {took:?}");
    let took = body.join().expect("it ends");
    assert!(took < Duration::from_secs(12), "a body at 4 bytes/s held on for {took:?}");
    assert!(took > Duration::from_secs(4), "the grace of 5 s was not given: {took:?}");
    let taken = rig.taken("slow ones");
    assert!(
        taken.requests.iter().all(|r| r.target.starts_with("/good")),
        "I4: {:?}",
        taken.lines()
    );
    let used = meter::cpu(rig.weir.pid()) - before;
    assert!(used < Duration::from_secs(3), "I3: {used:?} of CPU time");
    for _ in 0..3 {
        rig.count();
    }
    rig.finish();
}

#[test]
fn row_35_slow_reader() {
    const BODY: usize = 64 << 20;
    let script = by_request(|conn, mut request| {
        conn.body(&mut request);
        conn.write(format!("HTTP/1.1 200 OK\r\nContent-Length: {BODY}\r\n\r\n"));
        let piece = vec![b'z'; 64 * 1024];
        (0..BODY / piece.len()).all(|_| conn.write(&piece))
    });
    let mut rig = Rig::with(35, script, |edge| edge.listener("web", SHORT));
    let before = meter::rss_kib(rig.weir.pid());
    let mut client = rig.weir.client();
    socket2::SockRef::from(client.raw()).set_recv_buffer_size(2048).expect("it can be set");
    client.send("GET /big HTTP/1.1\r\nHost: a\r\n\r\n").expect("it is sent");
    client.exact(1);
    // The client takes next to nothing; the connection to the origin must be let go all the same.
    let start = Instant::now();
    let logs = rig.upstream.logs();
    let log = logs.iter().find(|log| String::from_utf8_lossy(&log.bytes()).contains("/big"));
    let log = log.expect("the origin got the request").clone();
    let mut most = 0;
    crate::support::wait::until("the slow reader is dropped", Duration::from_secs(20), || {
        most = most.max(meter::rss_kib(rig.weir.pid()));
        log.closed()
    });
    let grown = most.saturating_sub(before);
    assert!(grown < 16 * 1024, "I3: {grown} KiB for one slow reader");
    assert!(start.elapsed() > Duration::from_millis(500), "dropped before it was slow");
    rig.count();
    rig.finish();
}
