//! The demo's steady stream of requests to itself: clients on threads of their own, paced, each
//! with one request open at most, so that a slow Weir gets fewer requests and not a crowd.

use super::client::{Ask, Connection, Door, Reply};
use super::origins::{self, NAMES, SLOW};
use super::tally::{Second, Tally, say};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Requests per second of all clients.
pub(super) const RATE: u32 = 200;
/// Clients, which is also the most requests that can be open at once.
pub(super) const CLIENTS: u32 = 16;
/// Clients that connect anew for each request; the others keep their connection.
const RECONNECTING: u32 = 4;
/// Further behind its pace a client gives the lost requests up (a suspended machine, a debugger).
const LAG_MAX: Duration = Duration::from_secs(1);
/// A connection idle for longer may be about to be closed by Weir (75 s): it is not used again.
const REUSE_WITHIN: Duration = Duration::from_secs(30);
/// Bytes of an upload: more than one segment on most networks.
const UPLOAD: [u8; 3000] = [b'w'; 3000];

/// A way to make sleeping threads end.
#[derive(Debug, Default)]
struct Gate {
    closed: Mutex<bool>,
    change: Condvar,
}

impl Gate {
    /// Waits until `at`; false at once when the gate closes.
    fn open_until(&self, at: Instant) -> bool {
        let left = at.saturating_duration_since(Instant::now());
        let closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.change.wait_timeout_while(closed, left, |closed| !*closed);
        !*waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn close(&self) {
        *self.closed.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.change.notify_all();
    }
}

/// What the clients do.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// One door per listener.
    pub(super) doors: Vec<Door>,
    /// The method of uploads. With origins that die it must be idempotent: a POST that an origin
    /// may have seen is never sent again (RFC 9110 §9.2.2), so it would fail, and rightly.
    pub(super) upload: &'static str,
}

/// The running clients.
pub(super) struct Load {
    gate: Arc<Gate>,
    tally: Arc<Tally>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    /// Starts the clients, and the line of progress that `line` makes of each second.
    pub(super) fn start(
        plan: &Plan,
        tally: &Arc<Tally>,
        line: impl Fn(&Second) -> String + Send + 'static,
    ) -> io::Result<Self> {
        let gate = Arc::new(Gate::default());
        let mut load = Self { gate: gate.clone(), tally: tally.clone(), threads: Vec::new() };
        let numbers = Arc::new(AtomicU64::new(0));
        for (index, (at, door)) in (0..CLIENTS).zip(plan.doors.iter().enumerate().cycle()) {
            let mut client = Client {
                door: door.clone(),
                at,
                upload: plan.upload,
                keeps: index >= RECONNECTING,
                connection: None,
                numbers: numbers.clone(),
                tally: tally.clone(),
            };
            let gate = gate.clone();
            let thread = std::thread::Builder::new().name(format!("demo-client-{index}"));
            load.threads.push(thread.spawn(move || client.run(index, &gate))?);
        }
        let (gate, tally) = (gate.clone(), tally.clone());
        let thread = std::thread::Builder::new().name("demo-progress".into());
        load.threads.push(thread.spawn(move || progress(&gate, &tally, line))?);
        Ok(load)
    }

    /// Lets open requests finish, and waits for them.
    pub(super) fn finish(self) {
        self.gate.close();
        for thread in self.threads {
            if thread.join().is_err() {
                self.tally.failed("a client of the demo panicked");
            }
        }
    }
}

fn progress(gate: &Gate, tally: &Tally, line: impl Fn(&Second) -> String) {
    let mut next = Instant::now() + Duration::from_secs(1);
    while gate.open_until(next) {
        say(&line(&tally.second()));
        next += Duration::from_secs(1);
    }
}

/// One client.
struct Client {
    door: Door,
    /// The index of the door.
    at: usize,
    upload: &'static str,
    keeps: bool,
    connection: Option<(Connection, Instant)>,
    numbers: Arc<AtomicU64>,
    tally: Arc<Tally>,
}

