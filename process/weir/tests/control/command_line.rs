//! `weir control` and `weir token`.

use super::rig::{Plane, ask, control_file, serve, weir};
use crate::support::files::TempDir;
use crate::support::process::{Guard, command, run, workspace};
use crate::support::tls::{Authority, VALID};
use crate::support::wait::{self, SOON};
use rustix::process::Signal;
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

#[test]
fn tokens_are_made_listed_and_taken_back() {
    let dir = TempDir::new();
    let file = control_file(&dir, "");
    let path = file.display().to_string();
    let (good, out, err) = weir(&["token", "create", "--control", &path, "--name", "first"]);
    assert!(good, "{err}");
    let token = out.trim().to_owned();
    assert_eq!(token.len(), 40, "{out}");
    let words = ["token", "create", "--control", &path, "--account", "Nobody"];
    let (good, _, err) = weir(&words);
    assert!(!good && err.contains("there is no account Nobody; there are: Weir"), "{err}");
    let (_, list, _) = weir(&["token", "list", "--control", &path, "--json"]);
    assert!(!list.contains(&token), "{list}");
    let tokens: Value = serde_json::from_str(&list).expect("JSON");
    let id = tokens[0]["id"].as_str().expect("an id").to_owned();
    let (mut guard, url) = serve(&file);
    assert_eq!(ask(&url, &token, "GET", "/user/tokens/verify", "").0, 200);
    let (_, listed, _) = weir(&["token", "list", "--control", &path, "--json"]);
    assert_eq!(listed, list, "the plane that runs tells something else than the store");
    let (good, out, err) = weir(&["token", "create", "--control", &path, "--read-only"]);
    assert!(good, "{err}");
    assert_eq!(ask(&url, out.trim(), "GET", "/accounts", "").0, 200);
    assert!(weir(&["token", "revoke", "--control", &path, &id]).0);
    let (good, _, err) = weir(&["token", "revoke", "--control", &path, &id]);
    assert!(!good && err.contains("`weir token list` shows those that are"), "{err}");
    let (status, body) = ask(&url, &token, "GET", "/user/tokens/verify", "");
    assert_eq!((status, &body["errors"][0]["code"]), (403, &Value::from(10000)));
    guard.signal(Signal::TERM);
    assert!(guard.exit(SOON).success());
    let log = guard.stderr.text();
    assert!(!log.contains(&token) && !log.contains(out.trim()), "the log has a token");
}

#[test]
fn a_socket_that_a_killed_plane_left_is_told_from_one_that_is_served() {
    let dir = TempDir::new();
    let file = control_file(&dir, "[store]\npath = \"data\"\n");
    let path = file.display().to_string();
    let (mut guard, _) = serve(&file);
    let socket = dir.path().join("weir-control.sock");
    let mode = std::fs::metadata(&socket).expect("a socket").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    guard.signal(Signal::KILL);
    guard.exit(SOON);
    assert!(socket.exists(), "a plane that is killed cannot remove it");
    assert!(weir(&["token", "create", "--control", &path]).0, "no plane runs");
    let (mut guard, _) = serve(&file);
    assert!(weir(&["token", "create", "--control", &path]).0, "a plane runs");
    let (_, history, _) = weir(&["history", "--control", &path]);
    assert_eq!(history.lines().count(), 3, "{history}");
    guard.signal(Signal::TERM);
    assert!(guard.exit(SOON).success());
    assert!(!socket.exists(), "the socket stays behind");
}

#[test]
fn the_example_serves() {
    let dir = TempDir::new();
    let file = workspace().join("examples/control/control.toml");
    let text = std::fs::read_to_string(file).expect("readable");
    let text = text.replace("127.0.0.1:8780", "127.0.0.1:0");
    let file = dir.write("control.toml", text);
    let path = file.display().to_string();
    let (good, token, err) = weir(&["token", "create", "--control", &path, "--name", "me"]);
    assert!(good, "{err}");
    let (_guard, url) = serve(&file);
    assert_eq!(ask(&url, token.trim(), "GET", "/zones", "").0, 200);
    for name in ["weir-store.redb", "weir-control.key"] {
        let held = std::fs::metadata(dir.path().join(name)).expect("made beside the example");
        assert_eq!(held.permissions().mode() & 0o777, 0o600, "{name}: only its owner reads it");
    }
}

#[test]
fn objects_outlive_the_process() {
    let mut plane = Plane::start();
    let folder = format!("/accounts/{}/load_balancers/monitors", plane.account);
    let (status, made) = plane.ask("POST", &folder, "{\"type\":\"http\",\"description\":\"d\"}");
    assert_eq!(status, 200, "{made}");
    plane.guard.signal(Signal::KILL);
    plane.guard.exit(SOON);
    let (guard, url) = serve(&plane.dir.path().join("control.toml"));
    (plane.guard, plane.url) = (guard, url);
    let list = plane.ask("GET", &folder, "").1;
    assert_eq!(list["result"][0], made["result"]);
}

