//! The packet path: one row for each fault, what right values become, and how changes are told.

use super::super::{diff, load_in};
use super::{BASE, Folder, read, repository, right, shown, world};
use core_model::config::packet::{
    AttachMode, Dissector, Encapsulation, Fragments, PacketConfig, Per, Protocols, QuicRouting,
    ServerId, ServerState, SessionId, ShieldAction, Strategy, SynCookies, Transport, UdpMode,
};
use core_model::defaults;

const KEY: &str = "000102030405060708090a0b0c0d0e0f";

/// Right: two servers, no trafficset. 13 lines.
const FLEET: &str = r#"[packet]
interfaces = ["eth0"]
address = "192.0.2.1"
hash_key = "000102030405060708090a0b0c0d0e0f"
[[server]]
id = 1
address = "192.0.2.1"
[[server]]
id = 2
address = "192.0.2.2"
[[trafficset]]
name = "base"
prefixes = ["198.51.100.0/24"]
"#;

/// Exactly one fault, at this place and path, saying this.
#[track_caller]
fn check(text: &str, place: &str, path: &str, says: &str) {
    let faults = read(text).expect_err(text);
    assert_eq!(faults.len(), 1, "{}\n{text}", shown(&faults));
    let fault = &faults[0];
    assert_eq!(fault.place.to_string(), format!("t.toml:{place}"), "{fault}\n{text}");
    assert_eq!(fault.place.path, path, "{fault}\n{text}");
    assert!(fault.to_string().contains(says), "{fault}\n{text}");
}

/// As `check`, in `[packet]`: a line of it in place of the same key, or the key added.
#[track_caller]
fn in_packet(line: &str, path: &str, says: &str) {
    let key = line.split(' ').next().unwrap();
    let old = FLEET.lines().take(4).find(|old| old.split(' ').next() == Some(key));
    let (text, number) = match old {
        Some(old) => (FLEET.replacen(old, line, 1), FLEET.lines().position(|l| l == old).unwrap()),
        None => (FLEET.replacen("[packet]", &format!("[packet]\n{line}"), 1), 1),
    };
    let column = line.find("= ").unwrap() + 3;
    let column = if path.ends_with(']') { column + 1 } else { column };
    check(&text, &format!("{}:{column}", number + 1), &format!("packet.{path}"), says);
}

/// As `check`, in a third server that has an id and address otherwise.
#[track_caller]
fn in_server(text: &str, place: &str, path: &str, says: &str) {
    check(&format!("{FLEET}[[server]]\n{text}"), place, &format!("server[2].{path}"), says);
}

/// As `check`, in a second trafficset that has a name; its keys begin in line 16.
#[track_caller]
fn in_set(text: &str, place: &str, path: &str, says: &str) {
    let text = format!("{FLEET}[[trafficset]]\nname = \"x\"\n{text}");
    check(&text, place, &format!("trafficset[1]{path}"), says);
}

/// As `in_set`, with a prefix in line 16; its other keys begin in line 17.
#[track_caller]
fn in_web(text: &str, place: &str, path: &str, says: &str) {
    in_set(&format!("prefixes = [\"203.0.113.0/24\"]\n{text}"), place, path, says);
}

/// As `check`, in a rule that has a name; its keys begin in line 16.
#[track_caller]
fn in_rule(text: &str, place: &str, path: &str, says: &str) {
    let text = format!("{FLEET}[[shield_rule]]\nname = \"x\"\n{text}");
    check(&text, place, &format!("shield_rule[0]{path}"), says);
}

/// As `in_rule`, with `action = "drop"` in line 16.
#[track_caller]
fn in_drop(text: &str, place: &str, path: &str, says: &str) {
    in_rule(&format!("action = \"drop\"\n{text}"), place, path, says);
}

fn packet(text: &str) -> PacketConfig {
    right(text).config.packet.expect("there is a packet path")
}

