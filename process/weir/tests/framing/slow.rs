//! Row 35: clients that hold a connection by being slow.

use super::rig::{Rig, by_request};
use crate::support::client::{Client, End};
use crate::support::edge::Edge;
use crate::support::process::Weir;
use crate::support::siege::{Bounds, H1_CONNECTION_BLOCKS, Siege};
use crate::support::upstream::Upstream;
use crate::support::wait::{self, SOON};
use std::time::{Duration, Instant};

/// Time limits short enough for a test; the body rate has a grace of 5 s.
const SHORT: &str = "\
    timeouts = { first_byte = \"5s\", head = \"1s\", body_idle = \"2s\", keepalive = \"2s\" }
    limits = { body_min_rate = 64 }";

/// Between two looks at what a slow reader costs.
const LOOK: Duration = Duration::from_millis(100);
/// Clients that stop within their heads, all at once.
const CROWD: usize = 200;

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
    let siege = Siege::begin(&rig.weir, "slow heads and bodies of HTTP/1.1");
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
        siege.buffers(3);
    }
    assert_eq!(silent_head.join().expect("it ends"), Ok(408));
    let took = head.join().expect("it ends");
    assert!(took < Duration::from_secs(4), "a head at 10 bytes/s held on for {took:?}");
    let took = body.join().expect("it ends");
    assert!(took < Duration::from_secs(12), "a body at 4 bytes/s held on for {took:?}");
    assert!(took > Duration::from_secs(4), "the grace of 5 s was not given: {took:?}");
    // 50 good ones on a connection each, and the head of the one whose body is slow.
    siege.finish(Bounds {
        connections: 3,
        cpu: Duration::from_secs(3),
        frames: 0,
        requests: 51,
        blocks: 53 * H1_CONNECTION_BLOCKS,
    });
    let taken = rig.taken("slow ones");
    let good = |target: &str| target.starts_with("/good") || target.starts_with("/fence");
    assert!(taken.requests.iter().all(|r| good(&r.target)), "I4: {:?}", taken.lines());
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
    let siege = Siege::begin(&rig.weir, "slow reader of HTTP/1.1");
    let mut client = rig.weir.client();
    socket2::SockRef::from(client.raw()).set_recv_buffer_size(2048).expect("it can be set");
    client.send("GET /big HTTP/1.1\r\nHost: a\r\n\r\n").expect("it is sent");
    client.exact(1);
    // The client takes next to nothing; the connection to the origin must be let go all the same.
    let start = Instant::now();
    let logs = rig.upstream.logs();
    let log = logs.iter().find(|log| String::from_utf8_lossy(&log.bytes()).contains("/big"));
    let log = log.expect("the origin got the request").clone();
    while !wait::holds(LOOK, || log.closed()) {
        assert!(start.elapsed() < Duration::from_secs(20), "the slow reader is kept");
        siege.memory(1);
        siege.buffers(1);
    }
    assert!(start.elapsed() > Duration::from_millis(500), "dropped before it was slow");
    siege.finish(Bounds {
        connections: 1,
        cpu: Duration::from_secs(3),
        frames: 0,
        requests: 1,
        blocks: H1_CONNECTION_BLOCKS,
    });
    rig.count();
    rig.finish();
}

#[test]
fn row_35_a_crowd_within_its_heads() {
    let upstream = Upstream::tagged();
    let lines = "timeouts = { first_byte = \"30s\", head = \"5s\" }";
    let weir = Weir::start(Edge::simple(upstream.port()).listener("web", lines));
    let siege = Siege::begin(&weir, "a crowd within its heads");
    let crowd: Vec<Client> = (0..CROWD)
        .map(|_| {
            let mut client = weir.client();
            client.send("GET /slow HTTP/1.1\r\nHost: a\r\nX: ").expect("it is sent");
            client
        })
        .collect();
    // What has come of a head lies in a buffer until its end.
    weir.metric_reaches("weir_buffers_lent", &[], CROWD as f64);
    siege.memory(CROWD as u64 / 64);
    siege.buffers(CROWD);
    for mut client in crowd {
        let status = client.reply_within("GET", SOON).map(|reply| reply.status);
        assert_eq!(status, Ok(408));
    }
    siege.finish(Bounds {
        connections: CROWD as u64 / 64,
        cpu: Duration::from_secs(5),
        frames: 0,
        requests: 0,
        blocks: CROWD * H1_CONNECTION_BLOCKS,
    });
    wait::until("every buffer is back", SOON, || weir.metric("weir_buffers_lent", &[]) == 0.0);
    let lines = upstream.take().lines();
    assert!(!lines.iter().any(|line| line.contains("/slow")), "I4: {lines:?}");
}
