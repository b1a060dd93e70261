//! Tests of the exposition format: a strict reader of its own, and promtool where it is installed.

use super::*;
use crate::live::LiveTable;
use crate::packets::{
    Amount, PacketInterface, PacketServer, PacketSource, PacketStatus, ReasonCount, RuleCount,
};
use crate::status::fixture;
use arc_swap::ArcSwap;
use core_model::Snapshot;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::process::{Command, Stdio};

fn source() -> Arc<StatusSource> {
    let snapshot = Arc::new(ArcSwap::from_pointee(Snapshot::first(fixture::config())));
    let source = StatusSource::new(Arc::new(LiveTable::new(2)), snapshot, "1.2.3");
    let web = source.live().listener(&"web".into());
    for (worker, us) in [(0, 200), (1, 700), (1, 40_000_000)] {
        web.shard(worker).latency.record(us);
        web.shard(worker).replies[1].inc();
    }
    source.set_packets(Some(Arc::new(Packets(Ok(())))));
    source
}

/// A packet path with a number of each kind, or one that cannot be read.
#[derive(Debug)]
struct Packets(Result<(), String>);

impl PacketSource for Packets {
    fn read(&self) -> Result<PacketStatus, String> {
        self.0.clone()?;
        let amount = Amount { packets: 7, bytes: 700 };
        Ok(PacketStatus {
            generation: 3,
            table_hash: "00ff00ff00ff00ff".into(),
            servers_draining: 2,
            interfaces: vec![PacketInterface { name: "eth0".into(), mode: "native".into() }],
            servers: vec![PacketServer {
                id: 2,
                address: "192.0.2.2".into(),
                state: "draining".into(),
            }],
            reasons: self.reasons()?,
            rules: vec![RuleCount {
                rule: "flood".into(),
                dropped: amount,
                ..RuleCount::default()
            }],
            ..PacketStatus::default()
        })
    }

    fn reasons(&self) -> Result<Vec<ReasonCount>, String> {
        self.0.clone()?;
        let amount = Amount { packets: 7, bytes: 700 };
        let (reason, verdict) = ("not_vip".into(), "pass".into());
        Ok(vec![ReasonCount { reason, verdict, amount, ..ReasonCount::default() }])
    }

    fn shield(&self) -> Result<serde_json::Value, String> {
        Err("not asked here".to_owned())
    }
}

/// Series by name and labels, families by name with their kind.
#[derive(Default)]
struct Parsed {
    series: BTreeMap<String, f64>,
    families: BTreeMap<String, String>,
}

/// Reads the text format strictly: HELP and TYPE before the samples, samples of a family
/// together, names and escapes valid, no series twice.
fn parse(text: &str) -> Result<Parsed, String> {
    let mut parsed = Parsed::default();
    let mut current = (String::new(), String::new());
    let mut help = String::new();
    if !text.ends_with('\n') {
        return Err("the last line has no end".into());
    }
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, says) = rest.split_once(' ').ok_or("HELP without text")?;
            if says.is_empty() {
                return Err(format!("{name}: empty HELP"));
            }
            help = name.to_owned();
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').ok_or("TYPE without kind")?;
            if help != name || !["counter", "gauge", "histogram"].contains(&kind) {
                return Err(format!("{name}: HELP is of {help}, kind {kind}"));
            }
            if parsed.families.insert(name.to_owned(), kind.to_owned()).is_some() {
                return Err(format!("{name}: family comes twice"));
            }
            current = (name.to_owned(), kind.to_owned());
        } else {
            let (series, value) = line.rsplit_once(' ').ok_or("sample without value")?;
            let name = series_name(series)?;
            let (family, kind) = &current;
            let suffix = name.strip_prefix(family.as_str()).unwrap_or("?");
            let fits = match kind.as_str() {
                "histogram" => ["_bucket", "_sum", "_count"].contains(&suffix),
                "counter" => suffix.is_empty() && name.ends_with("_total"),
                _ => suffix.is_empty() && !name.ends_with("_total"),
            };
            if !fits {
                return Err(format!("{series} does not belong to {kind} {family}"));
            }
            let value = value.parse().map_err(|_| format!("{series}: value {value}"))?;
            if parsed.series.insert(series.to_owned(), value).is_some() {
                return Err(format!("{series} comes twice"));
            }
        }
    }
    Ok(parsed)
}

/// The metric's name, once the labels are known to be well formed.
fn series_name(series: &str) -> Result<&str, String> {
    let word = |text: &str| {
        let mut bytes = text.bytes();
        bytes.next().is_some_and(|b| b.is_ascii_lowercase())
            && bytes.all(|b| b == b'_' || b.is_ascii_lowercase() || b.is_ascii_digit())
    };
    let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
    let mut rest = labels.strip_suffix('}').ok_or(format!("{series}: no closing brace"))?;
    if !word(name) {
        return Err(format!("{series}: name"));
    }
    while !rest.is_empty() {
        let (label, after) = rest.split_once("=\"").ok_or(format!("{series}: label"))?;
        if !word(label) {
            return Err(format!("{series}: label {label}"));
        }
        let mut escaped = false;
        let end = after.find(|c| {
            let closes = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            closes
        });
        let end = end.ok_or(format!("{series}: no closing quote"))?;
        rest = &after[end + 1..];
        rest = rest.strip_prefix(',').unwrap_or(rest);
    }
    Ok(name)
}