#[test]
fn the_packet_path_as_a_whole() {
    in_packet("interfaces = []", "interfaces", "found 0 entries");
    in_packet("interfaces = [\"a/b\"]", "interfaces[0]", "such as eth0");
    in_packet("interfaces = [\"e\", \"e\"]", "interfaces", "`e` is there twice");
    in_packet("address = \"192.0.2.9\"", "address", "no [[server]] has the address `192.0.2.9`");
    in_packet("address = \"192.0.2.9\"", "address", "valid: 192.0.2.1, 192.0.2.2");
    in_packet("address = \"192.0.2.1/32\"", "address", "an IP address");
    in_packet("address = \"127.0.0.1\"", "address", "is not the address of one server");
    in_packet("address = \"224.0.0.1\"", "address", "is not the address of one server");
    in_packet("address = \"fe80::1\"", "address", "is not the address of one server");
    in_packet("address = \"::ffff:192.0.2.1\"", "address", "valid: 192.0.2.1");
    in_packet("name = \"a.b\"", "name", "1 to 64 letters, digits, `_` and `-`");
    in_packet("port = 0", "port", "1..=65535");
    in_packet("port = 19524", "port", "the port of GUE and of FOU");
    in_packet("fou_port = 19523", "fou_port", "the port of GUE and of FOU");
    in_packet("mtu = 1279", "mtu", "1280..=9216");
    in_packet("mode = \"generic\"", "mode", "\"native\", \"generic-unsafe\"");
    in_packet("netns = \"app\"", "netns", "`app` is not an absolute path");
    in_packet("reverse_path = \"loose\"", "reverse_path", "\"off\", \"strict\"");
    in_packet("too_big_rate = 0", "too_big_rate", "out of range");
    in_packet("trie_entries_max = 1", "trie_entries_max", "1024..=16777216");
    in_packet("port_rows_max = 1", "port_rows_max", "out of range");
    in_packet("buckets_max = 65535", "buckets_max", "have 65536 buckets");
    in_packet("buckets_max = 65535", "buckets_max", "valid: buckets_max = 65536");
    let second = |more: &str| {
        let text = FLEET.replacen("[packet]", "[packet]\nbuckets_max = 65536", 1);
        format!("{text}[[trafficset]]\nname = \"x\"\nprefixes = [\"203.0.113.0/24\"]\n{more}")
    };
    // Tables of the same servers are one.
    assert_eq!(packet(&second("")).capacities.buckets, 65_536);
    check(&second("servers = [1]"), "2:15", "packet.buckets_max", "have 131072 buckets");
    let text = FLEET.replacen("address", "addres", 1);
    let faults = shown(&read(&text).unwrap_err());
    assert!(faults.contains("did you mean `address`?"), "{faults}");
    assert!(faults.contains("packet: `address` is missing"), "{faults}");
    check("[packet]\n[packet]\n", "2:2", "", "not TOML");
    for (kind, text) in [
        ("server", "id = 1\naddress = \"192.0.2.1\""),
        ("trafficset", "name = \"x\"\nprefixes = [\"192.0.2.1\"]"),
        ("shield_rule", "name = \"x\"\naction = \"drop\""),
    ] {
        let path = format!("{kind}[0]");
        let text = format!("[[{kind}]]\n{text}\n");
        let says = format!("a [[{kind}]] has no effect without [packet]");
        // A trafficset has the faults of its own servers, which are not there.
        check(&text, "1:1", &path, &says);
    }
}

