//! Tests of the access log over real files.

use super::*;
use core_model::config::{LogFormat, LogTarget};
use std::io::Read;

const WAIT: Duration = Duration::from_secs(20);

fn record<'a>(target: &'a [u8], agent: &'a [u8]) -> AccessRecord<'a> {
    AccessRecord {
        time_unix_ms: 1_709_210_096_007,
        client: [192, 0, 2, 7].into(),
        method: b"GET",
        scheme: "https",
        host: b"example.com",
        target,
        protocol: "HTTP/1.1",
        status: 502,
        bytes_out: 1234,
        bytes_in: 0,
        duration_us: 1500,
        upstream_us: Some(900),
        listener: "main",
        load_balancer: Some("example.com"),
        pool: Some("web"),
        origin: Some("a"),
        retries: 1,
        referer: None,
        user_agent: Some(agent),
        tls_version: Some("TLSv1.3"),
        tls_cipher: None,
        reason: Some("connection_refused"),
        fault: Some("origin"),
    }
}

fn json_of(record: &AccessRecord<'_>) -> serde_json::Value {
    let mut line = Vec::new();
    format::json(record, &mut line);
    assert_eq!(line.iter().filter(|b| b.is_ascii_control()).count(), 1, "only the line end");
    serde_json::from_slice(&line).unwrap()
}

fn combined_of(record: &AccessRecord<'_>) -> String {
    let mut line = Vec::new();
    format::combined(record, &mut line);
    String::from_utf8(line).unwrap()
}

#[test]
fn a_json_line_says_everything() {
    let line = json_of(&record(b"/a?b=c", b"curl/8"));
    let expect = serde_json::json!({
        "time": "2024-02-29T12:34:56.007Z", "client": "192.0.2.7", "method": "GET",
        "scheme": "https", "host": "example.com", "target": "/a?b=c", "protocol": "HTTP/1.1",
        "status": 502, "bytes_out": 1234, "bytes_in": 0, "duration_us": 1500, "upstream_us": 900,
        "listener": "main", "load_balancer": "example.com", "pool": "web", "origin": "a",
        "user_agent": "curl/8", "tls_version": "TLSv1.3", "reason": "connection_refused",
        "fault": "origin", "retries": 1,
    });
    assert_eq!(line, expect);
}

#[test]
fn a_combined_line_is_what_log_readers_expect() {
    assert_eq!(
        combined_of(&record(b"/a?b=c", b"curl/8")),
        "192.0.2.7 - - [29/Feb/2024:12:34:56 +0000] \"GET /a?b=c HTTP/1.1\" 502 1234 \"-\" \
         \"curl/8\"\n"
    );
}

/// Row 91: an agent with line ends and escape sequences writes neither lines nor a terminal.
#[test]
fn row_91_what_a_stranger_sends_cannot_forge_a_line() {
    for (agent, in_json, in_combined) in [
        (&b"a\nb"[..], "a\nb", "a\\x0Ab"),
        (b"a\x1b[31mb\x7f", "a\x1b[31mb\x7f", "a\\x1B[31mb\\x7F"),
        (b"\" 200 \"\\", "\" 200 \"\\", "\\x22 200 \\x22\\x5C"),
        (b"\xff\xfe\x80x", "\u{fffd}\u{fffd}\u{fffd}x", "\\xFF\\xFE\\x80x"),
        ("\u{202e}é".as_bytes(), "\u{202e}é", "\\xE2\\x80\\xAE\\xC3\\xA9"),
    ] {
        assert_eq!(json_of(&record(b"/", agent))["user_agent"], in_json, "{agent:?}");
        let line = combined_of(&record(b"/", agent));
        let end = format!(" \"-\" \"{in_combined}\"\n");
        assert!(line.ends_with(&end), "{line} should end with {end}");
        assert!(line.bytes().all(|b| b == b'\n' || (b' '..=b'~').contains(&b)));
    }
    let mut raw = Vec::new();
    format::json(&record(b"/", "\u{202e}".as_bytes()), &mut raw);
    assert!(String::from_utf8(raw).unwrap().contains("\\u202e"), "direction marks are escaped");
}

