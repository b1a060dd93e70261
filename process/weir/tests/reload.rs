//! Reloads under load: nothing that is open notices a change that does not concern it, and what
//! it concerns is finished and closed in order.

use crate::support::client::{Client, End};
use crate::support::edge::{Edge, origin};
use crate::support::load::{Closing, Load, keep_alive, short, slow_upload, streams};
use crate::support::process::Weir;
use crate::support::tls::{Authority, Pem, VALID};
use crate::support::upstream::{Conn, Upstream};
use crate::support::wait::{self, SOON};
use crate::support::ws::{self, WebSocket};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Reloads of a run; `WEIR_SOAK=1` asks for the long one, of about five minutes.
fn rounds() -> usize {
    if std::env::var_os("WEIR_SOAK").is_some_and(|v| v == "1") { 400 } else { 50 }
}

/// So that no connection ends because it served enough requests.
const ENDLESS: &str = "limits = { requests_per_connection = 1000000000 }";

/// The parts of a configuration that the rounds change.
struct Parts {
    base: Edge,
    first: u16,
    second: u16,
    pems: [Pem; 2],
}

impl Parts {
    /// The configuration of a round: pools, certificate and listeners differ from the last one's.
    fn round(&self, n: usize) -> Edge {
        let pools = [
            vec![origin("o1", self.first)],
            vec![origin("o1", self.first), origin("o2", self.second)],
            vec![origin("o2", self.second)],
        ];
        let certificate = self.base.certificate("c", &self.pems[n % 2]);
        let edge = self.base.clone();
        let edge = edge
            .listener("secure", &format!("{ENDLESS}\ntls = {{ certificates = [{certificate}] }}"))
            .pool("p", "", &pools[n % pools.len()])
            .balance("*", "p", "");
        if n % 2 == 1 { edge.listener("extra", "") } else { edge.without_listener("extra") }
    }
}

/// Where `/later` requests wait.
#[derive(Default)]
struct Gate {
    open: AtomicBool,
    waiting: AtomicUsize,
}

/// Holds `/later` requests at the gate, gives WebSockets echoes and others their tag.
fn script(gate: Arc<Gate>) -> impl Fn(&mut Conn) + Send + Sync {
    move |conn| {
        while let Some(request) = conn.request() {
            if ws::wanted(&request) {
                return ws::serve(conn, &request);
            }
            if request.target == "/later" {
                gate.waiting.fetch_add(1, Ordering::AcqRel);
                wait::until("the gate opens", SOON, || gate.open.load(Ordering::Acquire));
                gate.waiting.fetch_sub(1, Ordering::AcqRel);
            }
            if !conn.answer(&request) {
                return;
            }
        }
    }
}

/// A listener that a reload removes: requests in flight finish with `Connection: close`, queued
/// and idle connections are served or closed without a reset, new ones are refused.
struct Leaving {
    address: SocketAddr,
    in_flight: Vec<Client>,
    idle: Client,
}

impl Leaving {
    fn open(address: SocketAddr) -> Self {
        let request = "GET /later HTTP/1.1\r\nHost: a\r\n\r\n";
        let in_flight = (0..4).map(|_| {
            let mut client = Client::connect(address);
            assert_eq!(client.get("/first").map(|r| r.status), Ok(200));
            client.send(request).expect("it is sent");
            client
        });
        let in_flight = in_flight.collect();
        let mut idle = Client::connect(address);
        assert_eq!(idle.get("/first").map(|r| r.status), Ok(200));
        Self { address, in_flight, idle }
    }

    fn removed(mut self) -> Result<(), String> {
        for mut client in self.in_flight {
            let reply = client.reply_within("GET", SOON).map_err(|e| format!("in flight: {e}"))?;
            if reply.text() != "GET /later 0" || reply.field("connection") != Some("close") {
                return Err(format!("in flight: {reply:?}"));
            }
            match client.end(SOON) {
                End::Closed(rest) if rest.is_empty() => {}
                end => return Err(format!("in flight: {end:?}")),
            }
        }
        match self.idle.end(SOON) {
            End::Closed(rest) if rest.is_empty() => {}
            end => return Err(format!("idle: {end:?}")),
        }
        let refused = wait::holds(SOON, || Client::try_connect(self.address).is_err());
        refused.then_some(()).ok_or_else(|| "new connections are not refused".to_owned())
    }
}

