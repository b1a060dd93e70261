//! The words after `bench`, parsed.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::{attack, row};

/// Rounds per row; single rounds move by 20–60 % on shared machines, the minimum of seven repeats.
pub const ROUNDS: usize = 7;
/// Rounds per attack: each takes two windows and a start of the proxy.
pub const ATTACK_ROUNDS: usize = 3;
/// A row of more rounds than this would run for the better part of an hour.
pub const ROUNDS_MAX: usize = 100;
/// Length of one round.
pub const WINDOW: Duration = Duration::from_secs(2);
/// Longest accepted round, in seconds.
pub const WINDOW_MAX_SECONDS: f64 = 60.0;

/// A benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// The rows.
    Http,
    /// The attacks.
    Attack,
}

/// What was asked for.
#[derive(Clone, Debug)]
pub struct Options {
    /// The rows to run, in the table's order.
    pub rows: Vec<&'static row::Row>,
    /// The attacks to run, in the table's order.
    pub attacks: Vec<&'static attack::Attack>,
    /// Rounds per CPU row or attack.
    pub rounds: usize,
    /// Length of a round.
    pub window: Duration,
    /// Where the JSON goes.
    pub json: Option<PathBuf>,
    /// The proxies to measure; empty means all.
    pub only: Vec<String>,
    /// A Weir binary to use in place of building `target/dist/weir`.
    pub weir: Option<PathBuf>,
}

/// The help text.
#[must_use]
pub fn usage() -> String {
    let rows: Vec<&str> = row::ROWS.iter().map(|row| row.name).collect();
    let attacks: Vec<&str> = attack::ATTACKS.iter().map(|attack| attack.name).collect();
    format!(
        "usage: cargo xtask bench http [ROW…] [--rounds N] [--seconds S] [--json FILE]\n\
         \x20                            [--only nginx,haproxy,envoy,pingora,weir]\n\
         \x20                            [--weir BINARY]\n\
         \x20      cargo xtask bench attack [ATTACK…] [the same flags]\n\
         \x20      cargo xtask bench control [ROW…] [--edges N] [--changes N] [--weir BINARY]\n\
         rows: {}\nattacks: {}",
        rows.join(" "),
        attacks.join(" ")
    )
}

impl Options {
    /// Parses the words; `None` when help was asked for.
    ///
    /// # Errors
    /// Names the word that is not understood and what would be.
    pub fn parse(what: What, args: &[String]) -> Result<Option<Self>> {
        let mut options = Self {
            rows: Vec::new(),
            attacks: Vec::new(),
            rounds: if what == What::Http { ROUNDS } else { ATTACK_ROUNDS },
            window: WINDOW,
            json: None,
            only: Vec::new(),
            weir: None,
        };
        let mut words = args.iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().with_context(|| format!("{word} needs a value"));
            match word.as_str() {
                "--help" | "-h" => return Ok(None),
                "--rounds" => options.rounds = rounds(value()?)?,
                "--seconds" => options.window = window(value()?)?,
                "--json" => options.json = Some(file(value()?)?),
                "--weir" => options.weir = Some(PathBuf::from(value()?)),
                "--only" => options.only = value()?.split(',').map(str::to_owned).collect(),
                flag if flag.starts_with('-') => bail!("unknown flag {flag}\n{}", usage()),
                name if what == What::Http => options.rows.push(
                    row::find(name).with_context(|| format!("no row {name:?}\n{}", usage()))?,
                ),
                name => options.attacks.push(
                    attack::find(name)
                        .with_context(|| format!("no attack {name:?}\n{}", usage()))?,
                ),
            }
        }
        match what {
            What::Http if options.rows.is_empty() => options.rows = row::ROWS.iter().collect(),
            What::Attack if options.attacks.is_empty() => {
                options.attacks = attack::ATTACKS.iter().collect();
            }
            _ => {}
        }
        Ok(Some(options))
    }

    /// Whether the proxy of this name takes part.
    #[must_use]
    pub fn wants(&self, peer: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| name == peer)
    }
}

/// A file that can be written later: a long run must not end in a folder that is missing.
fn file(text: &str) -> Result<PathBuf> {
    let path = std::path::absolute(text)?;
    match path.parent() {
        Some(folder) if folder.is_dir() => Ok(path),
        _ => bail!("--json {text}: its folder does not exist"),
    }
}

fn rounds(text: &str) -> Result<usize> {
    match text.parse() {
        Ok(count) if (1..=ROUNDS_MAX).contains(&count) => Ok(count),
        _ => bail!("--rounds {text}: a number from 1 to {ROUNDS_MAX} is needed"),
    }
}

fn window(text: &str) -> Result<Duration> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.1..=WINDOW_MAX_SECONDS).contains(&seconds) => {
            Ok(Duration::from_secs_f64(seconds))
        }
        _ => bail!("--seconds {text}: a number from 0.1 to {WINDOW_MAX_SECONDS} is needed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Option<Options>> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Options::parse(What::Http, &words)
    }

    #[test]
    fn words_become_options() {
        let options =
            parse("tls-h1 h1-get --rounds 3 --seconds 0.5 --only nginx").unwrap().unwrap();
        let names: Vec<&str> = options.rows.iter().map(|row| row.name).collect();
        assert_eq!(names, ["tls-h1", "h1-get"]);
        assert_eq!((options.rounds, options.window), (3, Duration::from_millis(500)));
        assert!(options.wants("nginx") && !options.wants("weir"));
    }

    #[test]
    fn no_row_means_all_rows_and_all_peers() {
        let options = parse("").unwrap().unwrap();
        assert_eq!(options.rows.len(), row::ROWS.len());
        assert!(options.wants("weir"));
        assert!(parse("--help").unwrap().is_none());
    }

    #[test]
    fn attacks_are_words_of_their_own() {
        let words = ["slowloris".to_owned()];
        let options = Options::parse(What::Attack, &words).unwrap().unwrap();
        assert_eq!((options.attacks.len(), options.rounds), (1, ATTACK_ROUNDS));
        let all = Options::parse(What::Attack, &[]).unwrap().unwrap();
        assert_eq!(all.attacks.len(), attack::ATTACKS.len());
        assert!(Options::parse(What::Http, &words).is_err());
    }

    #[test]
    fn a_word_that_is_not_understood_is_named() {
        for (line, named) in [
            ("h9-get", "h9-get"),
            ("--rounds 0", "--rounds 0"),
            ("--rounds", "--rounds"),
            ("--seconds fast", "--seconds fast"),
            ("--slow", "--slow"),
            ("--json /absent/x.json", "/absent/x.json"),
        ] {
            let error = parse(line).unwrap_err().to_string();
            assert!(error.contains(named), "{line}: {error}");
        }
    }
}