#[test]
fn the_key_of_the_flow_hash() {
    let says = "this value is not valid here";
    in_packet("hash_key = \"0001\"", "hash_key", says);
    in_packet("hash_key = \"00000000000000000000000000000000\"", "hash_key", "not all alike");
    let almost = "000102030405060708090a0b0c0d0e0g";
    let faults = read(&FLEET.replace(KEY, almost)).unwrap_err();
    assert!(!shown(&faults).contains(&almost[..8]), "{}", shown(&faults));
    let without = FLEET.replace(&format!("hash_key = \"{KEY}\"\n"), "");
    check(&without, "1:1", "packet", "nothing about the key");
    let file = |name: &str| {
        FLEET.replace(&format!("hash_key = \"{KEY}\""), &format!("hash_key_file = \"{name}\""))
    };
    check(&file("none.key"), "4:17", "packet.hash_key_file", "no such file");
    let both = format!("hash_key = \"{KEY}\"\nhash_key_file = \"x\"");
    let text = FLEET.replace(&format!("hash_key = \"{KEY}\""), &both);
    check(&text, "4:12", "packet.hash_key", "exclude each other");

    let folder = Folder::new();
    folder.write("weir.toml", file("packet.key"));
    for (content, right) in [
        (format!("{KEY}\n"), true),
        (KEY.to_owned(), true),
        (format!("{KEY}0"), false),
        ("0".repeat(32), false),
        (format!(" {KEY}"), false),
    ] {
        folder.write("packet.key", &content);
        match folder.load("weir.toml") {
            Ok(loaded) => {
                assert!(right, "{content:?}");
                let packet = loaded.config.packet.unwrap();
                assert_eq!(packet.hash_key.octets()[15], 15);
                assert!(loaded.files.iter().any(|file| file.ends_with("packet.key")));
                assert!(!format!("{packet:?}").contains(KEY));
            }
            Err(faults) => {
                assert!(!right, "{}", shown(&faults));
                assert!(shown(&faults).contains("packet.key holds no key"), "{}", shown(&faults));
                assert!(!shown(&faults).contains(&KEY[..8]), "{}", shown(&faults));
            }
        }
    }
}

#[test]
fn servers() {
    in_server("id = 0\naddress = \"192.0.2.3\"", "15:6", "id", "1..=4095");
    in_server("id = 4096\naddress = \"192.0.2.3\"", "15:6", "id", "1..=4095");
    in_server("id = 2\naddress = \"192.0.2.3\"", "15:6", "id", "stands at t.toml:9:6 already");
    let at = "stands at t.toml:10:11 already";
    in_server("id = 3\naddress = \"192.0.2.2\"", "16:11", "address", at);
    let family = "`2001:db8::1` is of another family than packet.address";
    in_server("id = 3\naddress = \"2001:db8::1\"", "16:11", "address", family);
    let valid = "such as 192.0.2.1";
    in_server("id = 3\naddress = \"0.0.0.0\"", "16:11", "address", valid);
    let third = "id = 3\naddress = \"192.0.2.3\"\n";
    in_server(&format!("{third}capacity = 0"), "17:12", "capacity", "out of range");
    in_server(&format!("{third}state = \"drainig\""), "17:9", "state", "did you mean `draining`?");
    let at = "link_address";
    in_server(&format!("{third}{at} = \"01:00:5e:00:00:01\""), "17:16", at, "of one machine");
    check(&format!("{FLEET}[[server]]\nid = 3"), "14:1", "server[2]", "`address` is missing");
}

#[test]
fn prefixes() {
    let at = ".prefixes[0]";
    in_set("prefixes = []", "16:12", ".prefixes", "found 0 entries");
    let says = "`203.0.113.7/24` has bits behind its prefix";
    in_set("prefixes = [\"203.0.113.7/24\"]", "16:13", at, says);
    let says = "valid: 203.0.113.0/24, or 203.0.113.7/32";
    in_set("prefixes = [\"203.0.113.7/24\"]", "16:13", at, says);
    let says = "valid: 2001:db8::/32, or 2001:db8:1::/128";
    in_set("prefixes = [\"2001:db8:1::/32\"]", "16:13", at, says);
    in_set("prefixes = [\"::ffff:1.2.3.0/120\"]", "16:13", at, "valid: 1.2.3.0/24");
    in_set("prefixes = [\"203.0.113.0/33\"]", "16:13", at, "an IP address or prefix");
    let says = "::/80 holds every IPv4 address too";
    in_set("prefixes = [\"::/80\"]", "16:12", ".prefixes", says);
    let twice = "prefixes = [\"192.0.3.1\", \"192.0.3.1/32\"]";
    in_set(twice, "16:26", ".prefixes[1]", "192.0.3.1/32 stands at t.toml:16:13 already");
}

