//! What the operator log writes, how it escapes, and how it bounds itself.

use super::*;

fn lines(logger: Logger<Vec<u8>>) -> Vec<String> {
    let sink = logger.state.into_inner().unwrap().sink;
    String::from_utf8(sink).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn text_names_time_level_event_and_fields() {
    let time = Duration::from_millis(1_795_244_400_123);
    let fields: [Field<'_>; 3] = [("file", &"/etc/weir.toml"), ("line", &7), ("found", &"a b\"")];
    assert_eq!(
        text_line(Some(time), Level::Warn, "reload_refused", &"the old one serves", &fields),
        "2026-11-21T07:00:00.123Z WARN  reload_refused: the old one serves \
         file=/etc/weir.toml line=7 found=\"a b\\\"\"\n"
    );
    assert_eq!(text_line(None, Level::Error, "x", &"y", &[]), "<3>x: y\n");
}

#[test]
fn dates_follow_the_calendar() {
    let check = |seconds: u64, expect: &str| {
        assert_eq!(Rfc3339(Duration::from_secs(seconds)).to_string(), expect);
    };
    check(0, "1970-01-01T00:00:00.000Z");
    check(951_782_399, "2000-02-28T23:59:59.000Z");
    check(951_782_400, "2000-02-29T00:00:00.000Z");
    check(1_704_067_199, "2023-12-31T23:59:59.000Z");
    check(4_107_542_400, "2100-03-01T00:00:00.000Z");
}

/// Row 91: a value from a stranger starts no line, moves no cursor and turns no direction.
#[test]
fn row_91_control_characters_are_escaped() {
    let hostile = "a\nb\r\u{1b}[2J\u{7f}\u{85}\u{202e}\u{2028}\0é";
    let text = text_line(None, Level::Info, "e", &hostile, &[("ua", &hostile)]);
    let json = json_line(Duration::ZERO, Level::Info, "e", &hostile, &[("ua", &hostile)]);
    for line in [&text, &json] {
        assert_eq!(line.matches('\n').count(), 1, "{line:?}");
        assert!(!line.trim_end().chars().any(is_treacherous), "{line:?}");
        assert!(line.contains('é'), "{line:?}");
    }
    assert!(text.contains("a\\nb\\r\\u{1b}[2J\\u{7f}\\u{85}\\u{202e}"), "{text}");
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(value["ua"], hostile);
    assert_eq!(value["message"], hostile);
}

#[test]
fn a_value_is_cut_at_its_limit() {
    let long = "é".repeat(VALUE_BYTES_MAX);
    let line = text_line(None, Level::Info, "e", &long, &[]);
    assert!(line.len() < VALUE_BYTES_MAX + 40 && line.ends_with("…(cut)\n"), "{}", line.len());
}

#[test]
fn level_and_format_change_at_run_time() {
    let logger = Logger::new(Vec::new(), false);
    logger.event(Level::Debug, "hidden", &"", &[]);
    logger.configure(Level::Debug, Format::Json);
    logger.event(Level::Debug, "seen", &"m", &[("n", &1)]);
    logger.configure(Level::Error, Format::Text);
    logger.event(Level::Warn, "hidden", &"", &[]);
    let lines = lines(logger);
    assert_eq!(lines.len(), 1, "{lines:?}");
    let value: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
    assert_eq!(value["event"], "seen");
    assert_eq!(value["level"], "debug");
    assert_eq!(value["n"], "1");
}

#[test]
fn a_flood_of_one_name_is_bounded_and_counted() {
    let logger = Logger::new(Vec::new(), false);
    for _ in 0..EVENTS_PER_WINDOW + 5 {
        logger.event(Level::Warn, "flood", &"again", &[]);
    }
    logger.event(Level::Info, "other", &"still heard", &[]);
    let lines = lines(logger);
    assert_eq!(lines.iter().filter(|l| l.contains("flood")).count(), EVENTS_PER_WINDOW as usize);
    assert!(lines.iter().any(|l| l.contains("other: still heard")));
}

#[test]
fn what_was_left_out_is_told_when_the_window_is_over() {
    let mut bound = RateBound::default();
    let admitted = (0..30).filter(|_| bound.admit("flood", Duration::ZERO)).count();
    assert_eq!(admitted, EVENTS_PER_WINDOW as usize);
    assert!(bound.expired(WINDOW - Duration::from_millis(1)).is_empty());
    assert_eq!(bound.expired(WINDOW), [("flood", 10)]);
    assert!(bound.admit("flood", WINDOW));
    assert!(bound.expired(2 * WINDOW).is_empty());
}
