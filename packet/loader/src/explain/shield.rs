//! The first stage of an explanation: what the shield does with a packet before the director.

use super::{ExplainError, Said};
use crate::shield::interpret::Outcome;
use crate::shield::{Asked, Judged, Matched};
use packet_abi::verdict::Reason;
use serde::Serialize;

/// What is known of the shield in front of the director.
#[derive(Debug)]
pub enum Shield {
    /// None is in force.
    Absent,
    /// One is in force, and its rules are not known here: why.
    Unknown(String),
    /// These rules, from where, and the interface that packets come in by.
    Rules {
        /// Programs made of them.
        asked: Box<Asked>,
        /// From whom they are, for people.
        source: String,
        /// Name and index of the interface.
        interface: (String, u32),
    },
}

/// The shield as a whole in an explanation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ShieldStage {
    /// `absent`, `unknown` or `asked`.
    pub state: &'static str,
    /// Rules; `None` where they are not known.
    pub rules: Option<usize>,
    /// From whom the rules are, or why they are not known.
    pub source: Option<String>,
    /// Where the reverse path is checked: the interface that packets are taken to come in by.
    pub interface: Option<String>,
}

/// What the shield does with a packet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ShieldSaid {
    /// `pass`: on to the director, or `drop`.
    pub verdict: &'static str,
    /// The counter that a drop moves.
    pub reason: Option<&'static str>,
    /// Why, in a sentence.
    pub says: &'static str,
    /// Rules that matched, in their order.
    pub rules: Vec<RuleSaid>,
}

/// What a rule does with a packet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RuleSaid {
    /// Its name.
    pub rule: String,
    /// Its place, from 0.
    pub index: usize,
    /// Whether it only counts.
    pub dry_run: bool,
    /// `counted`, `dropped`, `passed`, or `limited`.
    pub outcome: &'static str,
}

impl RuleSaid {
    fn of(matched: Matched) -> Self {
        let outcome = match matched.outcome {
            Outcome::Counted => "counted",
            Outcome::WouldLimit | Outcome::Limited => "limited",
            Outcome::Dropped => "dropped",
            Outcome::Passed => "passed",
        };
        let Matched { index, rule, dry_run, .. } = matched;
        Self { rule, index, dry_run, outcome }
    }

    /// What it means, for people.
    pub(super) fn says(&self) -> &'static str {
        match (self.outcome, self.dry_run) {
            ("counted", true) => "matches; a dry run, so counted only",
            ("counted", false) => "matches; a limit, which lets it through while there is room",
            ("dropped", _) => "matches, and drops it",
            ("passed", _) => "matches, and lets it through before later rules",
            _ => "matches, and its limit is used up",
        }
    }
}

impl Shield {
    pub(super) fn stage(&self) -> ShieldStage {
        let (state, rules, source) = match self {
            Self::Absent => ("absent", None, None),
            Self::Unknown(why) => ("unknown", None, Some(why.clone())),
            Self::Rules { asked, source, .. } => ("asked", Some(asked.len()), Some(source.clone())),
        };
        let interface = match self {
            Self::Rules { asked, interface, .. } if asked.options().reverse_path => {
                Some(interface.0.clone())
            }
            _ => None,
        };
        ShieldStage { state, rules, source, interface }
    }

    /// What it does with a frame; `None` where nobody can say.
    pub(super) fn judge(&self, frame: &[u8]) -> Result<Option<ShieldSaid>, ExplainError> {
        let Self::Rules { asked, interface, .. } = self else { return Ok(None) };
        let Judged { dropped, matched } = asked.judge(frame, interface.1)?;
        let said = |verdict, reason: Option<Reason>, says| ShieldSaid {
            verdict,
            reason: reason.map(Reason::word),
            says,
            rules: matched.into_iter().map(RuleSaid::of).collect(),
        };
        Ok(Some(match dropped {
            Some(reason) => {
                let Said { verdict, says, .. } = Said::of(reason);
                said(verdict, Some(reason), says)
            }
            None => said("pass", None, "on to the director"),
        }))
    }
}