#[test]
fn trafficsets() {
    in_web("protocols = []", "17:13", ".protocols", "found 0 entries");
    in_web("protocols = [\"tcp\", \"tcp\"]", "17:13", ".protocols", "each protocol once");
    in_web("protocols = [\"sctp\"]", "17:14", ".protocols[0]", "\"tcp\", \"udp\"");
    in_web("ports = [\"99999\"]", "17:10", ".ports[0]", "such as 443 or 8000-8999");
    in_web("ports = [\"9-8\"]", "17:10", ".ports[0]", "such as 443 or 8000-8999");
    let text = "ports = [\"443\", \"400-500\"]";
    in_web(text, "17:10", ".ports[0]", "`443` and `400-500` have ports in common");
    in_web("servers = [1, 3]", "17:15", ".servers[1]", "no [[server]] with the id `3`");
    in_web("servers = [1, 3]", "17:15", ".servers[1]", "valid: 1, 2");
    in_web("servers = [2, 2]", "17:15", ".servers[1]", "the server `2` stands in the list twice");
    in_web("servers = [0]", "17:12", ".servers[0]", "1..=4095");
    in_web("strategy = \"ecmp\"", "17:12", ".strategy", "\"two-slot\", \"maglev\"");
    in_web("buckets = 65537", "17:11", ".buckets", "`65537` is no power of two");
    in_web("buckets = 65537", "17:11", ".buckets", "valid: buckets = 131072");
    in_web("buckets = 128", "17:11", ".buckets", "`128` buckets are too few for 2 servers");
    in_web("buckets = 128", "17:11", ".buckets", "valid: buckets = 256");
    let maglev = |length: u32| format!("strategy = \"maglev\"\nbuckets = {length}");
    in_web(&maglev(65_536), "18:11", ".buckets", "`65536` is no prime");
    in_web(&maglev(65_536), "18:11", ".buckets", "valid: buckets = 65537");
    in_web(&maglev(65_538), "18:11", ".buckets", "valid: buckets = 65539");
    in_web(&maglev(65_521), "18:11", ".buckets", "`65521` is below 65537");
    for word in ["fou", "ipip"] {
        let text = format!("encapsulation = \"{word}\"");
        in_web(&text, "17:17", ".encapsulation", "no room for the second hop");
    }
    let text = "fragments = \"by-address\"\nports = [\"443\"]";
    in_web(text, "17:13", ".fragments", "fragments have no ports");
    in_web("quic = {}", "17:1", ".quic", "no effect with dissector = \"4-tuple\"");
    in_web("session = {}", "17:1", ".session", "no effect with dissector = \"4-tuple\"");
    let quic = |text: &str| format!("dissector = \"quic\"\n{text}");
    in_web(&quic("session = {}"), "18:1", ".session", "no effect with dissector = \"quic\"");
    in_web(&quic("quic = { config_id = 7 }"), "18:22", ".quic.config_id", "0..=6");
    let text = quic("quic = { server_id_length = 8, nonce_length = 12 }");
    in_web(&text, "18:47", ".quic.nonce_length", "the connection id has 21 octets");
    in_web(&text, "18:47", ".quic.nonce_length", "valid: at most 11");
    let text = "dissector = \"session-id\"\nsession = { offset = 128 }";
    in_web(text, "18:22", ".session.offset", "0..=127");
    let tcp = |text: &str| format!("protocols = [\"tcp\"]\n{text}");
    in_web(&tcp("udp = \"flow\""), "18:7", ".udp", "no effect without UDP");
    in_web(&tcp("dissector = \"quic\""), "18:13", ".dissector", "no effect without UDP");
    let text = "protocols = [\"udp\"]\nsyn_cookies = \"on\"";
    in_web(text, "18:15", ".syn_cookies", "no effect without TCP");
    let text = FLEET.to_owned() + "[[trafficset]]\nname = \"base\"\nprefixes = [\"203.0.113.1\"]";
    check(&text, "15:8", "trafficset[1].name", "`base` stands at t.toml:12:8 already");
}

