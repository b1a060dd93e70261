//! What a configuration declares, and what edges say of objects of the packet path.

use super::Folder;
use crate::config_file::{declared, packet_faults};
use serde_json::{Value, json};

const FILE: &str = r#"
include = ["more/*.toml"]
[[listener]]
name = "public"
address = "127.0.0.1:8080"
[[monitor]]
name = "m"
path = "/${PATH_THAT_NOBODY_SETS:-up}"
[[pool]]
name = "web"
monitor = "m"
origins = [{ name = "o", address = "127.0.0.1", weight = 0.5 }]
[packet]
interfaces = ["eth0"]
address = "192.0.2.1"
hash_key_file = "packet.key"
mtu = 1400
port = 6000
[[server]]
id = 1
address = "192.0.2.1"
"#;

#[test]
fn a_configuration_declares_its_objects_and_keeps_the_rest() {
    let folder = Folder::new();
    folder.write("weir.toml", FILE);
    std::fs::create_dir_all(folder.0.join("more")).unwrap();
    let more = "[[pool]]\nname = \"api\"\norigins = [{ name = \"o\", address = \"::1\" }]\n\
                [[load_balancer]]\nname = \"*\"\ndefault_pools = [\"web\", \"api\"]\n";
    folder.write("more/a.toml", more);
    folder.write("packet.key", "00112233445566778899aabbccddeeff\n");
    let found = declared(&folder.0.join("weir.toml")).unwrap();
    assert_eq!(found.local, ["listener", "packet"]);
    let expect = json!({
        "monitor": [{ "name": "m", "path": "/up" }],
        "pool": [
            { "name": "web", "monitor": "m",
              "origins": [{ "name": "o", "address": "127.0.0.1", "weight": 0.5 }] },
            { "name": "api", "origins": [{ "name": "o", "address": "::1" }] },
        ],
        "load_balancer": [{ "name": "*", "default_pools": ["web", "api"] }],
        "packet": { "hash_key": "00112233445566778899aabbccddeeff", "port": 6000 },
        "server": [{ "id": 1, "address": "192.0.2.1" }],
    });
    assert_eq!(Value::Object(found.tables), expect);
    folder.write("more/a.toml", "[[pool]]\nnam = \"api\"\n");
    assert!(declared(&folder.0.join("weir.toml")).is_err(), "a wrong file declares nothing");
}

/// Faults as `PATH: WHAT`.
fn faults(tables: &Value) -> Vec<String> {
    let faults = packet_faults(tables.as_object().unwrap());
    faults.iter().map(|fault| format!("{}: {}", fault.place.path, fault.what)).collect()
}

#[test]
fn objects_of_the_packet_path_are_checked_as_an_edge_would() {
    let server = json!({ "id": 1, "address": "192.0.2.7" });
    for (tables, expect) in [
        (json!({}), ""),
        (json!({ "server": [server] }), ""),
        (json!({ "packet": { "port": 6000 }, "server": [server] }), ""),
        (json!({ "shield_rule": [{ "name": "a", "action": "drop" }] }), ""),
        (json!({ "server": [server, server] }), "server[1].id: the id `1` stands at"),
        (
            json!({ "server": [server], "trafficset": [
                { "name": "w", "prefixes": ["203.0.113.0/24"], "servers": [2] },
            ] }),
            "trafficset[0].servers",
        ),
        (json!({ "shield_rule": [{ "name": "a", "action": "dorp" }] }), "shield_rule[0].action"),
        (json!({ "server": [{ "id": 1, "address": null }] }), "no table of the file"),
        (json!({ "packet": { "hash_key": "00" }, "server": [server] }), "packet.hash_key"),
    ] {
        let found = faults(&tables).join("; ");
        let right = if expect.is_empty() { found.is_empty() } else { found.contains(expect) };
        assert!(right, "{tables}: {found:?}, not {expect:?}");
    }
}
