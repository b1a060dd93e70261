//! Cloudflare's own clients, unmodified, and schemathesis.

use super::rig::{Plane, run_client};
use crate::support::process::workspace;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Cases of each operation in an everyday run, and in a soak.
const CASES: [&str; 2] = ["2", "50"];
/// Chains of operations, of which most begin with a body that is refused.
const CHAINS: [u32; 2] = [100, 1_000];

fn own(name: &str) -> PathBuf {
    workspace().join("process/weir/tests/control").join(name)
}

/// A file that `cargo xtask test --group packages` brings.
fn peer(path: &str) -> PathBuf {
    let found = workspace().join("target/peers").join(path);
    assert!(found.exists(), "{path} is missing: `cargo xtask test --group packages` installs it");
    found
}

#[track_caller]
fn calls(client: &mut Command) -> usize {
    let (good, out) = run_client(client);
    assert!(good, "{out}");
    out.trim().parse().unwrap_or_else(|_| panic!("no number of calls: {out}"))
}

#[test]
fn cloudflare_for_python() {
    let plane = Plane::start();
    let python = peer("cloudflare/bin/python3");
    let made = calls(plane.client(&python).arg(own("lifecycle.py")));
    assert!(made > 200, "{made} calls");
}

#[test]
fn cloudflare_for_node() {
    let plane = Plane::start();
    let folder = peer("cloudflare-node/node_modules");
    let mut node = plane.client(Path::new("node"));
    let node = node.arg(own("lifecycle.mjs")).arg(folder.parent().expect("a folder"));
    let made = calls(node);
    assert!(made > 80, "{made} calls");
}

#[test]
fn cloudflare_for_rust() {
    let plane = Plane::start();
    let made = calls(&mut plane.client(&peer("cloudflare-rust/debug/cloudflare-client")));
    assert_eq!(made, 14);
}

#[test]
fn schemathesis_finds_no_violation() {
    let plane = Plane::start();
    let zone = format!("{{\"name\":\"example.com\",\"account\":{{\"id\":\"{}\"}}}}", plane.account);
    let zone = plane.ask("POST", "/zones", &zone).1;
    let zone = zone["result"]["id"].as_str().expect("a zone").to_owned();
    let soak = std::env::var_os("WEIR_SOAK").is_some();
    let python = peer("schemathesis/bin/python3");
    let mended = plane.dir.path().join("openapi.json");
    let mut overlay = plane.client(&python);
    overlay.args([own("overlay.py"), own("openapi.json")]).arg(&mended);
    let (good, out) = run_client(&mut overlay);
    assert!(good, "{out}");
    let config = format!(
        "[parameters]\n\"path.account_id\" = \"{}\"\n\"path.zone_id\" = \"{zone}\"\n\
         \"path.account_or_zone_id\" = \"{zone}\"\n\"path.accounts_or_zones\" = \"zones\"\n\
         [phases.stateful.generation]\nmax-examples = {}\n",
        plane.account,
        CHAINS[usize::from(soak)]
    );
    let config = plane.dir.write("schemathesis.toml", config);
    let phases = if soak { "coverage,fuzzing,stateful" } else { "fuzzing,stateful" };
    let seed = std::env::var("WEIR_SEED").unwrap_or_else(|_| "1".to_owned());
    let mut command = plane.client(&peer("schemathesis/bin/schemathesis"));
    command.current_dir(plane.dir.path()).arg("--config-file").arg(&config).arg("run").arg(&mended);
    command.args(["--url", &plane.url, "--header"]);
    command.arg(format!("Authorization: Bearer {}", plane.token));
    let checks = "not_a_server_error,status_code_conformance,content_type_conformance,\
                  response_schema_conformance";
    command.args(["--checks", checks, "--phases", phases, "--seed", &seed, "--no-color"]);
    command.args(["--max-examples", if soak { CASES[1] } else { CASES[0] }]);
    // They would take away what all other calls are about.
    for removal in ["account-deletion", "zones-0-delete"] {
        command.args(["--exclude-operation-id", removal]);
    }
    let (good, out) = run_client(&mut command);
    assert!(good, "{out}");
    assert!(out.contains("Selected: 90/92"), "{out}");
}