#[test]
fn many_servers_need_many_buckets() {
    let servers = |count: u32| {
        let server = |n: u32| {
            format!("[[server]]\nid = {n}\naddress = \"10.0.{}.{}\"\n", n / 250, n % 250 + 1)
        };
        (3..=count).map(server).collect::<String>()
    };
    let text = format!("{FLEET}{}", servers(655));
    assert_eq!(packet(&text).servers.len(), 655);
    let text = format!("{FLEET}{}", servers(656));
    let says = "`65536` buckets are too few for 656 servers: each needs 100";
    check(&text, "11:1", "trafficset[0].buckets", says);
    let text = text.replace("name = \"base\"", "name = \"base\"\nstrategy = \"maglev\"");
    check(&text, "11:1", "trafficset[0].buckets", "valid: buckets = 65609");
    let text = format!("{FLEET}dissector = \"quic\"\nquic = {{ server_id_length = 1 }}\n");
    let text = format!("{text}{}", servers(256));
    let says = "one octet does not hold the server id `256`";
    check(&text, "15:29", "trafficset[0].quic.server_id_length", says);
}

#[test]
fn trafficsets_share_no_port_of_a_prefix() {
    let says = "trafficset `x` and trafficset `base` (t.toml:13:13) both have tcp every port of \
                198.51.100.0/24";
    in_set("prefixes = [\"198.51.100.0/24\"]", "16:13", ".prefixes[0]", says);
    let says = "both have udp 53-60 of 198.51.100.0/24";
    let text = "prefixes = [\"198.51.100.0/24\"]\nprotocols = [\"udp\"]\nports = [\"53-60\"]";
    in_set(text, "16:13", ".prefixes[0]", says);
    let pair = |one: &str, other: &str| {
        let text = FLEET.replace("198.51.100.0/24\"]", &format!("198.51.100.0/24\"]\n{one}"));
        format!("{text}[[trafficset]]\nname = \"x\"\nprefixes = [\"198.51.100.0/24\"]\n{other}")
    };
    for (one, other, expect) in [
        ("ports = [\"1-9\", \"20\"]", "ports = [\"10-19\"]", None),
        ("ports = [\"1-9\", \"20\"]", "ports = [\"10-20\"]", Some("tcp 20 of")),
        ("ports = [\"10-19\"]", "ports = [\"1-12\"]", Some("tcp 10-12 of")),
        ("ports = [\"10-19\"]", "ports = [\"12-14\"]", Some("tcp 12-14 of")),
        ("ports = [\"10-19\"]", "ports = [\"1-30\"]", Some("tcp 10-19 of")),
        ("protocols = [\"tcp\"]", "protocols = [\"udp\"]", None),
    ] {
        let text = pair(one, other);
        match expect {
            None => assert_eq!(packet(&text).trafficsets.len(), 2),
            Some(says) => {
                let line = if text.contains("x\"\nprefixes") { 17 } else { 16 };
                check(&text, &format!("{line}:13"), "trafficset[1].prefixes[0]", says);
            }
        }
    }
    // A longer prefix within is another matter: it wins.
    let text = format!("{FLEET}[[trafficset]]\nname = \"x\"\nprefixes = [\"198.51.100.7\"]\n");
    assert_eq!(packet(&text).trafficsets.len(), 2);
}

