//! Tests of the lines that `weir top` shows.

use super::*;

const STATUS: &str = r#"{
  "version": "1.2.3", "pid": 1, "phase": "serving", "generation": 7, "parent": 6,
  "uptime_s": 3700, "time_unix_ms": 1709210096000, "workers": 2, "reloads_applied": 6,
  "reloads_refused": 1, "panics": 0, "access_log_dropped": 0,
  "listeners": [{
    "name": "web", "address": "127.0.0.1:8080", "tls": false, "open": 12, "accepted": 20,
    "requests": 1234567, "replies": [0, 1, 0, 0, 0], "requests_per_s": 155.4, "errors_per_s": 0.0,
    "p50_ms": 3.21, "p99_ms": 1520.0, "bytes_in": 1, "bytes_out": 2, "limit_hits": {},
    "history": null
  }],
  "pools": [{
    "name": "shop", "enabled": true, "healthy": true, "monitor": "probe", "steering": "random",
    "healthy_origins": 1, "minimum_origins": 1, "in_flight": 3, "requests_per_s": 155.4,
    "origins": [{
      "name": "a", "address": "127.0.0.1:9001", "addresses": [], "weight": 1.0,
      "state": "healthy", "reason": "", "changed_s_ago": 3, "ejected_for_s": null,
      "in_flight": 3, "connections": 8, "idle": 5, "pending": 0, "requests": 10, "failures": 0,
      "requests_per_s": 155.4, "share": 1.0, "p50_ms": 1.5, "p99_ms": 4.0,
      "probe_rtt_ms": 0.8, "history": {"requests": [1, 2], "mean_ms": [1.0, null, 8.0]}
    }, {
      "name": "b", "address": "127.0.0.1:9002", "addresses": [], "weight": 1.0,
      "state": "unhealthy", "reason": "status \u001b[2J500", "changed_s_ago": 3,
      "ejected_for_s": null, "in_flight": 0, "connections": 0, "idle": 0, "pending": 0,
      "requests": 10, "failures": 4, "requests_per_s": 0.0, "share": 0.0, "p50_ms": null,
      "p99_ms": null, "probe_rtt_ms": null, "history": null
    }]
  }],
  "load_balancers": [],
  "events": [{"unix_ms": 1709210096000, "kind": "unhealthy", "text": "shop/b is unhealthy"}]
}"#;

fn status() -> Status {
    serde_json::from_str(STATUS).unwrap()
}

#[test]
fn a_frame_is_what_a_person_reads() {
    let look = Look { columns: 120, colours: false };
    let frame: Vec<_> =
        lines(&status(), &look).iter().map(|line| line.trim_end().to_owned()).collect();
    let expect = [
        "weir 1.2.3   serving   generation 7   up 1 h 1 min   2 workers   reloads 6, 1 refused",
        "",
        "LISTENER                                               req/s    5xx/s      p50      \
         p99     open    total",
        "web                    http 127.0.0.1:8080               155        0  3.21 ms    \
         1.5 s       12     1.2M",
        "",
        "POOL shop   degraded   1 of 2 origins   random   155 req/s",
        "  origin               state             req/s   flight    conns   failed      \
         p50      p99  share            latency",
        "  a                    ● healthy           155        3        8        0  1.50 ms  \
         4.00 ms  ██████████ 100%  ▂ █",
        "  b                    ■ unhealthy           0        0        0        4        -        \
         -  ░░░░░░░░░░   0%",
        "      status ?[2J500",
        "",
        "EVENTS (UTC)",
        "12:34:56  unhealthy  shop/b is unhealthy",
    ];
    assert_eq!(frame, expect);
}

#[test]
fn no_line_is_wider_than_the_terminal_and_nothing_of_a_stranger_steers_it() {
    for columns in [1, 10, 40, 80, 100, 132, 200] {
        for line in lines(&with_packets(), &Look { columns, colours: false }) {
            assert!(line.chars().count() <= columns.max(24), "{columns}: {line}");
            assert!(!line.contains('\x1b'), "{line:?}");
        }
    }
}

#[test]
fn colours_are_closed_on_their_line() {
    for line in lines(&with_packets(), &Look { columns: 140, colours: true }) {
        let opened = line.matches("\x1b[").count();
        assert_eq!(opened, 2 * line.matches("\x1b[0m").count(), "{line:?}");
    }
}

