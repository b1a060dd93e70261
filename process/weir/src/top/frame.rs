//! The lines of one frame of `weir top`, from a status alone.

mod fleet;
mod packets;

use process_runtime::status::{
    Event, ListenerStatus, OriginState, OriginStatus, Phase, PoolStatus, Status,
};

/// Events shown.
const EVENTS_SHOWN: usize = 12;

/// Cells of a share's bar and of a latency's line.
const CHART_CELLS: usize = 10;

const STEPS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// How a frame looks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    /// Columns; longer lines are cut.
    pub(super) columns: usize,
    /// Whether the terminal's colours are used.
    pub(super) colours: bool,
}

impl Look {
    fn paint(&self, code: &str, text: &str) -> String {
        if self.colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// Bold.
    fn strong(&self, text: &str) -> String {
        self.paint("1", text)
    }

    /// Dim.
    pub(super) fn soft(&self, text: &str) -> String {
        self.paint("2", text)
    }

    /// A line of its own in red, cut to fit.
    pub(super) fn alarm(&self, text: &str) -> String {
        self.paint("1;31", &cut(&clean(text), self.columns))
    }
}

/// The lines of a frame.
pub(super) fn lines(status: &Status, look: &Look) -> Vec<String> {
    let mut out = vec![title(status, look)];
    out.extend(status.control.iter().flat_map(|control| fleet::lines(control, look)));
    out.extend([String::new(), listener_head(look)]);
    out.extend(status.listeners.iter().map(|l| listener(l, look)));
    for pool in &status.pools {
        out.push(String::new());
        out.push(pool_title(pool, look));
        out.push(origin_head(look));
        out.extend(pool.origins.iter().flat_map(|o| origin(o, look)));
    }
    if let Some(packet) = &status.packet {
        out.push(String::new());
        out.extend(packets::lines(packet, look));
    }
    if !status.events.is_empty() {
        out.push(String::new());
        out.push(look.soft("EVENTS (UTC)"));
        out.extend(status.events.iter().take(EVENTS_SHOWN).map(|e| event(e, look)));
    }
    out
}

fn title(status: &Status, look: &Look) -> String {
    let (colour, phase) = match status.phase {
        Phase::Starting => ("33", "starting"),
        Phase::Serving => ("32", "serving"),
        Phase::Draining => ("33", "draining"),
    };
    let refused = match status.reloads_refused {
        0 => String::new(),
        n => format!(", {n} refused"),
    };
    let rest = format!(
        "generation {}   up {}   {} workers   reloads {}{refused}",
        status.generation,
        span(status.uptime_s),
        status.workers,
        status.reloads_applied,
    );
    let name = format!("weir {}", clean(&status.version));
    let room = look.columns.saturating_sub(name.chars().count() + phase.len() + 6);
    format!("{}   {}   {}", look.strong(&name), look.paint(colour, phase), cut(&rest, room))
}

fn listener_head(look: &Look) -> String {
    let cells = ["req/s", "5xx/s", "p50", "p99", "open", "total"];
    look.soft(&row("LISTENER", "", Second::Address, &cells, look.columns))
}

fn listener(l: &ListenerStatus, look: &Look) -> String {
    let scheme = if l.tls { "https" } else { "http" };
    let cells = [
        rate(l.requests_per_s),
        rate(l.errors_per_s),
        ms(l.p50_ms),
        ms(l.p99_ms),
        count(l.open),
        count(l.requests),
    ];
    let cells = cells.each_ref().map(String::as_str);
    row(
        &clean(&l.name),
        &format!("{scheme} {}", clean(&l.address)),
        Second::Address,
        &cells,
        look.columns,
    )
}

fn pool_title(p: &PoolStatus, look: &Look) -> String {
    let used = p.origins.iter().filter(|o| o.state != OriginState::Disabled).count();
    let (colour, word) = match (p.enabled, p.healthy, p.healthy_origins < used) {
        (false, _, _) => ("2", "disabled"),
        (true, false, _) => ("31", "down"),
        (true, true, true) => ("33", "degraded"),
        (true, true, false) => ("32", "healthy"),
    };
    let rest = format!(
        "{} of {used} origins   {}   {} req/s",
        p.healthy_origins,
        clean(&p.steering),
        rate(p.requests_per_s)
    );
    let name = cut(&format!("POOL {}", clean(&p.name)), look.columns.saturating_sub(12));
    let room = look.columns.saturating_sub(name.chars().count() + word.len() + 6);
    format!("{}   {}   {}", look.strong(&name), look.paint(colour, word), cut(&rest, room))
}

const ORIGIN_CELLS: [&str; 6] = ["req/s", "flight", "conns", "failed", "p50", "p99"];

fn origin_head(look: &Look) -> String {
    let charts = match look.columns >= WIDE_COLUMNS {
        true => format!("  {:15}  {}", "share", "latency"),
        false => String::new(),
    };
    let cells = row("  origin", "state", Second::State, &ORIGIN_CELLS, look.columns);
    look.soft(&cut(&(cells + &charts), look.columns))
}

fn origin(o: &OriginStatus, look: &Look) -> Vec<String> {
    let cells = [
        rate(o.requests_per_s),
        count(o.in_flight.into()),
        count(o.connections.into()),
        count(o.failures),
        ms(o.p50_ms),
        ms(o.p99_ms),
    ];
    let cells = cells.each_ref().map(String::as_str);
    let (sign, colour, word) = state(o.state);
    let marked = format!("{sign} {word}");
    let line = row(&format!("  {}", clean(&o.name)), &marked, Second::State, &cells, look.columns);
    let latency = o.history.as_ref().map_or(&[][..], |h| &h.mean_ms);
    let charts = match look.columns >= WIDE_COLUMNS {
        true => format!("  {} {:>3}%  {}", bar(o.share), percent(o.share), spark(latency)),
        false => String::new(),
    };
    let line = cut(&(line + &charts), look.columns);
    // Painted last: escapes have no width.
    let mut lines = vec![line.replacen(&marked, &look.paint(colour, &marked), 1)];
    let why = match (o.state, o.ejected_for_s) {
        (OriginState::Ejected, Some(left)) => format!("{} left: {}", span(left), o.reason),
        (OriginState::Unhealthy, _) => o.reason.clone(),
        _ => String::new(),
    };
    if !why.is_empty() {
        lines.push(look.soft(&cut(&format!("      {}", clean(&why)), look.columns)));
    }
    lines
}

fn state(state: OriginState) -> (char, &'static str, &'static str) {
    match state {
        OriginState::Healthy => ('●', "32", "healthy"),
        OriginState::Unmonitored => ('●', "32", "no monitor"),
        OriginState::Unhealthy => ('■', "31", "unhealthy"),
        OriginState::Ejected => ('▲', "33", "ejected"),
        OriginState::Unknown => ('○', "2", "not probed"),
        OriginState::Disabled => ('○', "2", "disabled"),
    }
}

fn event(e: &Event, look: &Look) -> String {
    let seconds = e.unix_ms / 1000;
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    let line =
        format!("{hour:02}:{minute:02}:{second:02}  {:<10} {}", clean(&e.kind), clean(&e.text));
    cut(&line, look.columns)
}

/// What the second column holds.
#[derive(Clone, Copy)]
enum Second {
    Address,
    State,
}

/// From this width on the columns are roomy and the charts fit.
const WIDE_COLUMNS: usize = 110;

/// A name, a second text and numbers to the right, in columns that fit `columns`.
fn row(name: &str, second: &str, kind: Second, cells: &[&str], columns: usize) -> String {
    let (name_width, second_width, cell_width) = match (columns >= WIDE_COLUMNS, kind) {
        (true, Second::Address) => (22, 28, 8),
        (true, Second::State) => (22, 14, 8),
        (false, Second::Address) => (11, 20, 7),
        (false, Second::State) => (18, 13, 7),
    };
    let mut line = fit(name, name_width);
    line.push(' ');
    line.push_str(&fit(second, second_width));
    for cell in cells {
        line.push_str(&format!(" {:>cell_width$}", cut(cell, cell_width)));
    }
    cut(&line, columns)
}

/// Exactly `width` characters: cut or filled up.
fn fit(text: &str, width: usize) -> String {
    format!("{:<width$}", cut(text, width))
}

/// At most `width` characters; a cut one ends with `…`.
fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept = text.chars().take(width.saturating_sub(1));
    kept.chain((width > 0).then_some('…')).collect()
}