#[test]
fn servers_are_no_vips() {
    let set = |text: &str| format!("{FLEET}[[trafficset]]\nname = \"x\"\n{text}");
    for (text, says) in [
        ("prefixes = [\"192.0.2.2\"]", "UDP port 19523 of server `2` (192.0.2.2) is a VIP"),
        ("prefixes = [\"192.0.0.0/16\"]\nports = [\"19524\"]", "UDP port 19524 of server `1`"),
        ("prefixes = [\"0.0.0.0/0\"]", "trafficset `x` (t.toml:16:13)"),
    ] {
        let faults = read(&set(text)).expect_err(text);
        assert!(shown(&faults).contains(says), "{}", shown(&faults));
        assert!(faults.iter().all(|fault| fault.place.path == "packet"), "{}", shown(&faults));
    }
    for text in [
        "prefixes = [\"192.0.2.2\"]\nports = [\"443\"]",
        "prefixes = [\"192.0.2.2\"]\nprotocols = [\"tcp\"]",
        "prefixes = [\"2000::/3\"]",
    ] {
        assert_eq!(packet(&set(text)).trafficsets.len(), 2, "{text}");
    }
}

#[test]
fn rules_of_the_shield() {
    in_rule("", "14:1", "", "`action` is missing");
    in_rule("action = \"reject\"", "16:10", ".action", "\"drop\", \"pass\", \"limit\"");
    let says = "has bits behind its prefix";
    in_drop("source = [\"10.0.0.1/8\"]", "17:11", ".source[0]", says);
    let text = "source = [\"10.0.0.0/8\"]\ndestination = [\"2001:db8::/32\"]";
    in_drop(text, "18:15", ".destination", "of different families");
    in_drop("protocol = \"256\"", "17:12", ".protocol", "or a number 0 to 255");
    in_drop("protocol = \"tpc\"", "17:12", ".protocol", "tcp, udp, icmp");
    let text = "protocol = \"icmp\"\nsource_ports = [\"53\"]";
    in_drop(text, "18:16", ".source_ports", "a protocol that has no ports");
    let text = "protocol = \"udp\"\ntcp_flags = { set = [\"syn\"] }";
    in_drop(text, "18:1", ".tcp_flags", "no effect without protocol = \"tcp\"");
    let tcp = |flags: &str| format!("protocol = \"tcp\"\ntcp_flags = {flags}");
    in_drop(&tcp("{}"), "18:1", ".tcp_flags", "it names no flag");
    in_drop(&tcp("{ set = [\"syn\"], clear = [\"syn\"] }"), "18:1", ".tcp_flags", "both in `set`");
    in_drop(&tcp("{ set = [\"sny\"] }"), "18:22", ".tcp_flags.set[0]", "did you mean `syn`?");
    in_drop("length = \"70000\"", "17:10", ".length", "octets 0 to 65535");
    in_drop("ttl = \"256\"", "17:7", ".ttl", "0 to 255");
    let payload = |text: &str| format!("payload = {{ {text} }}");
    in_drop("payload = {}", "17:11", ".payload", "`bytes` is missing");
    in_drop(&payload("bytes = \"0\""), "17:21", ".payload.bytes", "two for each octet");
    let long = format!("bytes = \"{}\"", "00".repeat(17));
    in_drop(&payload(&long), "17:21", ".payload.bytes", "17 octets");
    let at = ".payload.mask";
    in_drop(&payload("bytes = \"00\", mask = \"0000\""), "17:34", at, "2 octets beside 1");
    in_drop(&payload("bytes = \"00\", mask = \"00\""), "17:34", at, "no bit that is compared");
    let at = ".payload.bytes";
    in_drop(&payload("bytes = \"03\", mask = \"01\""), "17:21", at, "bits that `mask` has not");
    let text = payload("bytes = \"03\", offset = 1024");
    in_drop(&text, "17:36", ".payload.offset", "0..=1023");
    in_drop("per = \"source\"", "17:7", ".per", "no effect with action = \"drop\"");
    in_rule("action = \"limit\"", "16:10", ".action", "`limit` without a rate");
    let text = "action = \"limit\"\nbytes_per_second = 1_000_000_000\nburst = \"5s\"";
    in_rule(text, "18:9", ".burst", "`5s` of this rate is more than 4294967295");
    let text = "action = \"limit\"\nbytes_per_second = 5_000_000_000";
    in_rule(text, "14:1", ".burst", "a shorter burst");
    let many: Vec<String> = (0..1_025).map(|n| format!("\"{}\"", n * 2)).collect();
    let text = format!("source_ports = [{}]", many.join(","));
    in_drop(&text, "17:16", ".source_ports", "found 1025 entries");
    let two = "action = \"drop\"\n[[shield_rule]]\nname = \"x\"\naction = \"drop\"";
    let text = format!("{FLEET}[[shield_rule]]\nname = \"x\"\n{two}");
    check(&text, "18:8", "shield_rule[1].name", "`x` stands at t.toml:15:8 already");
}

