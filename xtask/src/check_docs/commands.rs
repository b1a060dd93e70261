//! Commands in `sh` blocks: their verbs and flags are those that the programs accept.

use std::collections::BTreeMap;

use anyhow::Result;
use clap::CommandFactory;
use clap::error::ErrorKind;

use crate::markdown::{Block, Document};
use crate::workspace::Finding;

/// Info strings of blocks that hold commands.
const SHELLS: [&str; 4] = ["sh", "bash", "shell", "console"];

/// The help of `weir`, asked once per verb.
pub(super) struct Helps<'a> {
    ask: &'a dyn Fn(&[String]) -> Result<String>,
    known: BTreeMap<Vec<String>, Help>,
}

/// What a help text lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Help {
    verbs: Vec<String>,
    /// Flags, and whether a value follows.
    flags: Vec<(String, bool)>,
    /// Whether a word that is no verb is an argument.
    arguments: bool,
}

impl<'a> Helps<'a> {
    /// Asks `ask` for the help of the verbs it is given.
    pub(super) fn new(ask: &'a dyn Fn(&[String]) -> Result<String>) -> Self {
        Self { ask, known: BTreeMap::new() }
    }

    fn of(&mut self, verbs: &[String]) -> Result<Help> {
        if let Some(help) = self.known.get(verbs) {
            return Ok(help.clone());
        }
        let help = Help::parse(&(self.ask)(verbs)?);
        self.known.insert(verbs.to_vec(), help.clone());
        Ok(help)
    }
}

impl Help {
    /// Reads the form that clap prints.
    fn parse(text: &str) -> Self {
        let mut help = Self::default();
        let mut in_verbs = false;
        for line in text.lines() {
            let trimmed = line.trim_start();
            if !line.starts_with(' ') {
                in_verbs = line.starts_with("Commands:");
                help.arguments |= line.starts_with("Arguments:");
            } else if in_verbs && line.starts_with("  ") && !line.starts_with("    ") {
                help.verbs.extend(trimmed.split_whitespace().next().map(str::to_owned));
            } else if trimmed.starts_with('-') {
                let head = trimmed.split("  ").next().unwrap_or_default();
                let valued = head.contains('<');
                let flags = head.split([' ', ',', '=', '[']).filter(|word| word.starts_with('-'));
                help.flags.extend(flags.map(|flag| (flag.to_owned(), valued)));
            }
        }
        help
    }
}

/// Commands of a document that would be refused.
pub(super) fn refused(path: &str, document: &Document, helps: &mut Helps<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let is_shell = |block: &&Block| SHELLS.contains(&block.info.as_str());
    for block in document.blocks.iter().filter(is_shell) {
        for (index, words) in commands(block) {
            if let Err(why) = try_one(&words, helps) {
                let what = format!("`{}`: {why}", words.join(" "));
                findings.push(Finding::new(path, block.line + index + 1, what));
            }
        }
    }
    findings
}

/// Each simple command of a block, with the index of its line. Lines that end in a backslash are
/// joined; in a `console` block only lines after a prompt are commands.
fn commands(block: &Block) -> Vec<(usize, Vec<String>)> {
    let mut found = Vec::new();
    let (mut start, mut joined) = (0, String::new());
    for (index, line) in block.body.iter().enumerate() {
        let prompted = line.trim_start().strip_prefix("$ ");
        if joined.is_empty() {
            start = index;
            if block.info == "console" && prompted.is_none() {
                continue;
            }
        }
        let line = prompted.unwrap_or(line);
        if let Some(open) = line.trim_end().strip_suffix('\\') {
            joined.push_str(open);
            continue;
        }
        joined.push_str(line);
        found.extend(split(&joined).into_iter().map(|words| (start, words)));
        joined.clear();
    }
    found
}

/// Splits a line of shell into commands and their words.
fn split(line: &str) -> Vec<Vec<String>> {
    let (mut all, mut words, mut word) = (Vec::new(), Vec::new(), String::new());
    let mut quote = None;
    for c in line.chars() {
        match (quote, c) {
            (Some(open), _) if c == open => quote = None,
            (Some(_), _) => word.push(c),
            (None, '\'' | '"') => quote = Some(c),
            (None, '#') if word.is_empty() => break,
            (None, _) if c.is_whitespace() => push(&mut words, &mut word),
            (None, '|' | '&' | ';' | '(' | ')' | '>' | '<') => {
                push(&mut words, &mut word);
                all.push(std::mem::take(&mut words));
            }
            (None, _) => word.push(c),
        }
    }
    push(&mut words, &mut word);
    all.push(words);
    all.retain(|words| !words.is_empty());
    all
}

fn push(words: &mut Vec<String>, word: &mut String) {
    if !word.is_empty() {
        words.push(std::mem::take(word));
    }
}

