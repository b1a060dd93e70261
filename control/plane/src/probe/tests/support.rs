//! Origins that are scripted by a closure, and configurations that probe them.

use crate::probe::{ProbeState, Prober};
use core_model::config::*;
use process_runtime::live::LiveTable;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long a test waits for what must happen.
pub(super) const BOUND: Duration = Duration::from_secs(20);
/// An interval in which no second probe comes within a test.
pub(super) const HOUR: Duration = Duration::from_secs(3_600);
/// A time-out for probes that are meant to run into it.
pub(super) const SHORT: Duration = Duration::from_millis(150);

/// An origin on a loopback port; each connection runs the script in a thread of its own.
pub(super) struct FakeOrigin {
    pub(super) address: SocketAddr,
    connections: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
}

impl FakeOrigin {
    /// The script gets the connection and its number, from 0.
    pub(super) fn new(script: impl Fn(TcpStream, usize) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let (connections, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, stopped, script) = (connections.clone(), stop.clone(), Arc::new(script));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(SeqCst) {
                    return;
                }
                let (script, number) = (script.clone(), count.fetch_add(1, SeqCst));
                let stream = stream.unwrap();
                stream.set_read_timeout(Some(BOUND)).unwrap();
                std::thread::spawn(move || script(stream, number));
            }
        });
        Self { address, connections, stop }
    }

    /// One that reads a request and gives this reply.
    pub(super) fn replying(reply: impl Into<Vec<u8>>) -> Self {
        let reply = reply.into();
        Self::new(move |mut stream, _| {
            read_head(&mut stream);
            let _ = stream.write_all(&reply);
        })
    }

    /// One that keeps the heads it reads and replies 200.
    pub(super) fn recording() -> (Self, Arc<Mutex<Vec<String>>>) {
        let heads = Arc::new(Mutex::new(Vec::new()));
        let kept = heads.clone();
        let origin = Self::new(move |mut stream, _| {
            kept.lock().unwrap().push(read_head(&mut stream));
            let _ = stream.write_all(OK);
        });
        (origin, heads)
    }

    pub(super) fn connections(&self) -> usize {
        self.connections.load(SeqCst)
    }

    pub(super) fn port(&self) -> u16 {
        self.address.port()
    }
}

impl Drop for FakeOrigin {
    fn drop(&mut self) {
        self.stop.store(true, SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

pub(super) const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";

/// Reads until the empty line, or the end.
pub(super) fn read_head(stream: &mut impl Read) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|n| n > 0) {
        head.push(byte[0]);
    }
    String::from_utf8_lossy(&head).into_owned()
}

/// Holds the connection open until the peer closes it.
pub(super) fn hold(mut stream: impl Read) {
    let mut bytes = [0; 1024];
    while stream.read(&mut bytes).is_ok_and(|n| n > 0) {}
}

pub(super) fn monitor(kind: MonitorKind) -> Monitor {
    Monitor {
        name: "m".into(),
        kind,
        method: "GET".to_owned(),
        path: "/health".to_owned(),
        port: None,
        header: Vec::new(),
        interval: HOUR,
        timeout: BOUND,
        retries: 0,
        consecutive_up: 0,
        consecutive_down: 0,
        expected_codes: vec![CodeRange { first: 200, last: 299 }],
        expected_body: String::new(),
        follow_redirects: false,
        allow_insecure: false,
    }
}

pub(super) fn origin(name: &str, port: u16) -> Origin {
    Origin {
        name: name.into(),
        address: OriginAddress::Ip(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        port,
        weight: 100,
        enabled: true,
        host_header: None,
    }
}

pub(super) fn pool(origins: Vec<Origin>) -> Pool {
    let second = Duration::from_secs(1);
    Pool {
        name: "p".into(),
        enabled: true,
        description: String::new(),
        monitor: Some(MonitorId(0)),
        minimum_origins: 1,
        origin_steering: OriginSteering::Random,
        origins,
        tls: None,
        proxy_protocol: None,
        source_address: None,
        keepalive: Keepalive { connections: 1, idle: second, requests: 1 },
        timeouts: UpstreamTimeouts {
            connect: second,
            handshake: second,
            reply: second,
            idle: second,
        },
        retries: Retries { attempts: 0, budget_percent: 20, budget_min: 3 },
        circuit_breakers: Breakers { connections: 1, pending: 1, requests: 1 },
        outlier_ejection: OutlierEjection {
            consecutive_failures: 0,
            base_time: second,
            max_time: second,
            max_percent: 50,
        },
        slow_start: second,
        deny_addresses: Vec::new(),
        protocols: UpstreamProtocols::HTTP1,
    }
}

pub(super) fn config(monitor: Monitor, pools: Vec<Pool>) -> Config {
    Config {
        runtime: Runtime {
            workers: 1,
            user: None,
            group: None,
            drain_timeout: BOUND,
            dns_min_ttl: BOUND,
            dns_max_ttl: BOUND,
            dns_servers: Vec::new(),
        },
        admin: Admin { address: None },
        logging: Logging { level: LogLevel::Info, format: LogFormat::Text, access: None },
        control: None,
        listeners: Vec::new(),
        monitors: list(vec![monitor]),
        pools: list(pools),
        account: Default::default(),
        zones: list(Vec::new()),
        load_balancers: list(Vec::new()),
        packet: None,
        packet_name: None,
    }
}

fn list<T>(objects: Vec<T>) -> List<T> {
    Arc::new(objects.into_iter().map(Arc::new).collect())
}

/// The first pool, to be changed.
pub(super) fn first(config: &mut Config) -> &mut Pool {
    Arc::make_mut(Arc::make_mut(&mut config.pools).first_mut().expect("there is a pool"))
}

pub(super) fn prober() -> (Prober, Arc<LiveTable>) {
    let table = Arc::new(LiveTable::new(1));
    (Prober::new(table.clone()), table)
}

/// The state of the only origin after its first probe.
pub(super) async fn first_result(monitor: Monitor, pool: Pool) -> ProbeState {
    let (mut prober, _table) = prober();
    prober.apply(&config(monitor, vec![pool]));
    assert!(prober.settled(BOUND).await, "no probe ended: {:?}", prober.snapshot());
    prober.snapshot().remove(0)
}

/// Checks what the first probe finds; an empty reason means healthy.
#[track_caller]
pub(super) fn check(says: &str, monitor: Monitor, pool: Pool, reason: &str) -> ProbeState {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let state = runtime.block_on(first_result(monitor, pool));
    let got = state.reason.map_or("", |reason| reason.text());
    assert_eq!(got, reason, "{says}: {state:?}");
    state
}

/// Waits until `holds` of the states.
#[track_caller]
pub(super) fn until(
    prober: &Prober,
    what: &'static str,
    holds: impl Fn(&[ProbeState]) -> bool,
) -> impl Future<Output = Vec<ProbeState>> {
    let (states, begun) = (prober.states(), Instant::now());
    let place = std::panic::Location::caller();
    async move {
        loop {
            let states = states.snapshot();
            if holds(&states) {
                return states;
            }
            assert!(begun.elapsed() < BOUND, "{place}: {what}: {states:?}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}