#[test]
fn every_fault_is_told_at_once() {
    let text = "[packet]\ninterfaces = []\nport = 0\nhash_key = \"x\"\naddress = \"y\"\n\
                [[server]]\nid = 0\n[[trafficset]]\nname = \"x\"\nprefixes = [\"1.2.3.4/8\"]\n\
                buckets = 1\n[[shield_rule]]\nname = \"x\"\nttl = \"300\"\n";
    let faults = read(text).unwrap_err();
    let lines: Vec<u32> = faults.iter().map(|fault| fault.place.line).collect();
    assert_eq!(lines, [2, 3, 4, 5, 6, 7, 10, 11, 12, 14], "{}", shown(&faults));
}

#[test]
fn the_least_file_has_the_defaults() {
    let loaded = right(FLEET);
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    let packet = loaded.config.packet.unwrap();
    assert_eq!(packet.self_id, ServerId::new(1).unwrap());
    assert_eq!(packet.name.as_ref(), "default");
    assert_eq!((packet.port, packet.fou_port), (19_523, 19_524));
    assert_eq!((packet.mtu, packet.mode, packet.overhead()), (1_500, AttachMode::Native, 40));
    assert_eq!(packet.capacities.buckets, defaults::PACKET_BUCKETS);
    assert_eq!(packet.server(ServerId::new(2).unwrap()).unwrap().capacity, 100);
    let set = &packet.trafficsets[0];
    assert_eq!((set.protocols, set.ports.len()), (Protocols::TcpAndUdp, 0));
    assert_eq!(set.strategy, Strategy::TwoSlot { buckets: 65_536 });
    assert_eq!((set.udp, set.fragments), (UdpMode::Flow, Fragments::Drop));
    assert_eq!((set.servers.len(), set.syn_cookies), (2, SynCookies::Off));
    assert_eq!(right(BASE).config.packet, None);
    assert!(right(&format!("{FLEET}{BASE}")).config.packet.is_some());
}

