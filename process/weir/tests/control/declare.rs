//! `weir plan`, `weir apply` and `weir import cloudflare`, as they are typed.

use super::rig::{Plane, control_file, serve, weir};
use crate::support::files::TempDir;
use crate::support::process::{command, run};
use serde_json::{Value, json};
use std::process::Command;

const EDGE: &str = r#"
[[listener]]
name = "public"
address = "127.0.0.1:8080"
[[monitor]]
name = "up"
path = "/health"
[[pool]]
name = "web"
monitor = "up"
keepalive = { connections = 3 }
origins = [{ name = "a", address = "127.0.0.1", port = 9001 }]
[[zone]]
name = "example.com"
[[load_balancer]]
name = "www.example.com"
default_pools = ["web"]
"#;

/// Exit code and all output.
#[track_caller]
fn told(command: &mut Command) -> (i32, String) {
    let output = command.output().expect("weir can be started");
    let text = String::from_utf8([output.stdout, output.stderr].concat()).expect("text");
    (output.status.code().expect("an exit code"), text)
}

/// `weir` with the variables that Cloudflare's clients read.
fn client(plane: &Plane, words: &[&str]) -> Command {
    let mut client = command();
    client.env("CLOUDFLARE_BASE_URL", &plane.url).env("CLOUDFLARE_API_TOKEN", &plane.token);
    client.args(words);
    client
}

#[test]
fn a_file_is_planned_and_applied_by_the_api_and_through_the_socket() {
    let plane = Plane::start();
    let file = plane.dir.write("edge.toml", EDGE).display().to_string();
    let control = plane.dir.path().join("control.toml").display().to_string();
    let (code, plan) = told(&mut client(&plane, &["plan", &file, "--detailed-exitcode"]));
    assert_eq!(code, 2, "{plan}");
    for line in [
        "+ monitor up\n",
        "    + path: \"/health\"\n",
        "+ load_balancer www.example.com\n",
        "of the edge alone: listener\n",
        "stays on the edge: pool web keepalive: the API has no field for it",
        "4 to create, 0 to change, 0 to delete\n",
    ] {
        assert!(plan.contains(line), "{line}: {plan}");
    }
    // Nobody can be asked here.
    let (code, out) = told(&mut client(&plane, &["apply", &file]));
    assert!(code == 3 && out.contains("give --yes"), "{code} {out}");
    let (code, out) = told(&mut client(&plane, &["apply", &file, "--yes"]));
    assert!(code == 0 && out.contains("applied; this is revision "), "{code} {out}");
    let (code, out) = told(&mut client(&plane, &["plan", &file, "--detailed-exitcode"]));
    assert_eq!(
        (code, out.ends_with("0 to create, 0 to change, 0 to delete\n")),
        (0, true),
        "{out}"
    );
    let pools = format!("/accounts/{}/load_balancers/pools", plane.account);
    let pool = plane.ask("GET", &pools, "").1["result"][0].clone();
    let path = format!("{pools}/{}", pool["id"].as_str().expect("an id"));
    plane.ask("PATCH", &path, "{\"enabled\":false}");
    // The same objects by the socket.
    let words = ["plan", &file, "--control", &control, "--json"];
    let (good, out, err) = weir(&words);
    let plan: Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{good} {out} {err}"));
    let change = json!([{ "field": "enabled", "before": false }]);
    assert_eq!(
        (&plan["changes"][0]["name"], &plan["changes"][0]["fields"]),
        (&json!("web"), &change)
    );
    let (good, out, err) = weir(&["apply", &file, "--control", &control, "--yes"]);
    assert!(good && out.contains("~ pool web\n    - enabled: false\n"), "{out}{err}");
    assert_eq!(plane.ask("GET", &path, "").1["result"]["enabled"], true);
    // What is declared no more goes.
    plane.dir.write("edge.toml", EDGE.replace("www.example.com", "api.example.com"));
    let (code, out) = told(&mut client(&plane, &["apply", &file, "--yes"]));
    assert_eq!(code, 0, "{out}");
    for line in ["+ load_balancer api.example.com\n", "- load_balancer www.example.com\n"] {
        assert!(out.contains(line), "{line}: {out}");
    }
}

