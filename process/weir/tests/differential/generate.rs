//! Makes the corpus: products of small lists, with what follows from the RFCs and from the
//! refusals that Weir promises. The expectations are worked out here, not with Weir's parsers.

mod chunks;
mod fields;
mod framing;
mod heads;
mod hosts;
mod sequences;
mod streams;
mod targets;

use super::case::frames::Part;
use super::case::{Case, Does, Step};

/// A request that stands behind a case or inside of its body. Whoever sees it where Weir does not
/// is deceived.
pub(super) const X: &str = "GET /x HTTP/1.1\r\nHost: a\r\n\r\n";

/// The corpus of HTTP/1.
pub(super) fn http1() -> Vec<Case> {
    let mut bag = Bag::default();
    framing::all(&mut bag);
    chunks::all(&mut bag);
    targets::all(&mut bag);
    hosts::all(&mut bag);
    fields::all(&mut bag);
    sequences::all(&mut bag);
    bag.cases
}

/// The corpus of HTTP/2.
pub(super) fn http2() -> Vec<Case> {
    let mut bag = Bag::default();
    heads::all(&mut bag);
    streams::all(&mut bag);
    bag.cases
}

/// Cases in the making.
#[derive(Default)]
pub(super) struct Bag {
    cases: Vec<Case>,
}

impl Bag {
    /// A case that sends `bytes` and ends.
    fn add(
        &mut self,
        name: impl Into<String>,
        idea: &str,
        forwards: usize,
        bytes: impl AsRef<[u8]>,
    ) {
        self.steps(name, idea, forwards, &[bytes.as_ref()]);
    }

    /// A case that waits for a reply between these parts.
    fn steps(&mut self, name: impl Into<String>, idea: &str, forwards: usize, parts: &[&[u8]]) {
        let mut steps = Vec::new();
        for part in parts {
            if !steps.is_empty() {
                steps.push(Step::Await);
            }
            if !part.is_empty() {
                steps.push(Step::Send(part.to_vec()));
            }
        }
        self.push(name.into(), idea, forwards, Does::Bytes(steps));
    }

    /// A case that sends these frames.
    fn frames(&mut self, name: impl Into<String>, idea: &str, forwards: usize, parts: Vec<Part>) {
        self.push(name.into(), idea, forwards, Does::Frames(parts));
    }

    fn push(&mut self, name: String, idea: &str, forwards: usize, does: Does) {
        assert!(self.cases.iter().all(|case| case.name != name), "{name} twice");
        self.cases.push(Case { name, idea: idea.to_owned(), forwards, does });
    }
}

/// A byte or a short text as part of a name.
fn label(text: impl AsRef<[u8]>) -> String {
    let text = text.as_ref();
    if text.is_empty() {
        return "empty".into();
    }
    let mut label = String::new();
    for &b in text.iter().take(40) {
        match b {
            0x21..0x7f if b != b'\\' => label.push(char::from(b)),
            _ => label.push_str(&format!("<{b:02x}>")),
        }
    }
    if text.len() > 40 {
        label.push_str(&format!("..{}", text.len()));
    }
    label
}

fn is_token(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)
}