#[test]
fn reloads_under_load_lose_nothing() {
    let gate = Arc::new(Gate::default());
    let (first, second) =
        (Upstream::start(script(gate.clone())), Upstream::start(script(gate.clone())));
    let ca = Authority::new();
    let pems = [ca.issue(&["a.test"], VALID), ca.issue(&["a.test"], VALID)];
    let mut base = Edge::new().workers(2).listener("web", ENDLESS).listener("secure", "");
    if rustix::process::geteuid().is_root() {
        // Reloads happen as the user that the process became.
        base = base.runtime("user = \"nobody\"");
    }
    // The address of the listener that comes and goes stays the same.
    let base = base.listener("extra", "");
    let parts = Parts { base, first: first.port(), second: second.port(), pems };
    let mut weir = Weir::start(parts.round(0));
    let (web, secure) = (weir.web(), weir.address("secure"));
    let extra = parts.base.address("extra").expect("it was given one");

    let load = Load::default();
    let mut sockets: Vec<WebSocket> = (0..4).map(|_| WebSocket::open(web, "/ws")).collect();
    let over_tls = Client::tls(secure, "a.test", ca.client()).expect("TLS works");
    sockets.push(WebSocket::over(over_tls, "/wss"));
    let threads = [
        keep_alive(&load, web, None, "plain", Closing::Never),
        keep_alive(&load, web, None, "other", Closing::Never),
        keep_alive(&load, secure, Some(ca.client()), "tls", Closing::Never),
        streams(&load, web, None, Closing::Never),
        short(&load, web),
        slow_upload(&load, web),
        slow_upload(&load, web),
    ];

    let rounds = rounds();
    let mut leaving = None;
    for n in 1..=rounds {
        weir.reload(parts.round(n));
        let fresh = Client::tls(secure, "a.test", ca.client()).expect("TLS goes on");
        assert_eq!(fresh.leaf(), parts.pems[n % 2].der(), "round {n}: the certificate is changed");
        if n % 2 == 1 {
            wait::until("the added listener serves", SOON, || Client::try_connect(extra).is_ok());
            gate.open.store(false, Ordering::Release);
            let open = Leaving::open(extra);
            let all = open.in_flight.len();
            wait::until("all are in flight", SOON, || gate.waiting.load(Ordering::Acquire) == all);
            leaving = Some(open);
        } else if let Some(leaving) = leaving.take() {
            gate.open.store(true, Ordering::Release);
            leaving.removed().unwrap_or_else(|e| panic!("round {n}: removed listener: {e}"));
        }
        for (s, socket) in sockets.iter_mut().enumerate() {
            let text = format!("round {n} socket {s}");
            assert_eq!(socket.echo(&text), text, "a WebSocket that the change does not concern");
        }
        assert_eq!(load.failures(), Vec::<String>::new(), "round {n}");
        if n % 100 == 0 {
            println!("reload: {n} of {rounds}");
        }
    }
    load.stop.store(true, Ordering::Release);
    let turns: Vec<usize> = threads.into_iter().map(|t| t.join().expect("it ends")).collect();
    assert_eq!(load.failures(), Vec::<String>::new());
    assert!(turns.iter().all(|&n| n > 0), "every kind of traffic ran: {turns:?}");
    let done = load.done.load(Ordering::Relaxed);
    println!("reload: {rounds} reloads, {done} requests, 0 failed, 0 reset; by kind {turns:?}");
}