impl Client {
    fn run(&mut self, index: u32, gate: &Gate) {
        let every = Duration::from_secs(1) * CLIENTS / RATE;
        let mut next = Instant::now() + every * index / CLIENTS;
        while gate.open_until(next) {
            self.request();
            next += every;
            if next.elapsed() > LAG_MAX {
                next = Instant::now();
            }
        }
    }

    /// One request of the mix, counted.
    fn request(&mut self) {
        let n = self.numbers.fetch_add(1, Ordering::Relaxed);
        let upload = Some(UPLOAD.as_slice());
        let (method, target, body) = match n % 20 {
            // Slow ones are what an origin dies with.
            0 | 10 => ("GET", format!("/slow?n={n}"), None),
            5 => ("HEAD", format!("/?n={n}"), None),
            3 | 13 => (self.upload, format!("/upload?n={n}"), upload),
            _ => ("GET", format!("/?n={n}"), None),
        };
        let ask = Ask { method, target: &target, body, fields: "", close: !self.keeps };
        let began = Instant::now();
        let outcome = match self.exchange(ask) {
            Ok(reply) => judge(ask, &reply),
            Err(error) => Err(format!("no reply: {error}")),
        };
        match outcome {
            Ok(origin) => {
                // What was asked for is no latency.
                let asked = if target.starts_with("/slow") { SLOW } else { Duration::ZERO };
                self.tally.completed(self.at, origin, began.elapsed().saturating_sub(asked));
            }
            Err(what) => {
                let scheme = if self.door.tls.is_some() { "https" } else { "http" };
                let Door { address, .. } = self.door;
                self.tally.failed(&format!("{method} {scheme}://{address}{target}: {what}"));
            }
        }
    }

    fn exchange(&mut self, ask: Ask<'_>) -> io::Result<Reply> {
        let kept = self.connection.take().filter(|(_, used)| used.elapsed() < REUSE_WITHIN);
        let mut connection = match kept {
            Some((connection, _)) => connection,
            None => Connection::open(&self.door)?,
        };
        let reply = connection.ask(ask)?;
        if reply.kept {
            self.connection = Some((connection, Instant::now()));
        }
        Ok(reply)
    }
}

/// The index of the origin that made the reply, where it is the right one.
pub(super) fn judge(ask: Ask<'_>, reply: &Reply) -> Result<usize, String> {
    let text = String::from_utf8_lossy(&reply.body);
    if reply.status != 200 {
        return Err(format!("status {}: {}", reply.status, reply.cause));
    }
    let Some(origin) = NAMES.iter().position(|name| *name == reply.origin) else {
        return Err(format!("X-Origin is {:?}", reply.origin));
    };
    let expect = match ask.method {
        "HEAD" => String::new(),
        method => {
            origins::answer(&reply.origin, method, ask.target, ask.body.map_or(0, <[u8]>::len))
        }
    };
    if text != expect { Err(format!("wrong body {text:?}")) } else { Ok(origin) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_reply_counts() {
        let right = |method: &str| Reply {
            status: 200,
            origin: "beta".into(),
            cause: String::new(),
            body: origins::answer("beta", method, "/a?n=1", 0).into_bytes(),
            kept: true,
        };
        let ask = |method| Ask { method, target: "/a?n=1", body: None, fields: "", close: false };
        assert_eq!(judge(ask("GET"), &right("GET")), Ok(1));
        assert_eq!(judge(ask("HEAD"), &Reply { body: Vec::new(), ..right("HEAD") }), Ok(1));
        for (reply, told) in [
            (Reply { status: 502, ..right("GET") }, "status 502"),
            (Reply { origin: "delta".into(), ..right("GET") }, "delta"),
            (Reply { origin: "alpha".into(), ..right("GET") }, "wrong body"),
            (Reply { body: Vec::new(), ..right("GET") }, "wrong body"),
        ] {
            let what = judge(ask("GET"), &reply).unwrap_err();
            assert!(what.contains(told), "{what}");
        }
    }

    #[test]
    fn a_closed_gate_lets_nobody_wait() {
        let gate = Gate::default();
        assert!(gate.open_until(Instant::now()));
        gate.close();
        assert!(!gate.open_until(Instant::now() + Duration::from_secs(3600)));
    }
}