#[test]
fn who_is_asked_has_to_be_said() {
    let dir = TempDir::new();
    let file = dir.write("edge.toml", EDGE).display().to_string();
    let wrong = dir.write("wrong.toml", "[[pool]]\nnam = \"x\"\n").display().to_string();
    let bare = |words: &[&str]| {
        let mut weir = command();
        weir.args(words).env_remove("CLOUDFLARE_BASE_URL").env_remove("CLOUDFLARE_API_TOKEN");
        told(&mut weir)
    };
    for (words, code, expect) in [
        (&["plan", &file][..], 3, "--control FILE, --api URL or CLOUDFLARE_BASE_URL"),
        (&["plan", &file, "--api", "http://127.0.0.1:1/client/v4"], 3, "API_TOKEN is not set"),
        (&["plan", &wrong], 1, "`nam` is not a key"),
        (&["plan", &file, "--api", "http://x", "--control", "y"], 2, "cannot be used with"),
        (&["import", "cloudflare", "--control", "x"], 2, "--account"),
        (&["import"], 2, "--control"),
    ] {
        let (found, out) = bare(words);
        assert!(found == code && out.contains(expect), "{words:?}: {found} {out}");
    }
    let words = ["plan", &file, "--api", "http://127.0.0.1:1/client/v4"];
    let mut weir = command();
    let (code, out) = told(weir.args(words).env("CLOUDFLARE_API_TOKEN", "x"));
    assert!(code == 3 && out.contains("is that where the API is served?"), "{code} {out}");
}

#[test]
fn one_control_plane_takes_over_the_objects_of_another() {
    let plane = Plane::start();
    let account = format!("/accounts/{}", plane.account);
    let good = |(status, body): (u16, Value)| {
        assert_eq!(status, 200, "{body}");
        body["result"].clone()
    };
    let origins = json!([{ "name": "o", "address": "192.0.2.1" }]);
    // More than a page.
    for n in 0..60 {
        let pool = json!({ "name": format!("pool-{n}"), "origins": origins });
        let path = format!("{account}/load_balancers/pools");
        good(plane.ask("POST", &path, &pool.to_string()));
    }
    let list = plane.ask("GET", &format!("{account}/load_balancers/pools"), "").1;
    let pool = list["result"][0]["id"].clone();
    let mut zones = Vec::new();
    for name in ["one.example", "two.example"] {
        let zone = json!({ "name": name, "account": { "id": plane.account } });
        let zone = good(plane.ask("POST", "/zones", &zone.to_string()));
        let id = zone["id"].as_str().expect("an id").to_owned();
        let balancer = json!({ "name": format!("www.{name}"), "default_pools": [pool],
            "fallback_pool": pool });
        let path = format!("/zones/{id}/load_balancers");
        good(plane.ask("POST", &path, &balancer.to_string()));
        zones.push(id);
    }
    let dir = TempDir::new();
    let file = control_file(&dir, "");
    let control = file.display().to_string();
    let import = |more: &[&str]| {
        let words = ["import", "cloudflare", "--control", &control, "--account", &plane.account];
        told(&mut client(&plane, &[&words[..], more].concat()))
    };
    let (code, out) = import(&["--zone", "one.example", "--dry-run"]);
    assert!(code == 0 && out.contains("62 objects read, 63 places would change"), "{out}");
    let (code, out) = import(&["--zone", "nobody.example"]);
    assert!(code == 3 && out.contains("it has: one.example, two.example"), "{code} {out}");
    let (code, out) = import(&[]);
    assert!(code == 0 && out.contains("64 objects read, 65 places changed"), "{out}");
    let (code, out) = import(&[]);
    assert!(code == 0 && out.contains("64 objects read, 0 places changed"), "{out}");
    let (good_token, token, err) = weir(&["token", "create", "--control", &control]);
    assert!(good_token, "{err}");
    let (_guard, url) = serve(&file);
    let there =
        |path: &str| super::rig::ask(&url, token.trim(), "GET", path, "").1["result"].clone();
    // Those of one change are listed by their ids.
    let sorted = |list: &Value| {
        let mut rows: Vec<String> =
            list.as_array().expect("a list").iter().map(Value::to_string).collect();
        rows.sort();
        rows
    };
    let pools = there(&format!("{account}/load_balancers/pools"));
    assert!(sorted(&pools) == sorted(&list["result"]), "{pools} is not {list}");
    let path = format!("/zones/{}/load_balancers", zones[1]);
    assert_eq!(there(&path), plane.ask("GET", &path, "").1["result"]);
    // The same as files, into a plane that runs.
    let pools = json!({ "success": true, "result": [
        { "id": "f".repeat(32), "name": "late", "origins": origins, "healthy": true },
    ] });
    let from = dir.path().join("replies");
    std::fs::create_dir(&from).expect("a folder");
    std::fs::write(from.join("pools.json"), pools.to_string()).expect("a file");
    let from = from.display().to_string();
    let words = ["import", "cloudflare", "--control", &control, "--from", &from];
    let words = [&words[..], &["--into", &plane.account]].concat();
    let (good, out, err) = run(command().args(words));
    let left_out = format!("pools/{}#/healthy\n", "f".repeat(32));
    assert!(good && out.contains(&left_out), "{out}{err}");
    assert_eq!(
        there(&format!("{account}/load_balancers/pools/{}", "f".repeat(32)))["name"],
        "late"
    );
}
