//! A Rust file split into code and comments, with the extent of its functions and its tests.
//!
//! It knows just enough of the language to tell code from comments and strings; it is no parser.

use std::iter::Peekable;
use std::ops::RangeInclusive;
use std::str::CharIndices;

/// A scanned file. Lines count from 1.
#[derive(Debug)]
pub(crate) struct Source {
    /// Path from the root.
    pub(crate) path: String,
    /// The text as it is.
    pub(crate) text: String,
    /// The same lines with comments and the contents of strings left out.
    pub(crate) code: Vec<String>,
    /// Line and text of each comment line, with its slashes.
    pub(crate) comments: Vec<(usize, String)>,
    /// Lines of `#[cfg(test)]` items.
    tests: Vec<RangeInclusive<usize>>,
}

/// A function and the lines it spans.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Function {
    /// Its name.
    pub(crate) name: String,
    /// The line of its `fn`.
    pub(crate) line: usize,
    /// From `fn` to the closing brace.
    pub(crate) lines: usize,
}

impl Source {
    /// Scans a text.
    pub(crate) fn scan(path: &str, text: &str) -> Self {
        let (code, comments) = Scanner::new(text).run();
        let code: Vec<String> = code.split('\n').map(str::to_owned).collect();
        let mut comment_lines = Vec::new();
        for (line, comment) in comments {
            let each = comment.lines().enumerate().map(|(at, text)| (line + at, text.to_owned()));
            comment_lines.extend(each);
        }
        let tests = test_items(&code);
        let (path, text) = (path.to_owned(), text.to_owned());
        Self { path, text, code, comments: comment_lines, tests }
    }

    /// Whether the whole file is test code.
    pub(crate) fn is_test_file(&self) -> bool {
        let mut parts = self.path.split('/');
        let name = parts.next_back().unwrap_or_default();
        name == "tests.rs" || name.ends_with("_tests.rs") || parts.any(|part| part == "tests")
    }

    /// Whether a line is test code.
    pub(crate) fn is_test(&self, line: usize) -> bool {
        self.is_test_file() || self.tests.iter().any(|range| range.contains(&line))
    }

    /// Lines outside tests.
    pub(crate) fn lines_without_tests(&self) -> usize {
        let tested: usize = self.tests.iter().map(|range| range.clone().count()).sum();
        self.text.lines().count().saturating_sub(tested)
    }

    /// Code lines with their numbers.
    pub(crate) fn code_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code.iter().enumerate().map(|(index, line)| (index + 1, line.as_str()))
    }

    /// The functions with a body.
    pub(crate) fn functions(&self) -> Vec<Function> {
        let mut functions = Vec::new();
        for (line, text) in self.code_lines() {
            let Some(at) = find_word(text, "fn") else { continue };
            let after = text.get(at + 2..).unwrap_or_default().trim_start();
            let name: String = after.chars().take_while(|c| is_word(*c)).collect();
            if name.is_empty() {
                continue;
            }
            if let Some(end) = end_of_item(&self.code, line, at) {
                functions.push(Function { name, line, lines: end - line + 1 });
            }
        }
        functions
    }
}

