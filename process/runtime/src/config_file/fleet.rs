//! What edges would say of published objects of the packet path.

use super::report::Report;
use super::{Reader, World, build, schema};
use core_model::Fault;
use core_model::config::packet::ServerId;
use serde_json::{Map, Value, json};

/// A key that stands in for one that is not set, or not to be looked at.
pub const NO_HASH_KEY: &str = "000102030405060708090a0b0c0d0eff";
/// The address of an edge of a fleet that has no server (RFC 5737).
const NO_ADDRESS: &str = "192.0.2.1";
/// The id of that edge: the last one, which is nobody's else.
const NO_SERVER: u64 = ServerId::MAX as u64;
/// The rest of an edge's file, which has no fault.
const REST: &str = "[[listener]]\nname = \"any\"\naddress = \"127.0.0.1:80\"\n\
                    [[pool]]\nname = \"any\"\norigins = [{ name = \"any\", address = \"::1\" }]\n\
                    [[load_balancer]]\nname = \"*\"\ndefault_pools = [\"any\"]\n";

/// What an edge of the fleet would refuse in these tables: lists `server`, `trafficset` and
/// `shield_rule`, and the fleet's part of `packet`. Paths in the faults are those of the tables,
/// such as `server[0].address`.
#[must_use]
pub fn packet_faults(tables: &Map<String, Value>) -> Vec<Fault> {
    let mut tables = tables.clone();
    let servers = tables.entry("server").or_insert_with(|| Value::Array(Vec::new()));
    if let Some(servers) = servers.as_array_mut().filter(|servers| servers.is_empty()) {
        servers.push(json!({ "id": NO_SERVER, "address": NO_ADDRESS }));
    }
    let first = tables.get("server").and_then(|servers| servers.get(0)?.get("address")).cloned();
    let packet = tables.entry("packet").or_insert_with(|| Value::Object(Map::new()));
    if let Some(packet) = packet.as_object_mut() {
        packet.entry("hash_key").or_insert_with(|| NO_HASH_KEY.into());
        packet.insert("interfaces".to_owned(), vec!["lo"].into());
        packet.insert("address".to_owned(), first.unwrap_or_else(|| NO_ADDRESS.into()));
    }
    let world = World { env: &|_| None, files: false, now: 0, root: true };
    let mut reader = Reader::new(&world, &schema::ROOT);
    match toml::to_string(&tables) {
        Ok(text) => reader.read_all("tables", (text + "\n" + REST).into_bytes()),
        Err(error) => {
            let mut report = Report::default();
            let what = format!("no table of the file: {error}");
            report.whole_file("tables", what, "values that TOML has; it has no null".to_owned());
            return report.finish().0;
        }
    }
    let Reader { report, roots, .. } = reader;
    build(&world, report, &roots, true).err().unwrap_or_default()
}