#[test]
fn the_api_is_served_over_tls_and_both_versions_of_http() {
    let dir = TempDir::new();
    let ca = Authority::new();
    let pem = ca.issue(&["127.0.0.1"], VALID);
    let authority = dir.write("ca.pem", &ca.pem).display().to_string();
    dir.write("c.pem", &pem.certificate);
    dir.write("c.key", &pem.key);
    let tls = "[control.tls]\ncertificate = \"c.pem\"\nkey = \"c.key\"\n";
    let (_guard, url) = serve(&control_file(&dir, tls));
    for (version, expect) in [("--http1.1", "1.1 200"), ("--http2", "2 200")] {
        let mut curl = Command::new("curl");
        curl.args(["-sS", version, "--cacert", &authority, "-o", "/dev/null"]);
        curl.args(["-w", "%{http_version} %{http_code}", &format!("{url}/ips")]);
        let (good, out, err) = run(&mut curl);
        assert!(good && out == expect, "{version}: {out}{err}");
    }
}

#[test]
fn a_control_file_is_refused_with_the_place_of_each_fault() {
    for (text, expect) in [
        ("[control]\naddress = \"0.0.0.0:0\"\n", "without TLS"),
        ("[control]\naddres = \"127.0.0.1:0\"\n", "address"),
        ("[store]\npath = \"a\"\n[store.etcd]\nendpoints = [\"http://x\"]\n", "one of the two"),
        ("[store.etcd]\nendpoints = [\"http://x\"]\nuser = \"u\"\n", "both or neither"),
        ("[store.etcd]\nendpoints = []\n", "entries"),
        ("[limits]\nwindow = \"0s\"\n", "1s"),
        ("[edges]\naddress = \"0.0.0.0:0\"\n", "at least one name"),
        ("[edges]\nnames = [\"no name\"]\n", "a DNS name or an IP address"),
        ("[edges]\ncertificate_life = \"1s\"\n", "3s"),
        ("[publish]\ncanary_percent = 101\n", "100"),
        ("[control.tls]\ncertificate = \"none.crt\"\nkey = \"none.key\"\n", "no such file"),
    ] {
        let dir = TempDir::new();
        let file = dir.write("control.toml", text).display().to_string();
        let (good, _, err) = weir(&["control", &file]);
        assert!(!good && err.contains(expect) && err.contains("control.toml:"), "{text}{err}");
    }
}

#[test]
fn what_is_not_in_effect_is_told_by_a_check() {
    let mut plane = Plane::start();
    let file = plane.dir.path().join("control.toml").display().to_string();
    let folder = format!("/accounts/{}/load_balancers/pools", plane.account);
    let origins = "[{\"address\":\"::1\"},{\"address\":\"0:0:0:0:0:0:0:1\"}]";
    let body = format!(
        "{{\"name\":\"web\",\"latitude\":1,\"longitude\":2,\"minimum_origins\":2,\
         \"origins\":{origins}}}"
    );
    let (status, made) = plane.ask("POST", &folder, &body);
    assert_eq!(status, 200, "{made}");
    let id = made["result"]["id"].as_str().expect("an id").to_owned();
    let object = format!("accounts/{}/pools/{id} (web)", plane.account);
    let check = |more: &[&str]| weir(&[&["check", "--control", &file][..], more].concat());
    let (good, out, running) = check(&[]);
    assert!(good && out.contains(": no faults; 4 warnings of revision "), "{out}{running}");
    for told in [
        "/latitude: not in effect: latitude is stored and not in effect yet: no pool is chosen",
        "/longitude: not in effect: ",
        "/origins: changed: 1 of 2 are on edges",
        "/minimum_origins: changed: 1 on edges",
    ] {
        assert!(running.contains(&format!("warning: {object} {told}")), "{told}: {running}");
    }
    let json: Value = serde_json::from_str(&check(&["--json"]).1).expect("JSON");
    assert_eq!(json["faults"], serde_json::json!([]), "{json}");
    let first = &json["warnings"][0];
    let (place, effect) = (&first["pointer"], &first["effect"]);
    let told = (first["id"].as_str(), place.as_str(), effect.as_str());
    assert_eq!(told, (Some(&*id), Some("/latitude"), Some("not_in_effect")), "{json}");
    plane.guard.signal(Signal::TERM);
    assert!(plane.guard.exit(SOON).success());
    assert_eq!(check(&[]).2, running, "the store tells something else than the plane that ran");
}

#[test]
fn a_control_file_is_checked_like_another() {
    let dir = TempDir::new();
    let good = control_file(&dir, "").display().to_string();
    let bad = dir.write("bad.toml", "[control]\nadress = \"127.0.0.1:0\"\n").display().to_string();
    for (words, code, expect) in [
        (&["check", "--control", &good][..], 0, "no faults; there is no store yet"),
        (&["check", "--control", &good, "--json"], 0, "\"revision\": null"),
        (&["check", "--control", &bad], 1, "adress"),
        (&["check", "--control", &bad, "--json"], 1, "\"nearest\": \"address\""),
        (&["check", &good, "--control", &good], 2, "cannot be used with"),
        (&["check"], 2, "required"),
    ] {
        let mut guard = Guard::start(command().args(words));
        let status = guard.exit(SOON);
        let ended = || guard.stdout.ended() && guard.stderr.ended();
        wait::until("the output is complete", SOON, ended);
        let told = guard.stdout.text() + &guard.stderr.text();
        assert!(status.code() == Some(code) && told.contains(expect), "{words:?}: {told}");
    }
    assert!(!dir.path().join("weir-store.redb").exists(), "a check makes a store");
}
