//! A new program is tried in the kernel before it is let at packets: frames that its rules must
//! drop, frames that just miss, and frames that nothing should touch. The interpreter says what is
//! right.

use super::bpf::BpfError;
use super::frames::Frame;
use super::interpret::Interpreter;
use super::plan::Place;
use super::programs::Trial;
use super::rule::Rule;

/// Rules that the interpreter looks at in one self-test, over all frames: a fraction of a second.
const WORK_MAX: usize = 4_000_000;
/// Frames of a self-test, at least.
const FRAMES_MIN: usize = 128;
/// Frames of a self-test, at most: two for each of a thousand rules.
const FRAMES_MAX: usize = 2048;

/// Actions of XDP.
const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;

/// A program that does not do what its rules say.
#[derive(Debug, thiserror::Error)]
pub enum SelfTestError {
    /// A wrong verdict.
    #[error(
        "the new shield program would {got} the test frame for {what}, which by the rules must \
         {want}; the program in force stays. This is a fault of Weir: report it with the rules and \
         the frame {frame}"
    )]
    Verdict {
        /// What the frame is.
        what: String,
        /// By the rules.
        want: &'static str,
        /// By the program.
        got: String,
        /// In hexadecimal.
        frame: String,
    },
    /// A wrong count.
    #[error(
        "the new shield program counted {got} test frames for rule `{rule}`, which by the rules \
         are {want}; the program in force stays. This is a fault of Weir: report it with the rules"
    )]
    Count {
        /// The rule.
        rule: String,
        /// By the rules.
        want: u64,
        /// By the program.
        got: u64,
    },
    /// The kernel could not run it.
    #[error(transparent)]
    Kernel(#[from] BpfError),
}

/// A frame and what it stands for.
#[derive(Clone, Debug)]
pub struct Case {
    /// For reports.
    pub what: String,
    /// The frame.
    pub octets: Vec<u8>,
}

/// The frames to try rules with.
#[must_use]
pub fn cases(rules: &[Rule]) -> Vec<Case> {
    let mut cases = bystanders();
    let budget = (WORK_MAX / rules.len().max(1)).clamp(FRAMES_MIN, FRAMES_MAX);
    let step = (rules.len() * 2).div_ceil(budget).max(1);
    for rule in rules.iter().step_by(step) {
        let Some(frame) = Frame::matching(rule) else { continue };
        let misses = frame.near_misses(&rule.matches);
        let room = (budget / rules.len().div_ceil(step)).max(2) - 1;
        let what = format!("rule `{}`", rule.name);
        cases.push(Case { what, octets: frame.octets() });
        for miss in misses.iter().take(room) {
            let what = format!("a near miss of rule `{}`", rule.name);
            cases.push(Case { what, octets: miss.octets() });
        }
    }
    cases
}

/// What keeps a server reachable: where a rule covers one of these, the rule is what counts.
fn bystanders() -> Vec<Case> {
    let mut arp = vec![0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 2, 8, 6];
    arp.extend([0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 2, 192, 0, 2, 1]);
    arp.extend([0, 0, 0, 0, 0, 0, 192, 0, 2, 2]);
    let link = 0xfe80_u128 << 112;
    let solicit = Frame {
        v6: true,
        source: link | 1,
        destination: link | 2,
        protocol: 58,
        ttl: 255,
        payload: vec![135, 0, 0, 0, 0, 0, 0, 0],
        ..Frame::default()
    };
    let tcp = |port| Frame { protocol: 6, destination_port: port, ..Frame::default() };
    let ping = Frame { protocol: 1, payload: vec![8, 0, 0, 0], ..Frame::default() };
    let frames = [
        ("an IPv6 neighbour solicitation", solicit),
        ("BGP", tcp(179)),
        ("SSH", tcp(22)),
        ("an ICMP echo request", ping),
    ];
    let mut cases = vec![Case { what: "ARP".to_owned(), octets: arp }];
    cases.extend(frames.map(|(what, f)| Case { what: what.to_owned(), octets: f.octets() }));
    cases
}

/// Tries the program of rules at their places; its limits are never used up. Gives how many frames
/// there were.
///
/// # Errors
/// The first frame or count that is not as the rules say.
pub fn run(trial: &Trial, rules: &[Rule], places: &[Place]) -> Result<usize, SelfTestError> {
    let mut interpreter = Interpreter::new(rules);
    interpreter.limits = false;
    let cases = cases(rules);
    let mut counts = vec![0_u64; rules.len()];
    for case in &cases {
        let judgement = interpreter.judge(&case.octets, 0);
        for (rule, _) in judgement.applied {
            if let Some(count) = counts.get_mut(rule) {
                *count += 1;
            }
        }
        let action = trial.run(&case.octets, 1)?.action;
        let (want, word) = if judgement.dropped { (XDP_DROP, "drop") } else { (XDP_PASS, "pass") };
        if action != want {
            return Err(SelfTestError::Verdict {
                what: case.what.clone(),
                want: word,
                got: action_word(action),
                frame: case.octets.iter().map(|octet| format!("{octet:02x}")).collect(),
            });
        }
    }
    for ((rule, want), place) in rules.iter().zip(counts).zip(places) {
        let got = trial.counters(*place)?.matched_packets;
        if want != got {
            return Err(SelfTestError::Count { rule: rule.name.clone(), want, got });
        }
    }
    Ok(cases.len())
}

fn action_word(action: u32) -> String {
    match action {
        XDP_DROP => "drop".to_owned(),
        XDP_PASS => "pass".to_owned(),
        other => format!("do {other} (an action of XDP) with"),
    }
}