#[test]
fn the_reader_of_these_tests_refuses_what_is_wrong() {
    let head = "# HELP a_total x\n# TYPE a_total counter\n";
    assert!(parse(&format!("{head}a_total{{l=\"\\\"\"}} 1\n")).is_ok());
    for wrong in
        ["a 1\n", "a_total{l=\"x} 1\n", "a_total 1\na_total 1\n", "b_total 1\n", "a_total 1"]
    {
        assert!(parse(&format!("{head}{wrong}")).is_err(), "{wrong}");
    }
}

#[test]
fn the_text_is_valid_and_labels_are_escaped() {
    let parsed = parse(&encode(&source())).unwrap();
    for (series, value) in [
        ("weir_build_info{version=\"1.2.3\"}", 1.0),
        ("weir_config_generation", 1.0),
        ("weir_requests_total{listener=\"web\",code_class=\"2xx\"}", 3.0),
        ("weir_origin_up{pool=\"shop\",origin=\"b \\\"2\\\"\"}", 0.0),
        ("weir_limit_hits_total{listener=\"web\",limit=\"uri_bytes\"}", 0.0),
        ("weir_pool_healthy_origins{pool=\"shop\"}", 0.0),
        ("weir_packet_up", 1.0),
        ("weir_packet_generation", 3.0),
        ("weir_packet_table_info{hash=\"00ff00ff00ff00ff\"}", 1.0),
        ("weir_packet_servers{state=\"draining\"}", 2.0),
        ("weir_packet_server_state{server=\"2\",state=\"draining\"}", 1.0),
        ("weir_packet_interface_info{interface=\"eth0\",mode=\"native\"}", 1.0),
        ("weir_packet_packets_total{reason=\"not_vip\",verdict=\"pass\"}", 7.0),
        ("weir_packet_bytes_total{reason=\"not_vip\",verdict=\"pass\"}", 700.0),
        ("weir_packet_rule_packets_total{rule=\"flood\",result=\"dropped\"}", 7.0),
        ("weir_packet_rule_bytes_total{rule=\"flood\",result=\"matched\"}", 0.0),
    ] {
        assert_eq!(parsed.series.get(series), Some(&value), "{series}");
    }
    assert!(parsed.series["process_resident_memory_bytes"] > 1e6);
    assert!(parsed.series["process_open_fds"] >= 3.0);
    assert!(parsed.series["process_cpu_seconds_total"] > 0.0);
}

#[test]
fn a_packet_path_that_cannot_be_read_is_down_and_one_that_is_not_there_is_silent() {
    let source = source();
    let up = |source: &StatusSource| {
        let parsed = parse(&encode(source)).unwrap();
        let counted = parsed.series.keys().any(|name| name.starts_with("weir_packet_packets"));
        (parsed.series.get("weir_packet_up").copied(), counted)
    };
    assert_eq!(up(&source), (Some(1.0), true));
    source.set_packets(Some(Arc::new(Packets(Err("gone".into())))));
    assert_eq!(up(&source), (Some(0.0), false));
    source.set_packets(None);
    assert_eq!(up(&source), (None, false));
}

#[test]
fn buckets_are_cumulative_and_end_with_the_count() {
    let parsed = parse(&encode(&source())).unwrap();
    let bucket = |le: &str| {
        let series =
            format!("weir_request_duration_seconds_bucket{{listener=\"web\",le=\"{le}\"}}");
        parsed.series.get(&series).copied().unwrap_or_else(|| panic!("{series}"))
    };
    let read = [bucket("0.00025"), bucket("0.0005"), bucket("0.001"), bucket("30"), bucket("+Inf")];
    assert_eq!(read, [1.0, 1.0, 2.0, 2.0, 3.0]);
    assert_eq!(parsed.series["weir_request_duration_seconds_count{listener=\"web\"}"], 3.0);
    let sum = parsed.series["weir_request_duration_seconds_sum{listener=\"web\"}"];
    assert!((sum - 40.0009).abs() < 1e-9, "{sum}");
}

/// Row 91: what is measured of a stranger's request never becomes a label.
#[test]
fn row_91_labels_come_from_the_configuration_only() {
    let text = encode(&source());
    let mut labels = BTreeSet::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        for part in line.split(['{', ',']).skip(1) {
            labels.extend(part.split_once("=\"").map(|(label, _)| label));
        }
    }
    let requests =
        ["breaker", "class", "code_class", "le", "limit", "listener", "origin", "pool", "result"];
    let packets = ["hash", "interface", "mode", "reason", "rule", "server", "state", "verdict"];
    let known = requests.into_iter().chain(packets).chain(["side", "version"]);
    assert_eq!(labels, BTreeSet::from_iter(known));
}

#[test]
fn the_documentation_names_every_family_and_no_other() {
    let document = include_str!("../../../../docs/operating/metrics.md");
    let row = |line: &'static str| line.strip_prefix("| `")?.split_once('`').map(|(name, _)| name);
    let told: BTreeSet<_> = document.lines().filter_map(row).map(str::to_owned).collect();
    let parsed = parse(&encode(&source())).unwrap();
    assert_eq!(told, parsed.families.into_keys().collect());
}

#[test]
fn promtool_finds_nothing_to_mend() {
    let check = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut check) = check else { return };
    check.stdin.take().unwrap().write_all(encode(&source()).as_bytes()).unwrap();
    let done = check.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success(), "{told}");
    assert_eq!(told, "");
}