#[test]
fn an_invalid_file_is_refused_and_the_old_one_serves() {
    let upstream = Upstream::tagged();
    let weir = Weir::start(Edge::simple(upstream.port()));
    let refused = || weir.metric("weir_config_reloads_total", &[("result", "refused")]);
    let good = weir.edge.text();
    for (n, (broken, named)) in [
        (good.replace("workers = 1", "workers = 1\nbogus = 1"), "bogus"),
        (good.replace("workers = 1", "workers = \"one\""), "workers"),
        (good.clone() + "\n[[listener", "weir.toml"),
        (String::new() + &good.replace("[\"p\"]", "[\"nowhere\"]"), "nowhere"),
    ]
    .into_iter()
    .enumerate()
    {
        assert_ne!(broken, good, "the file was broken");
        let mut client = weir.client();
        assert_eq!(client.get("/before").map(|r| r.status), Ok(200));
        let before = refused();
        weir.edge.dir.write("weir.toml", &broken);
        weir.hup();
        assert_eq!(refused() - before, 1.0, "case {n}: counted as refused");
        assert_eq!(client.get("/after").map(|r| r.text()), Ok("GET /after 0".into()), "case {n}");
        wait::until("the log says why", SOON, || weir.stderr().contains(named));
    }
    weir.edge.write();
    weir.hup();
    assert!(weir.metric("weir_config_reloads_total", &[("result", "applied")]) >= 1.0);
}

#[test]
fn live_state_of_unchanged_objects_survives() {
    let (keep, other) = (Upstream::tagged(), Upstream::tagged());
    let edge = Edge::simple(keep.port()).pool("q", "", &[origin("o2", other.port())]).balance(
        "other.test",
        "q",
        "",
    );
    let mut weir = Weir::start(edge.clone());
    assert_eq!(weir.get("/a").map(|r| r.status), Ok(200));
    let requests = |weir: &Weir| weir.metric("weir_origin_requests_total", &[("pool", "p")]);
    let before = requests(&weir);
    assert!(before >= 1.0, "requests are counted by pool");
    weir.reload(edge.pool("q", "slow_start = \"1s\"", &[origin("o2", other.port())]));
    assert_eq!(weir.get("/b").map(|r| r.status), Ok(200));
    assert!(requests(&weir) >= before + 1.0, "counters go on");
    assert_eq!(keep.logs().len(), 1, "the idle connection of an unchanged pool is used on");
}

#[test]
fn drain_timeout_cuts_what_a_removed_listener_has_left() {
    let upstream = Upstream::start(|conn: &mut Conn| match conn.head() {
        Some(request) if ws::wanted(&request) => ws::serve(conn, &request),
        _ => conn.drain(),
    });
    let edge = Edge::simple(upstream.port()).drain("3s").listener("old", "");
    let mut weir = Weir::start(edge.clone());
    let old = weir.address("old");
    let mut stays = WebSocket::open(weir.web(), "/ws");
    let mut goes = WebSocket::open(old, "/ws");
    let mut waits = Client::connect(old);
    waits.send("GET /never HTTP/1.1\r\nHost: a\r\n\r\n").expect("it is sent");
    wait::until("it is in flight", SOON, || upstream.count() >= 3);
    weir.reload(edge.without_listener("old"));
    assert_eq!(goes.echo("time"), "time", "it has its time");
    assert_eq!(waits.reply("GET").status, 503, "an answer that did not come in time");
    assert!(!matches!(goes.0.end(SOON), End::Open(_)), "the tunnel is cut");
    assert_eq!(stays.echo("other"), "other", "of a listener that stays");
}

#[test]
fn sockets_and_connections_follow_the_address_of_a_listener() {
    let upstream = Upstream::tagged();
    let lines = |name: &str| format!("response_headers = {{ set = {{ X-By = \"{name}\" }} }}");
    let edge = Edge::simple(upstream.port());
    let (one, two) = (edge.addresses()[0], Edge::new().listener("x", "").addresses()[0]);
    let named = |first: &str, second: &str| {
        let edge = edge.clone().without_listener("web");
        edge.listener_at(first, one, &lines(first)).listener_at(second, two, &lines(second))
    };
    let mut weir = Weir::start(named("a", "b"));
    let mut open = [Client::connect(one), Client::connect(two)];
    let cases = [("a", "b"), ("b", "a"), ("c", "a")];
    for (n, names) in cases.into_iter().enumerate() {
        if n > 0 {
            weir.reload(named(names.0, names.1));
        }
        let mut fresh = [Client::connect(one), Client::connect(two)];
        for (at, name) in [names.0, names.1].into_iter().enumerate() {
            for client in [&mut open[at], &mut fresh[at]] {
                let reply = client.get("/").expect("no connection is lost");
                assert_eq!((reply.field("x-by"), reply.status), (Some(name), 200), "case {n}");
                assert_eq!(reply.field("connection"), None, "case {n}");
            }
        }
    }
    drop(open);
    wait::until("connections are counted under one name", SOON, || {
        weir.metric("weir_connections_open", &[]) == 0.0
    });
}

