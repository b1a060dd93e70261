//! The operator log: rare, structured events on standard error, as text for people or JSON lines.
//!
//! It tells what happened, where, and what to do about it. Requests are the access log's business;
//! a failure that can happen once per request may be told here, because every event name is
//! bounded to [`EVENTS_PER_WINDOW`] lines in [`WINDOW`] and says how many were left out.
//! Values may come from strangers: whatever a terminal or a log reader could take for control
//! is escaped.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Write as _};
use std::io::{self, Write};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use core_model::config::{LogFormat, LogLevel};

/// Lines of one event name within one [`WINDOW`]; enough to see a pattern, too few to fill a disk.
pub const EVENTS_PER_WINDOW: u32 = 20;

/// How long the count of an event name lasts: an operator who looks sees a fresh line by then.
pub const WINDOW: Duration = Duration::from_secs(10);

/// Bytes of one value; a path or a TLS error fits, a request head that slipped in does not.
pub const VALUE_BYTES_MAX: usize = 2048;

/// How grave an event is; a lower one is told only when the level asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Level {
    /// Something does not work and will not by itself.
    Error = 0,
    /// Something is not as configured, and serving goes on.
    Warn = 1,
    /// A change of state that an operator looks for.
    Info = 2,
    /// What helps to find a fault.
    Debug = 3,
}

impl Level {
    /// The name as the configuration file and the log write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }

    /// The priority of syslog(3), as the journal reads it from a `<N>` prefix.
    fn syslog_priority(self) -> u8 {
        match self {
            Self::Error => 3,
            Self::Warn => 4,
            Self::Info => 6,
            Self::Debug => 7,
        }
    }
}

/// The form of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Format {
    /// `TIME LEVEL name: message key=value …`, for people.
    Text = 0,
    /// One JSON object per line, for programs.
    Json = 1,
}

impl From<LogLevel> for Level {
    fn from(configured: LogLevel) -> Self {
        match configured {
            LogLevel::Error => Self::Error,
            LogLevel::Warn => Self::Warn,
            LogLevel::Info => Self::Info,
            LogLevel::Debug => Self::Debug,
        }
    }
}

impl From<LogFormat> for Format {
    fn from(configured: LogFormat) -> Self {
        match configured {
            LogFormat::Text => Self::Text,
            LogFormat::Json => Self::Json,
        }
    }
}

/// A named value of an event.
pub type Field<'a> = (&'a str, &'a dyn Display);

static LOGGER: LazyLock<Logger<io::Stderr>> = LazyLock::new(|| {
    let logger = Logger::new(io::stderr(), stderr_is_journal());
    logger.configure(Level::Info, Format::Text);
    logger
});

/// Sets level and format of every later event; a reload may call it at any time.
pub fn configure(level: Level, format: Format) {
    LOGGER.configure(level, format);
}

/// Whether an event of that level would be written: spares the work of preparing its values.
pub fn enabled(level: Level) -> bool {
    LOGGER.enabled(level)
}

/// Tells an event. `name` is stable, for searching and alerting; `message` says what happened and
/// what to do; `fields` say where. A standard error that cannot be written to is ignored: there is
/// nobody left to tell.
pub fn event(level: Level, name: &'static str, message: impl Display, fields: &[Field<'_>]) {
    LOGGER.event(level, name, &message, fields);
}

/// [`event`] at [`Level::Error`].
pub fn error(name: &'static str, message: impl Display, fields: &[Field<'_>]) {
    event(Level::Error, name, message, fields);
}

/// [`event`] at [`Level::Warn`].
pub fn warn(name: &'static str, message: impl Display, fields: &[Field<'_>]) {
    event(Level::Warn, name, message, fields);
}

/// [`event`] at [`Level::Info`].
pub fn info(name: &'static str, message: impl Display, fields: &[Field<'_>]) {
    event(Level::Info, name, message, fields);
}

/// [`event`] at [`Level::Debug`].
pub fn debug(name: &'static str, message: impl Display, fields: &[Field<'_>]) {
    event(Level::Debug, name, message, fields);
}

/// Whether standard error is the journal's stream (systemd.exec(5), `JOURNAL_STREAM`): it stamps
/// the time itself and reads the priority from a prefix.
fn stderr_is_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    let Ok(stat) = rustix::fs::fstat(io::stderr()) else { return false };
    stream == format!("{}:{}", stat.st_dev, stat.st_ino)
}

/// A log with a sink of its own; the functions of this module use the one on standard error.
#[derive(Debug)]
pub struct Logger<W> {
    level: AtomicU8,
    format: AtomicU8,
    journal: bool,
    start: Instant,
    state: Mutex<State<W>>,
}

#[derive(Debug)]
struct State<W> {
    sink: W,
    bound: RateBound,
}

impl<W: Write> Logger<W> {
    /// A log that writes to `sink`, at level info, as text. `journal` leaves the time to the
    /// journal and marks the priority for it.
    pub fn new(sink: W, journal: bool) -> Self {
        Self {
            level: AtomicU8::new(Level::Info as u8),
            format: AtomicU8::new(Format::Text as u8),
            journal,
            start: Instant::now(),
            state: Mutex::new(State { sink, bound: RateBound::default() }),
        }
    }

    /// Sets level and format of every later event.
    pub fn configure(&self, level: Level, format: Format) {
        self.level.store(level as u8, Ordering::Relaxed);
        self.format.store(format as u8, Ordering::Relaxed);
    }

    /// Whether an event of that level would be written.
    pub fn enabled(&self, level: Level) -> bool {
        level as u8 <= self.level.load(Ordering::Relaxed)
    }

