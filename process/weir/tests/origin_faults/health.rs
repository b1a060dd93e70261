//! Monitors: an origin that fails its probes gets no requests, and gets them again when it is well.

use super::{Edge, Weir, origin};
use crate::support::upstream::{Conn, Upstream};
use crate::support::wait;
use bytes::Bytes;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

/// Two intervals of the monitor, with room.
const SEEN: Duration = Duration::from_secs(15);
const MONITOR: &str = "\
    type = \"http\"
    path = \"/health\"
    interval = 2
    timeout = 1
    retries = 0
    expected_codes = \"2xx\"";
const POOL: &str = "monitor = \"m\"\noutlier_ejection = { consecutive_failures = 0 }";

/// An origin with a name, whose `/health` says what the switch says. It answers all the same.
fn named(name: &'static str) -> (Upstream, Arc<AtomicBool>) {
    let well = Arc::new(AtomicBool::new(true));
    let switch = well.clone();
    let upstream = Upstream::start(move |conn: &mut Conn| {
        while let Some(request) = conn.request() {
            let well = switch.load(Ordering::Acquire) || request.target != "/health";
            let status = if well { "200 OK" } else { "500 Sick" };
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", name.len());
            if !conn.write(format!("{head}{name}")) {
                return;
            }
        }
    });
    (upstream, well)
}

/// Who answers; what failed, if none does.
fn who(weir: &Weir) -> String {
    weir.get("/who").map_or_else(|e| e, |reply| reply.text())
}

/// Waits until `name` answers, and then always.
#[track_caller]
fn served_by(weir: &Weir, name: &str) {
    wait::until(&format!("{name} serves"), SEEN, || (0..8).all(|_| who(weir) == name));
}

#[test]
fn failover_to_the_next_pool_and_back() {
    let ((first, well), (second, _)) = (named("first"), named("second"));
    let edge = Edge::new()
        .listener("web", "")
        .monitor("m", MONITOR)
        .pool("p", POOL, &[origin("o1", first.port())])
        .pool("q", POOL, &[origin("o2", second.port())])
        .balance("*", "p,q", "");
    let weir = Weir::start(edge);
    served_by(&weir, "first");
    well.store(false, Ordering::Release);
    served_by(&weir, "second");
    assert!(weir.metric("weir_origin_up", &[("pool", "p")]) < 0.5);
    assert!(weir.metric("weir_origin_up", &[("pool", "q")]) > 0.5);
    well.store(true, Ordering::Release);
    served_by(&weir, "first");
}

/// As [`named`], in HTTP/2 with prior knowledge and nothing else; stops with the sender.
fn named_h2(name: &'static str) -> (u16, Arc<AtomicBool>, oneshot::Sender<()>) {
    let well = Arc::new(AtomicBool::new(true));
    let switch = well.clone();
    let port = crate::support::files::free_port();
    let (stop, stopped) = oneshot::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let tasks = tokio::task::LocalSet::new();
        tasks.block_on(&runtime.expect("a runtime can be built"), async move {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await;
            let listener = listener.expect("the port is free");
            let serving = async {
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::task::spawn_local(serve_h2(stream, name, switch.clone()));
                }
            };
            tokio::select! { () = serving => {}, _ = stopped => {} }
        });
    });
    (port, well, stop)
}

async fn serve_h2(stream: TcpStream, name: &'static str, switch: Arc<AtomicBool>) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let well = switch.load(Ordering::Acquire) || request.uri().path() != "/health";
        let reply = http::Response::builder().status(if well { 200 } else { 500 });
        let reply = reply.body(()).expect("the reply is sound");
        if let Ok(mut body) = respond.send_response(reply, false) {
            // The stream may have been reset, as probes do that need no body.
            drop(body.send_data(Bytes::from_static(name.as_bytes()), true));
        }
    }
}

#[test]
fn a_pool_of_http2_is_probed_in_http2() {
    let ((port, well, _stop), (second, _)) = (named_h2("first"), named("second"));
    let h2 = format!("{POOL}\nprotocols = [\"h2\"]");
    let edge = Edge::new()
        .listener("web", "")
        .monitor("m", MONITOR)
        .pool("p", &h2, &[origin("o1", port)])
        .pool("q", POOL, &[origin("o2", second.port())])
        .balance("*", "p,q", "");
    let weir = Weir::start(edge);
    served_by(&weir, "first");
    assert!(weir.metric("weir_origin_up", &[("pool", "p")]) > 0.5);
    well.store(false, Ordering::Release);
    served_by(&weir, "second");
    assert!(weir.metric("weir_origin_up", &[("pool", "p")]) < 0.5);
    well.store(true, Ordering::Release);
    served_by(&weir, "first");
}

#[test]
fn a_dead_origin_of_a_pool_is_left_alone() {
    let ((good, _), (dead, _)) = (named("good"), named("dead"));
    let origins = [origin("o1", good.port()), origin("o2", dead.port())];
    let edge = Edge::simple(1).monitor("m", MONITOR).pool("p", POOL, &origins);
    let weir = Weir::start(edge);
    wait::until("both serve", SEEN, || who(&weir) == "good");
    wait::until("both serve", SEEN, || who(&weir) == "dead");
    dead.kill();
    served_by(&weir, "good");
}

#[test]
fn minimum_origins_and_the_fallback_pool() {
    let ((one, well_one), (two, _), (last, well_last)) =
        (named("main"), named("main"), named("fallback"));
    // The fallback pool is used whatever its own health.
    well_last.store(false, Ordering::Release);
    let origins = [origin("o1", one.port()), origin("o2", two.port())];
    let edge = Edge::new()
        .listener("web", "")
        .monitor("m", MONITOR)
        .pool("p", &format!("minimum_origins = 2\n{POOL}"), &origins)
        .pool("f", POOL, &[origin("o3", last.port())])
        .balance("*", "p", "fallback_pool = \"f\"");
    let weir = Weir::start(edge);
    served_by(&weir, "main");
    well_one.store(false, Ordering::Release);
    served_by(&weir, "fallback");
    well_one.store(true, Ordering::Release);
    served_by(&weir, "main");
}

#[test]
fn tcp_monitors_and_disabled_origins() {
    let ((good, _), (off, _)) = (named("good"), named("off"));
    let dead = crate::support::files::free_port();
    let lines = "enabled = false";
    let origins = [
        origin("o1", good.port()),
        origin("o2", dead),
        crate::support::edge::origin_with("o3", "127.0.0.1", off.port(), lines),
    ];
    let monitor = "type = \"tcp\"\ninterval = 2\ntimeout = 1\nretries = 0";
    let weir = Weir::start(Edge::simple(1).monitor("m", monitor).pool("p", POOL, &origins));
    served_by(&weir, "good");
    assert!(off.logs().is_empty(), "a disabled origin gets neither requests nor probes");
}