/// Without characters that steer a terminal: reasons hold what an origin said.
fn clean(text: &str) -> String {
    let steers = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{feff}' | '\u{2028}'..='\u{202e}')
            || matches!(c, '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if steers(c) { '?' } else { c }).collect()
}

fn percent(share: f64) -> u32 {
    (share.clamp(0.0, 1.0) * 100.0).round() as u32
}

fn bar(share: f64) -> String {
    let full = (share.clamp(0.0, 1.0) * CHART_CELLS as f64).round() as usize;
    "█".repeat(full) + &"░".repeat(CHART_CELLS.saturating_sub(full))
}

/// The last seconds as a line of blocks; a second without a value is a gap.
fn spark(values: &[Option<f32>]) -> String {
    let last = values.get(values.len().saturating_sub(CHART_CELLS)..).unwrap_or_default();
    let top = last.iter().flatten().fold(0.0_f32, |top, v| top.max(*v));
    let step = |value: &Option<f32>| match value {
        None => ' ',
        Some(v) if top > 0.0 => {
            let index = (v / top * 7.0).round() as usize;
            STEPS.get(index).copied().unwrap_or('█')
        }
        Some(_) => '▁',
    };
    last.iter().map(step).collect()
}

fn rate(value: f64) -> String {
    if value == 0.0 {
        "0".to_owned()
    } else if value < 10.0 {
        format!("{value:.1}")
    } else {
        count(value.round() as u64)
    }
}

fn count(n: u64) -> String {
    if n < 10_000 {
        return n.to_string();
    }
    let (mut value, mut unit) = (n as f64, ' ');
    for next in ['k', 'M', 'G', 'T'] {
        if value < 1000.0 {
            break;
        }
        (value, unit) = (value / 1000.0, next);
    }
    if value < 100.0 { format!("{value:.1}{unit}") } else { format!("{value:.0}{unit}") }
}

fn ms(value: Option<f64>) -> String {
    match value {
        None => "-".to_owned(),
        Some(v) if v < 10.0 => format!("{v:.2} ms"),
        Some(v) if v < 1000.0 => format!("{v:.0} ms"),
        Some(v) => format!("{:.1} s", v / 1000.0),
    }
}

fn span(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

#[cfg(test)]
mod tests;
