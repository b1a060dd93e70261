//! The result: a table for people, JSON for comparisons over time.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::row::Goal;

/// Two figures within this share count as equal.
const EQUAL: f64 = 0.05;

/// One line of the table: a figure of every peer.
#[derive(Clone, Debug)]
pub struct Line {
    /// The row's name, with the figure's where it has several.
    pub name: String,
    /// What the row does.
    pub says: &'static str,
    /// Unit of the figures.
    pub unit: &'static str,
    /// What Weir shall reach.
    pub goal: Goal,
    /// Figure by peer, smaller is better.
    pub figures: BTreeMap<&'static str, f64>,
    /// Every round by peer, for the JSON.
    pub rounds: BTreeMap<&'static str, Vec<Value>>,
    /// Requests that got no reply, by all peers.
    pub failed: u64,
    /// Why a peer has no figure, or what is remarkable.
    pub notes: Vec<String>,
}

/// The whole result.
#[derive(Clone, Debug)]
pub struct Report {
    /// The machine in one line.
    pub machine: String,
    /// Peers in the table's order, with versions.
    pub peers: Vec<(&'static str, String)>,
    /// How it was measured, in words.
    pub method: String,
    /// The lines.
    pub lines: Vec<Line>,
}

/// Weir's column.
pub(crate) const WEIR: &str = "weir";
const NGINX: &str = "nginx";

impl Line {
    /// The smallest figure of a peer other than Weir.
    #[must_use]
    pub fn best(&self) -> Option<(&'static str, f64)> {
        let others = self.figures.iter().filter(|(peer, _)| **peer != WEIR);
        others.min_by(|a, b| a.1.total_cmp(b.1)).map(|(peer, figure)| (*peer, *figure))
    }

    /// Weir's figure as a share of the best peer's.
    #[must_use]
    pub fn ratio(&self) -> Option<f64> {
        Some(self.figures.get(WEIR)? / self.best()?.1)
    }

    /// Whether Weir reaches the goal, where it can be told.
    #[must_use]
    pub fn kept(&self) -> Option<bool> {
        let weir = *self.figures.get(WEIR)?;
        Some(match self.goal {
            Goal::OfBest(share) => weir <= share * self.best()?.1,
            Goal::OfNginx(share) => weir <= share * self.figures.get(NGINX)?,
            Goal::AtMost(most) => weir <= most,
            Goal::NotAbove => weir <= (1.0 + EQUAL) * self.best()?.1,
        })
    }

    fn goal(&self) -> String {
        match self.goal {
            Goal::OfBest(share) => format!("{share:.2} of best"),
            Goal::OfNginx(share) => format!("{share:.2} of nginx"),
            Goal::AtMost(most) => format!("{most} {}", self.unit),
            Goal::NotAbove => "best".to_owned(),
        }
    }
}

impl Report {
    /// The table, with versions and notes.
    #[must_use]
    pub fn table(&self) -> String {
        let mut rows = vec![["row".to_owned(), "unit".to_owned()].to_vec()];
        rows[0].extend(self.peers.iter().map(|(peer, _)| (*peer).to_owned()));
        rows[0].extend(["weir/best", "goal", ""].map(str::to_owned));
        for line in &self.lines {
            let mut row = vec![line.name.clone(), line.unit.to_owned()];
            row.extend(self.peers.iter().map(|(peer, _)| shown(line.figures.get(peer).copied())));
            row.push(line.ratio().map_or("-".to_owned(), |ratio| format!("{ratio:.2}")));
            row.push(line.goal());
            row.push(line.kept().map_or("", |kept| if kept { "kept" } else { "missed" }).into());
            rows.push(row);
        }
        let mut text = format!("{}\n{}\n", self.machine, self.method);
        for (peer, version) in &self.peers {
            text.push_str(&format!("{peer}: {version}\n"));
        }
        text.push('\n');
        text.push_str(&aligned(&rows));
        text.push_str(&self.beside());
        for line in &self.lines {
            for note in &line.notes {
                text.push_str(&format!("{}: {note}\n", line.name));
            }
        }
        text
    }

    /// What else loaded rows showed: the best round's thousands of requests a second on one CPU,
    /// the smallest median and the smallest 99th percentile of the latency in µs.
    fn beside(&self) -> String {
        let mut rows = vec![vec!["1000/s p50 p99".to_owned(), String::new()]];
        rows[0].extend(self.peers.iter().map(|(peer, _)| (*peer).to_owned()));
        rows[0].extend([String::new(), String::new()]);
        // Latency rows have said it above.
        for line in self.lines.iter().filter(|line| line.unit != "µs") {
            let cells: Vec<Option<String>> =
                self.peers.iter().map(|(peer, _)| loaded(line.rounds.get(peer)?)).collect();
            if cells.iter().all(Option::is_none) {
                continue;
            }
            let mut row = vec![line.name.clone(), String::new()];
            row.extend(cells.into_iter().map(|cell| cell.unwrap_or("-".to_owned())));
            row.extend([String::new(), String::new()]);
            rows.push(row);
        }
        if rows.len() == 1 { String::new() } else { format!("\n{}\n", aligned(&rows)) }
    }