/// Where a word stands in a line of code.
pub(crate) fn find_word(line: &str, word: &str) -> Option<usize> {
    line.match_indices(word).map(|(at, _)| at).find(|at| {
        let before = line.get(..*at).and_then(|text| text.chars().next_back());
        let after = line.get(at + word.len()..).and_then(|text| text.chars().next());
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The line where the braces close that open first after `column` of `line`; `None` where a
/// semicolon ends the item before.
fn end_of_item(code: &[String], line: usize, column: usize) -> Option<usize> {
    let (mut braces, mut others) = (0_usize, 0_usize);
    for (index, text) in code.iter().enumerate().skip(line - 1) {
        let from = if index + 1 == line { column } else { 0 };
        for c in text.get(from..).unwrap_or_default().chars() {
            match c {
                '(' | '[' if braces == 0 => others += 1,
                ')' | ']' if braces == 0 => others = others.saturating_sub(1),
                ';' if braces == 0 && others == 0 => return None,
                '{' if others == 0 => braces += 1,
                '}' if others == 0 => {
                    braces = braces.saturating_sub(1);
                    if braces == 0 {
                        return Some(index + 1);
                    }
                }
                _ => {}
            }
        }
    }
    None
}

fn test_items(code: &[String]) -> Vec<RangeInclusive<usize>> {
    let mut items: Vec<RangeInclusive<usize>> = Vec::new();
    for (index, text) in code.iter().enumerate() {
        let line = index + 1;
        let opens = ["#[cfg(test)]", "#[cfg(all(test,"].iter().find_map(|attribute| {
            let at = text.find(attribute)?;
            let end = text.get(at..)?.find(']')?;
            Some(at + end + 1)
        });
        let Some(column) = opens else { continue };
        if items.last().is_some_and(|last| last.contains(&line)) {
            continue;
        }
        let end = end_of_item(code, line, column).unwrap_or(line);
        items.push(line..=end);
    }
    items
}

/// Copies code, blanks strings and sets comments apart.
struct Scanner<'a> {
    text: &'a str,
    chars: Peekable<CharIndices<'a>>,
    code: String,
    comments: Vec<(usize, String)>,
    line: usize,
}

impl<'a> Scanner<'a> {
    fn new(text: &'a str) -> Self {
        let chars = text.char_indices().peekable();
        Self { text, chars, code: String::new(), comments: Vec::new(), line: 1 }
    }

    fn run(mut self) -> (String, Vec<(usize, String)>) {
        while let Some((at, c)) = self.chars.next() {
            match c {
                '/' if self.rest(at).starts_with("//") => self.line_comment(at),
                '/' if self.rest(at).starts_with("/*") => self.block_comment(at),
                '"' => self.string(),
                'r' if !self.code.ends_with(is_word) || self.after_prefix() => self.raw(at),
                '\'' => self.quote(at),
                _ => self.keep(c),
            }
        }
        (self.code, self.comments)
    }

    fn rest(&self, at: usize) -> &'a str {
        self.text.get(at..).unwrap_or_default()
    }

    /// Whether the code ends in the `b` or `c` of a raw byte or C string.
    fn after_prefix(&self) -> bool {
        let mut back = self.code.chars().rev();
        matches!(back.next(), Some('b' | 'c')) && !back.next().is_some_and(is_word)
    }

    fn keep(&mut self, c: char) {
        self.line += usize::from(c == '\n');
        self.code.push(c);
    }

    fn blank(&mut self, c: char) {
        self.keep(if c == '\n' { c } else { ' ' });
    }

    fn line_comment(&mut self, at: usize) {
        let comment = self.rest(at).lines().next().unwrap_or_default().to_owned();
        self.comments.push((self.line, comment));
        while self.chars.next_if(|(_, c)| *c != '\n').is_some() {}
    }

    fn block_comment(&mut self, at: usize) {
        let start = self.line;
        self.chars.next();
        let (mut depth, mut before, mut end) = (1_usize, ' ', self.text.len());
        while let Some((here, c)) = self.chars.next() {
            self.blank(c);
            match (before, c) {
                ('*', '/') => depth -= 1,
                ('/', '*') => depth += 1,
                _ => {
                    before = c;
                    continue;
                }
            }
            before = ' ';
            if depth == 0 {
                end = here + 1;
                break;
            }
        }
        let comment = self.text.get(at..end).unwrap_or_default().to_owned();
        self.comments.push((start, comment));
    }

    fn string(&mut self) {
        self.keep('"');
        while let Some((_, c)) = self.chars.next() {
            match c {
                '"' => return self.keep('"'),
                '\\' => {
                    self.blank(c);
                    if let Some((_, escaped)) = self.chars.next() {
                        self.blank(escaped);
                    }
                }
                _ => self.blank(c),
            }
        }
    }

    fn raw(&mut self, at: usize) {
        self.keep('r');
        let after = self.rest(at + 1);
        let hashes = after.chars().take_while(|c| *c == '#').count();
        if !after.get(hashes..).unwrap_or_default().starts_with('"') {
            return;
        }
        let closing = format!("\"{}", "#".repeat(hashes));
        for _ in 0..=hashes {
            self.chars.next();
        }
        self.keep('"');
        while let Some((here, c)) = self.chars.next() {
            if self.rest(here).starts_with(&closing) {
                for _ in 0..hashes {
                    self.chars.next();
                }
                return self.keep('"');
            }
            self.blank(c);
        }
    }

    /// A character literal is blanked; a lifetime is kept.
    fn quote(&mut self, at: usize) {
        self.keep('\'');
        let mut after = self.rest(at + 1).chars();
        match (after.next(), after.next()) {
            (Some('\\'), _) => {
                self.chars.next();
                self.blank(' ');
                if let Some((_, escaped)) = self.chars.next() {
                    self.blank(escaped);
                }
                while let Some((_, c)) = self.chars.next_if(|(_, c)| *c != '\'') {
                    self.blank(c);
                }
            }
            (Some(_), Some('\'')) => {
                self.chars.next();
                self.blank(' ');
            }
            _ => return,
        }
        self.chars.next();
        self.keep('\'');
    }
}