    /// Tells an event; see [`event`].
    pub fn event(
        &self,
        level: Level,
        name: &'static str,
        message: &dyn Display,
        fields: &[Field<'_>],
    ) {
        if !self.enabled(level) {
            return;
        }
        // Rendered outside the lock: a `Display` that panics must not leave the log locked.
        let line = self.render(level, name, message, fields);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.start.elapsed();
        for (told, count) in state.bound.expired(now) {
            let left_out: Field<'_> = ("suppressed", &count);
            let message = "more events of this name were left out";
            let line = self.render(Level::Warn, told, &message, &[left_out]);
            let _ = state.sink.write_all(line.as_bytes());
        }
        if state.bound.admit(name, now) {
            let _ = state.sink.write_all(line.as_bytes());
        }
    }

    fn render(
        &self,
        level: Level,
        name: &str,
        message: &dyn Display,
        fields: &[Field<'_>],
    ) -> String {
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        match self.format.load(Ordering::Relaxed) {
            json if json == Format::Json as u8 => json_line(time, level, name, message, fields),
            _ => text_line((!self.journal).then_some(time), level, name, message, fields),
        }
    }
}

/// Counts the lines of each event name. Names are literals of the program, so the map is as large
/// as the program has events.
#[derive(Debug, Default)]
struct RateBound {
    windows: BTreeMap<&'static str, Window>,
}

#[derive(Debug)]
struct Window {
    opened: Duration,
    written: u32,
    suppressed: u64,
}

impl RateBound {
    /// Whether one more line of that name may be written at `now` (time since any fixed point).
    fn admit(&mut self, name: &'static str, now: Duration) -> bool {
        let fresh = Window { opened: now, written: 0, suppressed: 0 };
        let window = self.windows.entry(name).or_insert(fresh);
        let admitted = window.written < EVENTS_PER_WINDOW;
        if admitted {
            window.written += 1;
        } else {
            window.suppressed += 1;
        }
        admitted
    }

    /// Closes the windows that are over and gives those that left lines out, with how many.
    fn expired(&mut self, now: Duration) -> Vec<(&'static str, u64)> {
        let mut left_out = Vec::new();
        self.windows.retain(|name, window| {
            let over = now.saturating_sub(window.opened) >= WINDOW;
            if over && window.suppressed > 0 {
                left_out.push((*name, window.suppressed));
            }
            !over
        });
        left_out
    }
}

/// One line of text; without a time it is for the journal and starts with the priority.
fn text_line(
    time: Option<Duration>,
    level: Level,
    name: &str,
    message: &dyn Display,
    fields: &[Field<'_>],
) -> String {
    let mut line = match time {
        Some(time) => format!("{} {:<5} ", Rfc3339(time), level.name().to_ascii_uppercase()),
        None => format!("<{}>", level.syslog_priority()),
    };
    line.push_str(name);
    line.push_str(": ");
    escape_text(&bounded(message), &mut line);
    for (key, value) in fields {
        let value = bounded(value);
        let plain = |c: char| !c.is_whitespace() && !matches!(c, '"' | '=' | '\\');
        let bare = !value.is_empty() && value.chars().all(plain);
        let quote = if bare { "" } else { "\"" };
        let _ = write!(line, " {key}={quote}");
        if bare {
            escape_text(&value, &mut line);
        } else {
            escape_text(&value.replace('\\', "\\\\").replace('"', "\\\""), &mut line);
        }
        line.push_str(quote);
    }
    line.push('\n');
    line
}

/// One JSON object: `time`, `level`, `event`, `message`, then the fields as strings.
fn json_line(
    time: Duration,
    level: Level,
    name: &str,
    message: &dyn Display,
    fields: &[Field<'_>],
) -> String {
    let mut line = format!("{{\"time\":\"{}\",\"level\":\"{}\"", Rfc3339(time), level.name());
    line.push_str(",\"event\":");
    quote_json(name, &mut line);
    line.push_str(",\"message\":");
    quote_json(&bounded(message), &mut line);
    for (key, value) in fields {
        line.push(',');
        quote_json(key, &mut line);
        line.push(':');
        quote_json(&bounded(value), &mut line);
    }
    line.push_str("}\n");
    line
}

/// The value as text, cut at [`VALUE_BYTES_MAX`] with a mark that says so.
fn bounded(value: &dyn Display) -> String {
    let mut text = value.to_string();
    if text.len() > VALUE_BYTES_MAX {
        text.truncate(text.floor_char_boundary(VALUE_BYTES_MAX));
        text.push_str("…(cut)");
    }
    text
}

/// Characters that move a cursor, end a line, or turn the direction of what follows.
pub(crate) fn is_treacherous(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{feff}')
        || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn escape_text(value: &str, out: &mut String) {
    for c in value.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if is_treacherous(c) => {
                let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
            }
            c => out.push(c),
        }
    }
}

fn quote_json(value: &str, out: &mut String) {
    out.push('"');
    for c in value.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            // All of them lie in the basic plane, so four digits do.
            c if is_treacherous(c) => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// A time since 1970-01-01T00:00:00Z, shown as RFC 3339 with milliseconds in UTC.
struct Rfc3339(Duration);

impl Display for Rfc3339 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let (year, month, day) = civil(seconds / 86_400);
        let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
        let milli = self.0.subsec_millis();
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
    }
}

/// Year, month and day of a count of days since 1970-01-01, in the Gregorian calendar. Years are
/// counted from March, so that the leap day is the last of its year.
pub(crate) fn civil(days: u64) -> (u64, u64, u64) {
    // Days from 0000-03-01 to 1970-01-01; an era is 400 years.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let leaps = day_of_era / 1460 + day_of_era / 146_096;
    let year_of_era = (day_of_era + day_of_era / 36_524 - leaps) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests;
