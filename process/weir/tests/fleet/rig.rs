//! A control plane with edges: all processes real, on loopback.

use crate::control::rig::{call, control_file, serve, try_ask, weir};
use crate::support::client::Client;
use crate::support::edge::Edge;
use crate::support::files::{TempDir, free_port};
use crate::support::process::{Guard, Weir, run};
use crate::support::upstream::{Conn, Upstream};
use crate::support::wait::{self, SOON};
use serde_json::{Value, json};
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;

/// The zone of all published hosts.
const ZONE: &str = "fleet.test";

/// A control plane, and what a test needs to change its objects.
pub(crate) struct Fleet {
    pub(crate) plane: Guard,
    file: PathBuf,
    token: String,
    url: String,
    account: String,
    zone: String,
    edges_port: u16,
    dir: Arc<TempDir>,
}

/// An origin that answers its own name.
pub(crate) fn origin(name: &'static str) -> Upstream {
    origin_that("200 OK", name)
}

/// An origin that answers everything with a status, and its own name.
pub(crate) fn origin_that(status: &'static str, name: &'static str) -> Upstream {
    Upstream::start(move |conn: &mut Conn| {
        let length = name.len();
        while conn.request().is_some() {
            let reply = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{name}");
            if !conn.write(reply) {
                return;
            }
        }
    })
}

#[track_caller]
fn good((status, body): (u16, Value)) -> Value {
    assert!(status < 300, "{status} {body}");
    body["result"].clone()
}

#[track_caller]
fn id(object: &Value) -> String {
    object["id"].as_str().unwrap_or_else(|| panic!("no id in {object}")).to_owned()
}

impl Fleet {
    pub(crate) fn start() -> Self {
        Self::start_with(Arc::new(TempDir::new()), "")
    }

    /// As [`Self::start`], with further sections of the control file, in a folder.
    pub(crate) fn start_with(dir: Arc<TempDir>, sections: &str) -> Self {
        let edges_port = free_port();
        let more = format!("[edges]\naddress = \"127.0.0.1:{edges_port}\"\n{sections}");
        let file = control_file(&dir, &more);
        let path = file.display().to_string();
        let (good_one, out, err) = weir(&["token", "create", "--json", "--control", &path]);
        assert!(good_one, "{err}");
        let made: Value = serde_json::from_str(&out).expect("JSON");
        let token = made["token"].as_str().expect("a token").to_owned();
        let (plane, url) = serve(&file);
        let (account, zone) = (String::new(), String::new());
        let mut fleet = Self { plane, file, token, url, account, zone, edges_port, dir };
        fleet.account = id(&good(fleet.ask("GET", "/accounts", &Value::Null))[0]);
        let zone = json!({ "name": ZONE, "account": { "id": fleet.account } });
        fleet.zone = id(&good(fleet.ask("POST", "/zones", &zone)));
        fleet
    }

    /// Another control plane of the same store and key, with a file of its own.
    pub(crate) fn beside(&self) -> Self {
        let edges_port = free_port();
        let text = fs::read_to_string(&self.file).expect("readable");
        let text = text.replace(&format!(":{}\"", self.edges_port), &format!(":{edges_port}\""));
        let text = text.replace("[control]", "[control]\nsocket = \"beside.sock\"");
        let file = self.dir.write("beside.toml", text);
        let (plane, url) = serve(&file);
        let (token, account, zone) = (self.token.clone(), self.account.clone(), self.zone.clone());
        Self { plane, file, token, url, account, zone, edges_port, dir: self.dir.clone() }
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let (status, _, body) = self.try_ask(method, path, body).expect("an answer");
        (status, body)
    }