    /// The same, with every round.
    #[must_use]
    pub fn json(&self) -> Value {
        let lines: Vec<Value> = self
            .lines
            .iter()
            .map(|line| {
                json!({
                    "row": line.name,
                    "says": line.says,
                    "unit": line.unit,
                    "figures": line.figures,
                    "best_peer": line.best().map(|(peer, _)| peer),
                    "ratio_to_best": line.ratio(),
                    "goal": line.goal(),
                    "kept": line.kept(),
                    "failed_requests": line.failed,
                    "notes": line.notes,
                    "rounds": line.rounds,
                })
            })
            .collect();
        let versions: BTreeMap<&str, &str> =
            self.peers.iter().map(|(peer, version)| (*peer, version.as_str())).collect();
        json!({
            "machine": self.machine,
            "method": self.method,
            "versions": versions,
            "lines": lines,
        })
    }
}

fn loaded(rounds: &[Value]) -> Option<String> {
    let all = |key| rounds.iter().filter_map(move |round| round.get(key)?.as_f64());
    let rate = all("requests_per_second").max_by(f64::total_cmp)?;
    let p50 = all("p50_us").min_by(f64::total_cmp)?;
    let p99 = all("p99_us").min_by(f64::total_cmp)?;
    Some(format!("{:.1} {p50:.0} {p99:.0}", rate / 1e3))
}

fn shown(figure: Option<f64>) -> String {
    match figure {
        None => "-".to_owned(),
        Some(figure) if figure >= 1000.0 => format!("{figure:.0}"),
        Some(figure) if figure >= 100.0 => format!("{figure:.1}"),
        Some(figure) => format!("{figure:.2}"),
    }
}

/// Lays cells out in columns; words in the first two and last two stand to the left.
pub(crate) fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        for (index, (cell, width)) in row.iter().zip(&widths).enumerate() {
            // Words to the left, figures to the right.
            let left = index < 2 || index + 2 >= columns;
            if left {
                text.push_str(&format!("{cell:<width$}  "));
            } else {
                text.push_str(&format!("{cell:>width$}  "));
            }
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(goal: Goal, figures: &[(&'static str, f64)]) -> Line {
        Line {
            name: "h1-get".to_owned(),
            says: "",
            unit: "µs CPU",
            goal,
            figures: figures.iter().copied().collect(),
            rounds: BTreeMap::new(),
            failed: 0,
            notes: vec!["a note".to_owned()],
        }
    }

    const ALL: [(&str, f64); 3] = [("nginx", 20.0), ("haproxy", 25.0), ("weir", 15.0)];

    #[test]
    fn goals_compare_with_what_they_name() {
        for (goal, figures, kept) in [
            (Goal::OfBest(0.75), &ALL[..], Some(true)),
            (Goal::OfBest(0.74), &ALL[..], Some(false)),
            (Goal::OfNginx(0.75), &ALL[..], Some(true)),
            (Goal::OfNginx(0.75), &ALL[1..], None),
            (Goal::AtMost(14.9), &ALL[2..], Some(false)),
            (Goal::NotAbove, &[("nginx", 14.3), ("weir", 15.0)], Some(true)),
            (Goal::NotAbove, &[("nginx", 14.2), ("weir", 15.0)], Some(false)),
            (Goal::OfBest(0.75), &ALL[..2], None),
        ] {
            assert_eq!(line(goal, figures).kept(), kept, "{goal:?} {figures:?}");
        }
        assert_eq!(line(Goal::NotAbove, &ALL).best(), Some(("nginx", 20.0)));
        assert_eq!(line(Goal::NotAbove, &ALL).ratio(), Some(0.75));
    }

    #[test]
    fn the_table_names_versions_figures_and_gaps() {
        let report = Report {
            machine: "a machine".to_owned(),
            peers: vec![
                ("nginx", "nginx/1.30.6".to_owned()),
                ("haproxy", "3.2".to_owned()),
                ("weir", "weir 0.1.0".to_owned()),
            ],
            method: "7 rounds".to_owned(),
            lines: vec![line(Goal::OfBest(0.75), &[("nginx", 20.0), ("weir", 1500.0)])],
        };
        let expected = "a machine\n7 rounds\nnginx: nginx/1.30.6\nhaproxy: 3.2\nweir: weir 0.1.0\n\
            \nrow     unit    nginx  haproxy  weir  weir/best  goal\n\
            h1-get  µs CPU  20.00        -  1500      75.00  0.75 of best  missed\n\
            h1-get: a note\n";
        assert_eq!(report.table(), expected);
        let mut loaded = report.clone();
        let round = json!({ "requests_per_second": 51_240.0, "p50_us": 9.4, "p99_us": 20.0 });
        loaded.lines[0].rounds.insert("weir", vec![json!({}), round]);
        let table = loaded.table();
        let expected = "\n1000/s p50 p99    nginx  haproxy       weir\n\
            h1-get                -        -  51.2 9 20\n";
        assert!(table.contains(expected), "{table}");
        let json = report.json();
        assert_eq!(json["lines"][0]["figures"]["nginx"], 20.0);
        assert_eq!(json["lines"][0]["kept"], false);
        assert_eq!(json["versions"]["weir"], "weir 0.1.0");
    }
}