#[test]
fn values_arrive() {
    let text = FLEET.replace("[[trafficset]]", "state = \"draining\"\n[[trafficset]]")
        + r#"
        ports = ["8001", "443", "8000", "8002-8999"]
        strategy = "maglev"
        encapsulation = "ipip"
        dissector = "quic"
        udp = "datagram"
        servers = [2, 1]
        [[trafficset]]
        name = "vpn"
        prefixes = ["2001:db8::/32", "203.0.113.0/24"]
        protocols = ["udp"]
        dissector = "session-id"
        session = { length = 8 }
        fragments = "by-address"
        [[shield_rule]]
        name = "limit"
        source_ports = ["53"]
        action = "limit"
        packets_per_second = 10
        per = "destination"
        [[shield_rule]]
        name = "syn"
        protocol = "tcp"
        tcp_flags = { set = ["syn"], clear = ["ack", "rst"] }
        ttl = "1-9"
        payload = { offset = 2, bytes = "0aFF", mask = "0fff" }
        action = "pass"
    "#;
    let packet = packet(&text);
    assert_eq!(packet.servers[1].state, ServerState::Draining);
    let [web, vpn] = packet.trafficsets.as_slice() else { panic!("{packet:?}") };
    assert_eq!(web.ports.iter().map(ToString::to_string).collect::<Vec<_>>(), ["443", "8000-8999"]);
    let encapsulation = Encapsulation::IpIp;
    assert_eq!(web.strategy, Strategy::Maglev { entries: 65_537, encapsulation });
    let quic = QuicRouting { config_id: 0, server_id_length: 2, nonce_length: 6 };
    assert_eq!((web.dissector, quic.id_length()), (Dissector::Quic(quic), 9));
    assert_eq!(web.servers.iter().map(|id| id.get()).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(vpn.dissector, Dissector::SessionId(SessionId { offset: 4, length: 8 }));
    assert_eq!(vpn.prefixes[0].to_string(), "203.0.113.0/24");
    let [limit, syn] = packet.shield_rules.as_slice() else { panic!("{packet:?}") };
    assert!(matches!(limit.matches.transport, Transport::Ported(_)));
    let ShieldAction::Limit(rate) = limit.action else { panic!("{limit:?}") };
    assert_eq!((rate.packets_per_second.unwrap().get(), rate.per), (10, Per::Destination));
    let flags = syn.matches.transport.flags().unwrap();
    assert_eq!((flags.set(), flags.clear()), (2, 20));
    let payload = syn.matches.payload.as_ref().unwrap();
    assert_eq!((payload.offset(), payload.octets()), (2, [(10, 15), (255, 255)].as_slice()));
    assert_eq!(syn.matches.ttl.unwrap().last(), 9);
}

#[test]
fn what_is_likely_not_meant_is_a_warning() {
    let check = |text: &str, says: &str| {
        let warnings = right(text).warnings;
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].to_string().contains(says), "{}", warnings[0]);
    };
    let none = FLEET.split("[[trafficset]]").next().unwrap();
    check(none, "there is no [[trafficset]]");
    let idle = FLEET.replace("id = 1\n", "id = 1\nstate = \"dead\"\n");
    let idle = idle.replace("id = 2\n", "id = 2\nstate = \"draining\"\n");
    check(&idle, "no server of it is active");
}

#[test]
fn the_same_file_is_another_server_elsewhere() {
    let text = std::fs::read_to_string(repository().join("examples/packet.toml")).unwrap();
    for (address, id) in [("192.0.2.1", 1), ("192.0.2.3", 3)] {
        let env = |name: &str| (name == "WEIR_ADDRESS").then(|| address.to_owned());
        let loaded = load_in("t.toml", text.clone().into_bytes(), &world(&env)).unwrap();
        assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
        assert_eq!(loaded.config.packet.unwrap().self_id.get(), id);
    }
}

#[test]
fn changes_are_told_without_the_key() {
    let told = |old: &str, new: &str| -> Vec<String> {
        let changes = diff(&right(old).config, &right(new).config);
        changes.iter().map(ToString::to_string).collect()
    };
    let rule = "[[shield_rule]]\nname = \"r\"\naction = \"drop\"\n";
    assert_eq!(told(FLEET, FLEET), [""; 0]);
    assert_eq!(told(FLEET, &format!("{FLEET}{rule}")), ["+ shield_rule r"]);
    let new = FLEET.replace("id = 2\n", "id = 2\nstate = \"draining\"\n");
    assert_eq!(told(FLEET, &new), ["~ server 2\n    state: Active -> Draining"]);
    let new = FLEET.replace("100.0/24\"]", "100.0/24\"]\nports = [\"443\"]");
    assert_eq!(told(FLEET, &new), ["~ trafficset base\n    ports: [] -> [443]"]);
    assert_eq!(
        told(BASE, &format!("{FLEET}{BASE}")),
        ["+ packet (needs a restart)", "+ server 1", "+ server 2", "+ trafficset base"]
    );
    let key = told(FLEET, &FLEET.replace(KEY, "0123456789abcdef0123456789abcdef")).remove(0);
    assert!(key.contains("hash_key: (hidden, sha256 "), "{key}");
    assert!(!key.contains("00010203") && !key.contains("01234567"), "{key}");
}