    fn try_ask(&self, method: &str, path: &str, body: &Value) -> io::Result<(u16, String, Value)> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        try_ask(&self.url, &self.token, method, path, &body)
    }

    /// What makes pools in a thread of its own, with names that begin so, until the control plane
    /// does not answer: the ids of those that it acknowledged.
    pub(crate) fn writer(&self, name: &str) -> impl FnMut(usize) -> Option<String> + use<> {
        let (url, token, path, name) =
            (self.url.clone(), self.token.clone(), self.pools(), name.to_owned());
        move |number| {
            let origins = json!([{ "name": "o", "address": "192.0.2.1" }]);
            let pool = json!({ "name": format!("{name}-{number}"), "origins": origins });
            let answer = try_ask(&url, &token, "POST", &path, &pool.to_string());
            let (status, _, body) = answer.ok()?;
            Some(id(&good((status, body))))
        }
    }

    /// Whether there is such a pool.
    pub(crate) fn has_pool(&self, id: &str) -> bool {
        self.ask("GET", &format!("{}/{id}", self.pools()), &Value::Null).0 == 200
    }

    /// The pools can be listed.
    pub(crate) fn reads(&self) -> bool {
        self.ask("GET", &self.pools(), &Value::Null).0 == 200
    }

    /// The URL that edges find it by.
    pub(crate) fn edges_url(&self) -> String {
        format!("https://127.0.0.1:{}", self.edges_port)
    }

    /// What `/metrics` says of a series; none where it does not have it.
    pub(crate) fn metric(&self, series: &str) -> Option<f64> {
        let (_, text, _) = run(std::process::Command::new("curl")
            .args(["-sS", &self.url.replace("/client/v4", "/metrics")]));
        let mut lines = text.lines().filter_map(|line| line.rsplit_once(' '));
        lines.find(|(name, _)| *name == series).and_then(|(_, value)| value.parse().ok())
    }

    /// A call below `/weir/v1/packet`.
    pub(crate) fn packet(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let target = format!("/weir/v1/packet{path}");
        call(&self.url, &self.token, method, &target, &body.to_string())
    }

    /// Puts an object of the packet path.
    #[track_caller]
    pub(crate) fn put_packet(&self, path: &str, body: &Value) {
        good(self.packet("PUT", path, body));
    }

    fn pools(&self) -> String {
        format!("/accounts/{}/load_balancers/pools", self.account)
    }

    /// Publishes a pool with one origin; gives its id.
    #[track_caller]
    pub(crate) fn pool(&self, name: &str, origin: &Upstream) -> String {
        let origins = json!([{ "name": "o", "address": "127.0.0.1", "port": origin.port() }]);
        let pool = json!({ "name": name, "origins": origins });
        id(&good(self.ask("POST", &self.pools(), &pool)))
    }

    /// Gives a pool another origin.
    #[track_caller]
    pub(crate) fn turn(&self, pool: &str, origin: &Upstream) {
        let (status, _, body) = self.try_turn(pool, origin).expect("an answer");
        good((status, body));
    }

    /// As [`Self::turn`], whatever is answered: the status, the head and the body.
    pub(crate) fn try_turn(
        &self,
        pool: &str,
        origin: &Upstream,
    ) -> io::Result<(u16, String, Value)> {
        let origins = json!([{ "name": "o", "address": "127.0.0.1", "port": origin.port() }]);
        let path = format!("{}/{pool}", self.pools());
        self.try_ask("PATCH", &path, &json!({ "origins": origins }))
    }

    /// Publishes a host of the zone.
    #[track_caller]
    pub(crate) fn host(&self, host: &str, pool: &str) -> String {
        let body = json!({
            "name": format!("{host}.{ZONE}"),
            "default_pools": [pool],
            "fallback_pool": pool,
        });
        let path = format!("/zones/{}/load_balancers", self.zone);
        id(&good(self.ask("POST", &path, &body)))
    }

    /// Removes a host.
    #[track_caller]
    pub(crate) fn without_host(&self, id: &str) {
        good(self.ask(
            "DELETE",
            &format!("/zones/{}/load_balancers/{id}", self.zone),
            &Value::Null,
        ));
    }

    /// `weir edge …` on this control plane.
    #[track_caller]
    pub(crate) fn edge(&self, words: &[&str]) -> String {
        let file = self.file.display().to_string();
        let all = [&["edge"], words, &["--control", &file]].concat();
        let (good, out, err) = weir(&all);
        assert!(good, "{all:?}: {err}");
        out
    }

    /// A join token.
    #[track_caller]
    fn join_token(&self, role: &str) -> String {
        let out = self.edge(&["token", "create", "--role", role]);
        let token = out.split_whitespace().find(|word| word.starts_with("weir-join."));
        token.unwrap_or_else(|| panic!("no token in {out}")).to_owned()
    }

    /// Kills the control plane at once.
    pub(crate) fn kill(&mut self) {
        self.plane.signal(rustix::process::Signal::KILL);
        self.plane.exit(SOON);
    }

    /// Starts it again.
    pub(crate) fn start_again(&mut self) {
        (self.plane, self.url) = serve(&self.file);
    }

    /// The file of an edge that has a listener and its control plane, and a token to join with.
    #[track_caller]
    pub(crate) fn edge_file(&self, name: &str) -> Edge {
        self.edge_file_with(name, "")
    }

    /// The file of an edge that is a proxy, with further lines of `[runtime]`.
    #[track_caller]
    pub(crate) fn edge_file_with(&self, name: &str, runtime: &str) -> Edge {
        self.edge_file_as("proxy", name, runtime)
    }

    /// As [`Self::edge_file_with`], for an edge of that role.
    #[track_caller]
    pub(crate) fn edge_file_as(&self, role: &str, name: &str, runtime: &str) -> Edge {
        self.edge_file_for(role, name, runtime, &[self])
    }

    /// As [`Self::edge_file_with`], for several control planes of the same store.
    #[track_caller]
    pub(crate) fn edge_file_of(&self, name: &str, runtime: &str, planes: &[&Self]) -> Edge {
        self.edge_file_for("proxy", name, runtime, planes)
    }

    #[track_caller]
    fn edge_file_for(&self, role: &str, name: &str, runtime: &str, planes: &[&Self]) -> Edge {
        let urls: Vec<_> = planes.iter().map(|plane| plane.edges_url()).collect();
        let token = self.join_token(role);
        let file = self.dir.write(&format!("{name}.token"), token);
        let state = self.dir.path().join(name);
        Edge::new().listener("web", "").runtime(runtime).runtime(&format!(
            "[control]\nurls = {urls:?}\njoin_token_file = {file:?}\n\
             state = {state:?}\nname = \"{name}\""
        ))
    }

    /// Lets every user look for what is in the folders of this test.
    pub(crate) fn open_folder(&self) {
        fs::set_permissions(self.dir.path(), fs::Permissions::from_mode(0o755)).expect("ours");
    }

    /// The state folder of an edge.
    pub(crate) fn state(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

/// What an edge answers for a host of the zone: the body, or the status where it is no 200.
pub(crate) fn get(edge: &Weir, host: &str) -> String {
    get_at(edge.web(), host)
}

/// As [`get`], at an address.
pub(crate) fn get_at(address: SocketAddr, host: &str) -> String {
    let mut client = match Client::try_connect(address) {
        Ok(client) => client,
        Err(error) => return error.to_string(),
    };
    let head = format!("GET / HTTP/1.1\r\nHost: {host}.{ZONE}\r\nConnection: close\r\n\r\n");
    let sent = client.send(head).map_err(|error| error.to_string());
    match sent.and_then(|()| client.reply_within("GET", SOON)) {
        Ok(reply) if reply.status == 200 => reply.text(),
        Ok(reply) => reply.status.to_string(),
        Err(error) => error,
    }
}

/// Waits until an edge answers that.
#[track_caller]
pub(crate) fn answers(edge: &Weir, host: &str, expect: &str) {
    let mut last = String::new();
    let there = wait::holds(SOON, || {
        last = get(edge, host);
        last == expect
    });
    assert!(there, "{host} answers {last}, not {expect}:\n{}", edge.stderr());
}

/// What `/status` of an edge says of its control plane.
#[track_caller]
pub(crate) fn control(edge: &Weir) -> Value {
    let reply = edge.admin("/status").unwrap_or_else(|error| panic!("/status: {error}"));
    let status: Value = serde_json::from_str(&reply.text()).expect("JSON");
    status["control"].clone()
}

/// Waits until that has this property.
#[track_caller]
pub(crate) fn until(edge: &Weir, what: &str, test: impl Fn(&Value) -> bool) -> Value {
    wait::value(what, SOON, || Some(control(edge)).filter(&test))
}
