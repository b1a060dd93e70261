//! `weir demo --fleet`: what it shows by itself, a change by Cloudflare's client, and what is left
//! of a fleet whose parts are killed.

use crate::support::client::Client;
use crate::support::files::TempDir;
use crate::support::process::{Guard, alive, command, run, signal, workspace};
use crate::support::wait::{self, SOON};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

/// How long all processes may take to start, or to show all, on a busy machine.
const LONG: Duration = Duration::from_secs(120);
/// Objects that are written while a control plane is killed.
const WRITES: usize = 60;
/// What a control plane answers where another one was faster eight times.
const BUSY: &str = "19003";
/// Where a pool's traffic comes from.
const BLUE: [&str; 2] = ["alpha", "beta"];
const GREEN: [&str; 1] = ["gamma"];

struct Fleet {
    guard: Guard,
    edges: Vec<SocketAddr>,
    admins: Vec<SocketAddr>,
    planes: Vec<SocketAddr>,
    /// What the file of `--env-file` exports; empty where it was not asked for.
    variables: BTreeMap<String, String>,
    _dir: TempDir,
}

/// An address of this machine that no other test uses, so that all its ports are free.
fn address() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let (pid, number) = (std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed) % 250 + 2);
    format!("127.{}.{}.{number}", 100 + pid / 250 % 100, pid % 250 + 2)
}

impl Fleet {
    #[track_caller]
    fn start(words: &[&str], with_file: bool) -> Self {
        let (dir, ip) = (TempDir::new(), address());
        let at = |port: u16| format!("{ip}:{port}").parse().expect("an address");
        let mut command = command();
        command.args(["demo", "--fleet", "--http", &format!("{ip}:8080")]);
        command.args(["--admin", &format!("{ip}:9900"), "--api", &format!("{ip}:8780")]);
        let file = dir.path().join("variables");
        if with_file {
            command.arg("--env-file").arg(&file);
        }
        let mut guard = Guard::start(command.args(words));
        let mut variables = BTreeMap::new();
        if with_file {
            wait::until("the variables are written", LONG, || {
                assert!(guard.ended().is_none(), "it ended: {}", guard.stderr.text());
                file.exists()
            });
            let text = std::fs::read_to_string(&file).expect("readable");
            variables = text.lines().map(variable).collect();
        }
        let edges = (8080..8083).map(at).collect();
        let admins = (9900..9903).map(at).collect();
        let planes = [8780, 8782].map(at).to_vec();
        Self { guard, edges, admins, planes, variables, _dir: dir }
    }

    #[track_caller]
    fn says(&mut self, what: &str) {
        wait::until(&format!("it says {what}"), LONG, || {
            assert!(self.guard.ended().is_none(), "it ended: {}", self.guard.stderr.text());
            self.guard.stdout.text().contains(what)
        });
    }

    /// The process of a part.
    fn pid(&self, name: &str) -> u32 {
        let text = self.guard.stdout.text();
        let line = text.lines().find_map(|line| line.trim().strip_prefix(name));
        let pid = line.and_then(|line| line.trim().strip_prefix("pid ")?.split(' ').next());
        pid.and_then(|pid| pid.parse().ok()).unwrap_or_else(|| panic!("no pid of {name}: {text}"))
    }

    /// The folder of its files.
    fn folder(&self) -> PathBuf {
        let text = self.guard.stdout.text();
        let folder = text.lines().find_map(|line| line.split("logs and state: ").nth(1));
        folder.expect("a folder is told").into()
    }

    /// Waits until each edge sends its requests to these origins alone.
    #[track_caller]
    fn goes_to(&self, origins: &[&str]) {
        for edge in &self.edges {
            let mut last = BTreeSet::new();
            let there = wait::holds(SOON, || {
                last = (0..8).map(|_| asked(*edge)).collect();
                last.iter().all(|origin| origins.contains(&origin.as_str()))
            });
            assert!(there, "{edge} sends requests to {last:?}, not {origins:?} alone");
        }
    }

    /// Runs Cloudflare's client.
    #[track_caller]
    fn switch(&self, pool: &str, word: &str) {
        let python = workspace().join("target/peers/cloudflare/bin/python3");
        assert!(
            python.exists(),
            "`cargo xtask test --group packages` installs Cloudflare's client"
        );
        let script = workspace().join("process/weir/tests/demo/switch.py");
        let mut command = Command::new(python);
        command.envs(&self.variables).arg(script).args([pool, word]);
        let (good, out, err) = run(&mut command);
        assert!(good, "{out}{err}");
    }