#[test]
fn a_line_of_blocks_has_gaps_and_a_top() {
    for (values, expect) in
        [(&[][..], ""), (&[Some(1.0), None, Some(8.0)], "▂ █"), (&[Some(0.0), Some(0.0)], "▁▁")]
    {
        assert_eq!(spark(values), expect);
    }
    assert_eq!(spark(&[Some(1.0); 60]).chars().count(), CHART_CELLS);
}

const PACKET: &str = r#"{
  "name": "main", "generation": 2, "table_hash": "00ff00ff00ff00ff", "server": 1,
  "servers_active": 1, "servers_draining": 1, "servers_dead": 0,
  "servers": [{"id": 1, "address": "192.0.2.1", "state": "active"},
              {"id": 2, "address": "192.0.2.2", "state": "draining"}],
  "interfaces": [{"name": "eth0", "mode": "native"}],
  "syn_cookies": [{"trafficset": "web", "mode": "auto"}],
  "packets_per_s": 1500.0, "drops_per_s": 12.5,
  "reasons": [
    {"reason": "not_vip", "verdict": "pass", "packets": 10, "bytes": 1000, "packets_per_s": 0.0},
    {"reason": "sent_first", "verdict": "send", "packets": 1234567, "bytes": 1,
     "packets_per_s": 1487.5},
    {"reason": "shield_rule", "verdict": "drop", "packets": 80, "bytes": 1, "packets_per_s": 12.5},
    {"reason": "no_server", "verdict": "drop", "packets": 0, "bytes": 0, "packets_per_s": 0.0}],
  "rules": [
    {"rule": "idle", "matched": {"packets": 0, "bytes": 0},
     "dropped": {"packets": 0, "bytes": 0}, "limited": {"packets": 0, "bytes": 0}},
    {"rule": "flood\u001b[2J", "matched": {"packets": 90, "bytes": 0},
     "dropped": {"packets": 80, "bytes": 0}, "limited": {"packets": 0, "bytes": 0}}]
}"#;

fn with_packets() -> Status {
    let text = STATUS.replacen(
        "\"load_balancers\"",
        &format!("\"packet\": {PACKET}, \"load_balancers\""),
        1,
    );
    serde_json::from_str(&text).unwrap()
}

#[test]
fn packets_are_told_with_the_busiest_reasons_first() {
    let look = Look { columns: 100, colours: false };
    let frame: Vec<_> =
        lines(&with_packets(), &look).iter().map(|line| line.trim_end().to_owned()).collect();
    let at = frame.iter().position(|line| line.starts_with("PACKETS")).unwrap();
    let expect = [
        "PACKETS main   attached   1500 packets/s   13 drops/s   eth0 native   generation 2   \
         table 00ff00ff…",
        "  reason                   verdict   packets/s    packets",
        "  sent_first               send           1488       1.2M",
        "  shield_rule              drop             13         80",
        "  not_vip                  pass              0         10",
        "  servers      1 active, 1 draining, 0 dead; this one is 1",
        "    draining   2 at 192.0.2.2",
        "  SYN cookies  web auto",
        "  shield rule                          matched    dropped  over rate",
        "  flood?[2J                                 90         80          0",
        "  idle                                       0          0          0",
    ];
    assert_eq!(frame[at..at + expect.len()], expect);
}

#[test]
fn an_edge_of_a_fleet_tells_how_it_stands() {
    use process_runtime::fleet::FleetStatus;
    let look = Look { columns: 100, colours: false };
    let current = FleetStatus {
        name: "edge-1".into(),
        connected: true,
        plane: "https://plane.test:8781".into(),
        generation: 7,
        published: 7,
        stale_s: 1.2,
        ..FleetStatus::default()
    };
    let behind = FleetStatus { published: 8, refusal: "no \u{1b}[2J".into(), ..current.clone() };
    let apart = FleetStatus { connected: false, trouble: "it is dead".into(), ..current.clone() };
    let plane = "https://plane.test:8781   published";
    for (fleet, expect) in [
        (
            current,
            vec![format!("CONTROL edge-1   current   {plane} 7   in force 7   known 1 s ago")],
        ),
        (
            behind,
            vec![
                format!("CONTROL edge-1   behind   {plane} 8   in force 7   known 1 s ago"),
                "  refused: no ?[2J".to_owned(),
            ],
        ),
        (
            apart,
            vec![
                format!("CONTROL edge-1   apart   {plane} 7   in force 7   known 1 s ago"),
                "  apart: it is dead".to_owned(),
            ],
        ),
    ] {
        let status = Status { control: Some(fleet), ..status() };
        let frame = lines(&status, &look);
        assert_eq!(frame.get(1..=expect.len()), Some(&expect[..]));
    }
}