/// Tries a command if it is one of the project's own; others are not looked at.
fn try_one(words: &[String], helps: &mut Helps<'_>) -> Result<(), String> {
    let skip = |word: &&String| word.as_str() == "sudo" || is_assignment(word);
    let lead = words.iter().take_while(skip).count();
    let words = words.get(lead..).unwrap_or_default();
    let Some((program, rest)) = words.split_first() else { return Ok(()) };
    let name = program.rsplit('/').next().unwrap_or_default();
    match (name, rest.first().map(String::as_str)) {
        ("weir", _) => weir(rest, helps),
        ("cargo", Some("xtask")) => xtask(rest.get(1..).unwrap_or_default()),
        ("cargo", Some("run")) if !rest.iter().any(|word| word == "-p" || word == "--package") => {
            let after = rest.iter().position(|word| word == "--");
            after.map_or(Ok(()), |at| weir(rest.get(at + 1..).unwrap_or_default(), helps))
        }
        _ => Ok(()),
    }
}

fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_uppercase() || c == '_')
    })
}

fn weir(words: &[String], helps: &mut Helps<'_>) -> Result<(), String> {
    let mut verbs = Vec::new();
    let mut help = helps.of(&verbs).map_err(|error| format!("{error:#}"))?;
    let mut value_follows = false;
    for word in words {
        if std::mem::take(&mut value_follows) {
            continue;
        }
        if let Some(flag) = word.split('=').next().filter(|flag| flag.starts_with('-')) {
            let known = help.flags.iter().find(|(known, _)| known == flag);
            let Some((_, valued)) = known else {
                return Err(format!("no flag {flag} in `weir {} --help`", verbs.join(" ")));
            };
            value_follows = *valued && !word.contains('=');
        } else if !help.verbs.is_empty() {
            if !help.verbs.contains(word) {
                if help.arguments {
                    continue;
                }
                return Err(format!("no verb {word}; there are {}", help.verbs.join(", ")));
            }
            verbs.push(word.clone());
            help = helps.of(&verbs).map_err(|error| format!("{error:#}"))?;
        }
    }
    Ok(())
}

fn xtask(words: &[String]) -> Result<(), String> {
    let all = std::iter::once("cargo xtask").chain(words.iter().map(String::as_str));
    match crate::Cli::command().try_get_matches_from(all) {
        Ok(_) => Ok(()),
        // A placeholder in a document stands where a value goes.
        Err(error) => match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::ValueValidation | ErrorKind::InvalidValue => Ok(()),
            kind => Err(format!("cargo xtask refuses it ({kind})")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::{Helps, refused};
    use crate::markdown::Document;

    const TOP: &str = "Usage: weir <COMMAND>\n\nCommands:\n  check  Checks\n  demo   Shows\n\n\
                       Options:\n  -h, --help  Print help\n";
    const DEMO: &str = "Usage: weir demo\n\nOptions:\n      --chaos      Kill\n      \
                        --for <FOR>  Time\n          longer text\n  -h, --help  Print\n";

    const CHECK: &str = "Usage: weir check [FILE]\n       weir check <COMMAND>\n\nCommands:\n  \
                         all  Checks\n\nArguments:\n  [FILE]  The file\n";

    fn check(lines: &str, expect: &[&str]) {
        let ask = |verbs: &[String]| match verbs.join(" ").as_str() {
            "" => Ok(TOP.to_owned()),
            "demo" => Ok(DEMO.to_owned()),
            "check" => Ok(CHECK.to_owned()),
            _ => Ok(String::new()),
        };
        let document = Document::parse(&format!("```sh\n{lines}\n```\n"));
        let findings = refused("a.md", &document, &mut Helps::new(&ask));
        let shown: Vec<String> = findings.iter().map(ToString::to_string).collect();
        assert_eq!(shown, expect, "{lines}");
    }

    #[test]
    fn commands_are_those_that_exist() {
        check("weir demo --for 20s --chaos", &[]);
        check("weir check a.toml && curl -k https://x | weir demo", &[]);
        check("cargo run --release -- demo --chaos # shows it", &[]);
        check("RUST_LOG=x sudo ./target/release/weir demo \\\n  --chaos", &[]);
        check("cargo xtask fuzz run TARGET --seconds N", &[]);
        check("cargo xtask soak GROUP\ncargo xtask bench --help", &[]);
        check("weir check all\nweir check a.toml", &[]);
        check("weird --flag; ls -l", &[]);
    }

    #[test]
    fn commands_that_do_not_exist_are_found() {
        check("weir start", &["a.md:2: `weir start`: no verb start; there are check, demo"]);
        check(
            "ls\nweir demo --loud",
            &["a.md:3: `weir demo --loud`: no flag --loud in `weir demo --help`"],
        );
        check(
            "cargo run --release -- demo --loud",
            &["a.md:2: `cargo run --release -- demo --loud`: no flag --loud in `weir demo --help`"],
        );
        check(
            "cargo xtask sing",
            &["a.md:2: `cargo xtask sing`: cargo xtask refuses it (unrecognized subcommand)"],
        );
        check(
            "cargo xtask test -Z",
            &["a.md:2: `cargo xtask test -Z`: cargo xtask refuses it (unexpected argument found)"],
        );
    }
}