#[test]
fn a_value_is_cut_at_its_limit() {
    let long = vec![b'a'; VALUE_BYTES_MAX + 1];
    let line = json_of(&record(&long, b""));
    assert_eq!(line["target"].as_str().map(str::len), Some(VALUE_BYTES_MAX));
}

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("weir-log-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn config(path: PathBuf, buffer_lines: usize) -> config::AccessLog {
    config::AccessLog { target: LogTarget::File(path), format: LogFormat::Text, buffer_lines }
}

fn lines(path: &Path) -> usize {
    let mut text = String::new();
    File::open(path).unwrap().read_to_string(&mut text).unwrap();
    text.lines().count()
}

#[test]
fn every_line_reaches_the_file_and_a_rotated_file_is_let_go() {
    let scratch = Scratch::new("rotate");
    let (path, old) = (scratch.0.join("access.log"), scratch.0.join("access.log.1"));
    let live = Arc::new(LiveTable::new(1));
    let log = AccessLog::start(Some(&config(path.clone(), 10_000)), live.clone()).unwrap();
    let mut worker = log.worker();
    for _ in 0..2000 {
        worker.record(&record(b"/first", b"x"));
    }
    worker.tick();
    std::fs::rename(&path, &old).unwrap();
    log.reopen().unwrap();
    worker.record(&record(b"/second", b"x"));
    drop(worker);
    assert!(log.flush(WAIT));
    assert_eq!((lines(&old), lines(&path)), (2000, 1));
    assert_eq!(live.process.access_log_dropped.get(), 0);
}

#[test]
fn lines_beyond_the_buffer_are_dropped_and_counted() {
    let scratch = Scratch::new("drop");
    let path = scratch.0.join("access.log");
    let live = Arc::new(LiveTable::new(1));
    let log = AccessLog::start(Some(&config(path.clone(), 10)), live.clone()).unwrap();
    let mut worker = log.worker();
    for _ in 0..25 {
        worker.record(&record(b"/", b"x"));
    }
    drop(worker);
    assert!(log.flush(WAIT));
    assert_eq!(lines(&path), 10);
    assert_eq!(live.process.access_log_dropped.get(), 15);
}

#[test]
fn a_disk_that_takes_nothing_is_counted_and_the_buffer_is_free_again() {
    let live = Arc::new(LiveTable::new(1));
    let log = AccessLog::start(Some(&config("/dev/full".into(), 10)), live.clone()).unwrap();
    let mut worker = log.worker();
    for round in 1..=3 {
        for _ in 0..10 {
            worker.record(&record(b"/", b"x"));
        }
        worker.tick();
        assert!(log.flush(WAIT));
        assert_eq!(live.process.access_log_dropped.get(), round * 10);
    }
}

#[test]
fn off_writes_nothing_and_a_reload_turns_it_on() {
    let scratch = Scratch::new("off");
    let path = scratch.0.join("access.log");
    let log = AccessLog::start(None, Arc::new(LiveTable::new(1))).unwrap();
    let mut worker = log.worker();
    assert!(!worker.enabled());
    worker.record(&record(b"/", b"x"));
    log.reconfigure(Some(&config(path.clone(), 10))).unwrap();
    assert!(worker.enabled());
    worker.record(&record(b"/", b"x"));
    drop(worker);
    assert!(log.flush(WAIT));
    assert_eq!(lines(&path), 1);
}

#[test]
fn a_file_that_cannot_be_opened_is_named_and_the_former_one_stays() {
    let scratch = Scratch::new("open");
    let path = scratch.0.join("access.log");
    let log =
        AccessLog::start(Some(&config(path.clone(), 10)), Arc::new(LiveTable::new(1))).unwrap();
    let wrong = config(scratch.0.join("no/such/folder.log"), 10);
    let error = log.reconfigure(Some(&wrong)).unwrap_err().to_string();
    assert!(error.contains("no/such/folder.log"), "{error}");
    log.worker().record(&record(b"/", b"x"));
    assert!(log.flush(WAIT));
    assert_eq!(lines(&path), 1);
}