#[test]
fn the_admin_listener_reloads_too() {
    let (first, second) = (Upstream::start(named("first")), Upstream::start(named("second")));
    let edge = Edge::simple(first.port());
    let weir = Weir::start(edge.clone());
    assert_eq!(weir.get("/").map(|r| r.text()), Ok("first".into()));
    edge.pool("p", "", &[origin("o1", second.port())]).write();
    let mut client = Client::connect(weir.edge.admin);
    let admin = weir.edge.admin;
    client
        .send(format!("POST /reload HTTP/1.1\r\nHost: {admin}\r\nContent-Length: 0\r\n\r\n"))
        .expect("it is sent");
    assert_eq!(client.reply("POST").status, 403, "a page of others cannot make browsers do it");
    let mut client = Client::connect(admin);
    client
        .send(format!(
            "POST /reload HTTP/1.1\r\nHost: {admin}\r\nX-Weir-Admin: 1\r\n\
             Content-Length: 0\r\n\r\n"
        ))
        .expect("it is sent");
    assert_eq!(client.reply("POST").status, 200);
    wait::until("the second origin serves", SOON, || {
        weir.get("/").is_ok_and(|r| r.text() == "second")
    });
    let status = weir.admin("/status").expect("a status");
    let status: serde_json::Value = serde_json::from_slice(&status.body).expect("it is JSON");
    assert!(status.is_object(), "{status}");
}

fn named(name: &'static str) -> impl Fn(&mut Conn) + Send + Sync {
    move |conn| {
        while conn.request().is_some() {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", name.len());
            if !conn.write(format!("{head}{name}")) {
                return;
            }
        }
    }
}

/// A port below 1024 on which nothing listens.
fn low_port() -> Option<u16> {
    (900..1024).rev().find(|&port| std::net::TcpListener::bind(("127.0.0.1", port)).is_ok())
}

#[test]
fn reloads_after_the_drop_of_privileges() {
    let upstream = Upstream::tagged();
    let edge = Edge::simple(upstream.port());
    if !rustix::process::geteuid().is_root() {
        // Nobody but root may become another user: that is a fault, told before anything starts.
        let file = edge.runtime("user = \"nobody\"").write();
        let mut command = crate::support::process::command();
        let (good, out, err) = crate::support::process::run(command.arg("run").arg(file));
        assert!(!good, "it started as another user");
        assert!(format!("{out}{err}").contains("nobody"), "{out}{err}");
        return;
    }
    let mut weir = Weir::start(edge.clone().runtime("user = \"nobody\""));
    let edge = weir.edge.clone();
    let status = std::fs::read_to_string(format!("/proc/{}/status", weir.pid())).expect("it runs");
    let uids = status.lines().find(|line| line.starts_with("Uid:")).unwrap_or_default();
    assert!(!uids.split_whitespace().any(|word| word == "0"), "still root: {uids}");

    let low = (std::net::Ipv4Addr::LOCALHOST, low_port().expect("a free low port")).into();
    weir.reload(edge.clone().listener_at("low", low, ""));
    let served = || crate::support::client::get(low, "/low").map(|r| r.text());
    assert_eq!(served(), Ok("GET /low 0".into()), "a low port binds after the drop");

    let ca = Authority::new();
    let certificate = edge.certificate("locked", &ca.issue(&["a.test"], VALID));
    let key = edge.dir.path().join("locked.key");
    let closed = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&key, closed).expect("root may");
    let lines = format!("tls = {{ certificates = [{certificate}] }}");
    edge.clone().listener("secret", &lines).write();
    let refused = || weir.metric("weir_config_reloads_total", &[("result", "refused")]);
    let before = refused();
    weir.hup();
    assert_eq!(refused(), before + 1.0, "a key that the service user cannot read");
    wait::until("the log names file and user", SOON, || {
        let log = weir.stderr();
        log.contains("locked.key") && log.contains("nobody")
    });
    assert_eq!(served(), Ok("GET /low 0".into()), "the old configuration serves");
}
