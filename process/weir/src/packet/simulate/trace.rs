//! Measured load from a file: `minute,server,load` a line, a header if any, minutes ascending.

use anyhow::{Context, bail, ensure};

/// Most lines: a fleet of 4,000 servers for a day of minutes, and 200 MB of memory.
const LINES_MAX: usize = 6_000_000;

/// Load of each server over time. A value holds until the next one of its server.
#[derive(Debug)]
pub(super) struct Trace {
    /// Minute, server, load.
    lines: Vec<(u64, u16, f64)>,
    next: usize,
    now: Vec<f64>,
}

impl Trace {
    /// Reads `text` for a fleet of `servers`.
    pub(super) fn parse(text: &str, servers: u16) -> anyhow::Result<Self> {
        let mut lines: Vec<(u64, u16, f64)> = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let number = index + 1;
            let is_header = index == 0 && line.starts_with(|c: char| c.is_ascii_alphabetic());
            if line.trim().is_empty() || is_header {
                continue;
            }
            let (minute, server, load) = row(line).with_context(|| format!("line {number}"))?;
            if server == 0 || server > servers {
                bail!("line {number}: server {server}, of a fleet of 1 to {servers}");
            }
            let late = lines.last().is_some_and(|(last, ..)| *last > minute);
            ensure!(!late, "line {number}: minute {minute} comes after a later one");
            ensure!(lines.len() < LINES_MAX, "more than {LINES_MAX} lines: take fewer minutes");
            lines.push((minute, server, load));
        }
        ensure!(!lines.is_empty(), "no line of minute, server and load");
        Ok(Self { lines, next: 0, now: vec![1.0; usize::from(servers) + 1] })
    }

    /// The load of each server at an even share, by id, at `minute`; time only goes forward.
    pub(super) fn at(&mut self, minute: u64) -> &[f64] {
        while let Some((from, server, load)) = self.lines.get(self.next).copied() {
            if from > minute {
                break;
            }
            if let Some(now) = self.now.get_mut(usize::from(server)) {
                *now = load;
            }
            self.next += 1;
        }
        &self.now
    }
}

fn row(line: &str) -> anyhow::Result<(u64, u16, f64)> {
    let words: Vec<&str> = line.split(',').map(str::trim).collect();
    let [minute, server, load] = words[..] else { bail!("`{line}` is not minute,server,load") };
    let minute = minute.parse().with_context(|| format!("minute `{minute}`"))?;
    let server = server.parse().with_context(|| format!("server `{server}`"))?;
    let load: f64 = load.parse().with_context(|| format!("load `{load}`"))?;
    ensure!(load.is_finite() && (0.0..=1e9).contains(&load), "load {load} is not within 0..=1e9");
    Ok((minute, server, load))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_holds_until_the_next_one() {
        let text = "minute,server,load\n0,1,0.5\n0, 2, 2\n\n10,1,0.75\n";
        let mut trace = Trace::parse(text, 3).unwrap();
        assert_eq!(trace.at(0)[1..], [0.5, 2.0, 1.0]);
        assert_eq!(trace.at(9)[1..], [0.5, 2.0, 1.0]);
        assert_eq!(trace.at(10)[1..], [0.75, 2.0, 1.0]);
    }

    #[test]
    fn a_wrong_line_is_named() {
        for (text, says) in [
            ("", "no line"),
            ("minute,server,load\n", "no line"),
            ("0,1,1\n0,4,1", "line 2: server 4"),
            ("5,1,1\n4,1,1", "line 2: minute 4"),
            ("0,1", "line 1"),
            ("0,1,much", "load `much`"),
            ("0,1,-1", "not within"),
            ("0,1,NaN", "not within"),
        ] {
            let error = format!("{:#}", Trace::parse(text, 3).unwrap_err());
            assert!(error.contains(says), "{text:?}: {error}");
        }
    }
}