    fn pools(&self) -> String {
        format!("/accounts/{}/load_balancers/pools", self.variables["CLOUDFLARE_ACCOUNT_ID"])
    }

    /// Ends it by a signal; gives exit code and last line.
    fn end(&mut self, with: Signal) -> (Option<i32>, String) {
        self.guard.signal(with);
        let code = self.guard.exit(LONG).code();
        wait::until("the output is complete", SOON, || self.guard.stdout.ended());
        let text = self.guard.stdout.text();
        (code, text.lines().next_back().unwrap_or_default().to_owned())
    }
}

fn variable(line: &str) -> (String, String) {
    let pair = line.strip_prefix("export ").and_then(|rest| rest.split_once('='));
    let (name, value) = pair.unwrap_or_else(|| panic!("{line} exports nothing"));
    (name.to_owned(), value.trim_matches('\'').to_owned())
}

/// The origin that answers by an edge, or what was answered instead.
fn asked(edge: SocketAddr) -> String {
    let Ok(mut client) = Client::try_connect(edge) else { return "nobody".to_owned() };
    let head = "GET / HTTP/1.1\r\nHost: www.example.test\r\nConnection: close\r\n\r\n";
    let sent = client.send(head).map_err(|error| error.to_string());
    match sent.and_then(|()| client.reply_within("GET", SOON)) {
        Ok(reply) => match reply.field("x-origin") {
            Some(origin) => origin.to_owned(),
            None => reply.status.to_string(),
        },
        Err(error) => error,
    }
}

#[test]
fn a_fleet_shows_a_change_and_an_outage_without_a_failed_request() {
    let mut fleet = Fleet::start(&[], false);
    fleet.says("That was all that the demo does by itself");
    let text = fleet.guard.stdout.text();
    for told in [
        "export CLOUDFLARE_BASE_URL='http://127.",
        "show: PATCH {\"enabled\":false} switches pool blue off",
        "show: PATCH {\"enabled\":true} switches pool blue on again",
        "is killed: nobody can change anything",
        "was started again",
    ] {
        assert!(text.contains(told), "{told} is not told:\n{text}");
    }
    let (folder, edge) = (fleet.folder(), fleet.pid("edge-2"));
    assert!(folder.exists() && alive(edge));
    let (code, last) = fleet.end(Signal::INT);
    assert!(code == Some(0) && last.ends_with(" requests, 0 failed"), "{code:?} {last}");
    assert!(!folder.exists() && !alive(edge), "something is left");
}

#[test]
fn cloudflares_client_moves_the_traffic_of_all_edges() {
    let mut fleet = Fleet::start(&["--tls"], true);
    assert!(fleet.variables["CLOUDFLARE_BASE_URL"].starts_with("https://127."));
    fleet.goes_to(&BLUE);
    fleet.switch("blue", "off");
    fleet.goes_to(&GREEN);
    fleet.switch("blue", "on");
    fleet.goes_to(&BLUE);
    let (code, last) = fleet.end(Signal::TERM);
    assert!(code == Some(0) && last.ends_with(" requests, 0 failed"), "{code:?} {last}");
}

#[test]
fn edges_serve_without_the_control_plane_and_start_from_disk() {
    let mut fleet = Fleet::start(&["--no-load"], true);
    let (plane, edge, folder) = (fleet.pid("plane-1"), fleet.pid("edge-1"), fleet.folder());
    signal(plane, Signal::KILL);
    fleet.says("plane-1 has ended by signal 9");
    fleet.goes_to(&BLUE);
    signal(edge, Signal::KILL);
    fleet.says("edge-1 has ended by signal 9");
    assert_eq!(asked(fleet.edges[0]), "nobody");
    let file = folder.join("edge-1.toml");
    let again = Guard::start(command().arg("run").arg(&file));
    fleet.goes_to(&BLUE);
    drop(again);
    // All processes end with the demo, even where it is killed.
    let left = ["edge-2", "edge-3"].map(|name| fleet.pid(name));
    fleet.guard.signal(Signal::KILL);
    fleet.guard.exit(SOON);
    wait::until("its processes end", SOON, || left.iter().all(|pid| !alive(*pid)));
    std::fs::remove_dir_all(folder).expect("what a killed demo leaves can be removed");
}

