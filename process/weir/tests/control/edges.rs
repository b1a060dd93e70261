//! Edges as operators meet them: tokens, joining, renewing, shutting out, through a control plane
//! that runs. The edge is curl.

use super::rig::{control_file, serve, weir};
use crate::support::files::TempDir;
use crate::support::process::run;
use crate::support::wait::{self, SOON};
use rcgen::{CertificateParams, KeyPair};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::process::Command;

/// An edge that has its files in a folder.
struct Edge<'a> {
    dir: &'a TempDir,
    /// Of the control plane's listener for edges.
    base: String,
    request: String,
}

impl Edge<'_> {
    /// One `POST`: the status and the body.
    fn post(&self, path: &str, body: &Value, certified: bool) -> (String, Value) {
        let file = |name: &str| self.dir.path().join(name).display().to_string();
        self.dir.write("body.json", body.to_string());
        let mut curl = Command::new("curl");
        curl.args(["-sS", "-w", "\n%{http_code}", "--data-binary"]);
        curl.arg(format!("@{}", file("body.json")));
        match certified {
            // What is not known yet cannot be verified by curl: the token's hash is for weir.
            false => curl.arg("-k"),
            true => curl.args([
                "--cacert",
                &file("ca.pem"),
                "--cert",
                &file("edge.pem"),
                "--key",
                &file("edge.key"),
            ]),
        };
        curl.arg(format!("{}{path}", self.base));
        let (good, out, err) = run(&mut curl);
        assert!(good, "{path}: {err}");
        let (body, status) = out.rsplit_once('\n').expect("a status");
        (status.to_owned(), serde_json::from_str(body).expect("JSON"))
    }

    fn join(&self, token: &str) -> (String, Value) {
        let body = json!({ "token": token, "name": "edge-1", "request": self.request });
        self.post("/edge/v1/join", &body, false)
    }

    fn renew(&self) -> (String, Value) {
        self.post("/edge/v1/renew", &json!({ "request": self.request }), true)
    }
}

#[test]
fn an_edge_joins_renews_and_is_shut_out() {
    let dir = TempDir::new();
    let file = control_file(&dir, "[edges]\naddress = \"127.0.0.1:0\"\n");
    let path = file.display().to_string();
    let control = ["--control", &path];
    let weir = |words: &[&str]| weir(&[words, &control[..]].concat());
    let (mut guard, url) = serve(&file);
    let base = wait::value("the control plane says where edges find it", SOON, || {
        let told = guard.stderr.text();
        let rest = told.split("edges_started").nth(1)?.split("address=").nth(1)?;
        let address = rest.split_whitespace().next()?;
        rest.contains('\n').then(|| format!("https://{address}"))
    });
    let (good, token, err) = weir(&["edge", "token", "create", "--name", "first"]);
    assert!(good && err.contains("weir run weir.toml --control https://127.0.0.1:PORT"), "{err}");
    let token = token.trim().to_owned();
    let secret = token.split('.').nth(2).expect("a secret").to_owned();
    let key = KeyPair::generate().expect("a key");
    let request = CertificateParams::default().serialize_request(&key).expect("a request");
    let edge = Edge { dir: &dir, base, request: request.pem().expect("PEM") };
    let (status, certified) = edge.join(&token);
    assert_eq!(status, "200", "{certified}");
    for (name, part) in [("edge.pem", "certificate"), ("ca.pem", "authorities")] {
        dir.write(name, certified[part].as_str().expect("PEM"));
    }
    dir.write("edge.key", key.serialize_pem());
    let (status, renewed) = edge.renew();
    assert_eq!((status.as_str(), &renewed["edge"]), ("200", &certified["edge"]), "{renewed}");
    let (status, refused) = edge.join(&token);
    assert_eq!((status.as_str(), &refused["reason"]), ("403", &json!("token_used")));
    let id = certified["edge"].as_str().expect("an id").to_owned();
    let (_, list, _) = weir(&["edge", "list"]);
    assert!(list.starts_with(&format!("edge-1 {id} proxy away")), "{list}");
    let (good, out, err) = weir(&["edge", "revoke", "edge-1"]);
    assert!(good && out.contains(&id), "{out}{err}");
    let (status, refused) = edge.renew();
    assert_eq!((status.as_str(), &refused["reason"]), ("403", &json!("revoked")));
    let metrics = url.replace("/client/v4", "/metrics");
    let (_, metrics, _) = run(Command::new("curl").args(["-sS", &metrics]));
    for line in ["weir_edge_joins_total 1", "weir_edge_denied_total{reason=\"revoked\"} 1"] {
        assert!(metrics.lines().any(|own| own == line), "{line}: {metrics}");
    }
    let (_, list, _) = weir(&["edge", "list"]);
    assert!(list.contains("revoked"), "{list}");
    guard.signal(Signal::TERM);
    assert!(guard.exit(SOON).success());
    let log = guard.stderr.text();
    assert!(log.contains("edge_joined") && log.contains("edge_denied"), "{log}");
    let (_, history, _) = weir(&["history", "--json"]);
    let (_, tokens, _) = weir(&["edge", "token", "list", "--json"]);
    let store = std::fs::read(dir.path().join("weir-store.redb")).expect("the store");
    let store = String::from_utf8_lossy(&store).into_owned();
    for (place, text) in [("log", log), ("history", history), ("tokens", tokens), ("store", store)]
    {
        assert!(!text.contains(&secret) && !text.contains("PRIVATE KEY"), "{place} has a secret");
    }
}

#[test]
fn edges_are_not_served_unless_the_file_says_so() {
    let dir = TempDir::new();
    let file = control_file(&dir, "");
    let path = file.display().to_string();
    let (good, _, err) = weir(&["edge", "token", "create", "--control", &path]);
    assert!(good && err.contains("has no [edges]"), "{err}");
}
