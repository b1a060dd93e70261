//! A flood of numbered packets through the director, and the count of those that came out. The
//! sender keeps so few on their way that no queue between can overflow: what is missing was lost by
//! the programs.

use crate::world::{TUNNEL_PORT, VIP, World};
use std::collections::BTreeSet;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Packets on their way at most; queues of a pair of interfaces hold 256.
const BURST: u64 = 64;
/// Pause between two bursts: the programs under test get most of a small machine.
const PAUSE: Duration = Duration::from_micros(300);
/// How long the sender waits for one of them before it counts them as lost.
const PATIENCE: Duration = Duration::from_secs(5);
/// Octets of outer IPv4, UDP and GUE that the socket does not see, and of those it does see: GUE
/// without hops, inner IPv4 and UDP.
const INNER: usize = 8 + 20 + 8;

/// What became of a flood.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Packets sent.
    pub(crate) sent: u64,
    /// Different packets that came.
    pub(crate) came: u64,
}

/// A flood that goes on until it is stopped.
pub(crate) struct Flood {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Outcome>,
}

impl Flood {
    pub(crate) fn start(world: &World) -> Self {
        let sender = world.router_socket("192.0.2.254:0");
        let receiver = world.router_socket("0.0.0.0:19523");
        assert_eq!(receiver.local_addr().unwrap().port(), TUNNEL_PORT);
        receiver.set_read_timeout(Some(PATIENCE)).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = thread::spawn(move || run(&sender, &receiver, &told));
        Self { stop, thread }
    }

    pub(crate) fn stop(self) -> Outcome {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

fn run(sender: &UdpSocket, receiver: &UdpSocket, stop: &AtomicBool) -> Outcome {
    let (mut sent, mut lost, mut came) = (0_u64, 0, BTreeSet::new());
    let mut buffer = [0; 256];
    while !stop.load(Ordering::Relaxed) {
        for _ in 0..BURST {
            sender.send_to(&sent.to_be_bytes(), (VIP, 5353)).unwrap();
            sent += 1;
        }
        while came.len() as u64 + lost < sent {
            match receiver.recv(&mut buffer) {
                Ok(len) if len == INNER + 8 => {
                    came.insert(u64::from_be_bytes(buffer[INNER..len].try_into().unwrap()));
                }
                Ok(len) => panic!("a packet of {len} octets came out of the director"),
                Err(_) => lost = sent - came.len() as u64,
            }
        }
        thread::sleep(PAUSE);
    }
    Outcome { sent, came: came.len() as u64 }
}

/// Waits until `check` holds.
pub(crate) fn wait_until(what: &str, mut check: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !check() {
        assert!(Instant::now() < end, "{what} did not happen in a minute");
        thread::sleep(Duration::from_millis(2));
    }
}