#[test]
fn of_two_control_planes_one_is_killed_and_no_acknowledged_write_is_lost() {
    let mut fleet = Fleet::start(&["--etcd"], true);
    let (killed, pools) = (AtomicBool::new(false), fleet.pools());
    let token = fleet.variables["CLOUDFLARE_API_TOKEN"].clone();
    let plane = fleet.pid("plane-1");
    let urls: Vec<_> = fleet.planes.iter().map(|at| format!("http://{at}/client/v4")).collect();
    let acknowledged: Vec<String> = std::thread::scope(|scope| {
        let write = |url: &String| {
            let (url, pools, token, killed) = (url.clone(), &pools, &token, &killed);
            scope.spawn(move || written(&url, token, pools, killed))
        };
        let writers: Vec<_> = urls.iter().map(write).collect();
        let count = || {
            let list = call("GET", &urls[1], &token, &pools, "").expect("an answer");
            list["result_info"]["total_count"].as_u64().unwrap_or(0)
        };
        wait::until("some objects are written", LONG, || count() > WRITES as u64 / 2);
        killed.store(true, Ordering::SeqCst);
        signal(plane, Signal::KILL);
        writers.into_iter().flat_map(|writer| writer.join().expect("no panic")).collect()
    });
    assert!(acknowledged.len() > WRITES, "{} writes", acknowledged.len());
    let all = format!("{pools}?per_page=1000");
    let list = call("GET", &urls[1], &token, &all, "").expect("an answer");
    let list = list["result"].as_array().expect("a list");
    let there: BTreeSet<_> = list.iter().filter_map(|pool| pool["id"].as_str()).collect();
    for id in &acknowledged {
        assert!(there.contains(id.as_str()), "{id} was acknowledged and is lost");
    }
    for admin in &fleet.admins {
        wait::until("the edge follows the other one", SOON, || {
            let found = metric(*admin, "weir_control_connected");
            found == Some(1) && metric(*admin, "weir_control_stale_seconds").is_some_and(|s| s < 6)
        });
    }
    let blue = list.iter().find(|pool| pool["name"] == "blue").expect("a pool");
    let path = format!("{pools}/{}", blue["id"].as_str().expect("an id"));
    call("PATCH", &urls[1], &token, &path, "{\"enabled\":false}").expect("an answer");
    fleet.goes_to(&GREEN);
    let (code, last) = fleet.end(Signal::INT);
    assert!(code == Some(0) && last.ends_with(" requests, 0 failed"), "{code:?} {last}");
}

/// Makes pools until all are made or the control plane is killed; gives the ids of those that it
/// acknowledged.
fn written(url: &str, token: &str, pools: &str, killed: &AtomicBool) -> Vec<String> {
    let mut ids = Vec::new();
    for at in 0..WRITES {
        let origins = json!([{"name": "o", "address": "127.0.0.9", "port": 9}]);
        let who = url.bytes().map(u64::from).sum::<u64>();
        let body = json!({"name": format!("w-{who}-{at}"), "origins": origins}).to_string();
        match call("POST", url, token, pools, &body) {
            // Both write without a pause: one may be told to try again, and made nothing.
            Some(made) if made["success"] == false => {}
            Some(made) => ids.push(made["result"]["id"].as_str().expect("an id").to_owned()),
            None => {
                assert!(killed.load(Ordering::SeqCst), "a write fails at {url}");
                break;
            }
        }
    }
    ids
}

/// One call; none where nobody answers, or not as a whole.
fn call(method: &str, url: &str, token: &str, path: &str, body: &str) -> Option<Value> {
    let address = url.strip_prefix("http://")?.split('/').next()?.parse().ok()?;
    let mut client = Client::try_connect(address).ok()?;
    let head = format!(
        "{method} /client/v4{path} HTTP/1.1\r\nHost: api\r\nAuthorization: Bearer {token}\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    client.send(head).ok()?;
    let reply = client.reply_within(method, SOON).ok()?;
    let told = reply.text();
    assert!(
        reply.status == 200 || told.contains(BUSY),
        "{method} {path}: {}: {told}",
        reply.status
    );
    serde_json::from_slice(&reply.body).ok()
}

/// The whole part of a metric of an edge.
fn metric(admin: SocketAddr, name: &str) -> Option<u64> {
    let mut client = Client::try_connect(admin).ok()?;
    client.send("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").ok()?;
    let text = client.reply_within("GET", SOON).ok()?.text();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value?.split('.').next()?.parse().ok()
}
