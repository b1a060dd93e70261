//! The demo: a fleet through its life, on the terminal and on a page, and at the end one line.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::Result;

use crate::board::Board;
use crate::lab::Lab;
use crate::page;
use crate::server::Programs;
use crate::setup::Setup;
use crate::step::Step;
use crate::traffic::{Load, PATIENT, Traffic};

/// Flows of each family; those that last end after a while, so that one sees where new ones land.
const LOAD: Load = Load {
    streams: 10,
    arrivals: true,
    flows: 5,
    quic: 4,
    tls: 4,
    lifetime: Some(120),
    patience: PATIENT,
};
/// Between two frames of the terminal.
const FRAME: Duration = Duration::from_millis(250);
/// Rounds of every flow between two acts: a few seconds.
const BETWEEN: u64 = 40;

/// What happens, and what is said about it. Rounds of all flows lie between.
const ACTS: &[(&str, &[Step])] = &[
    ("four servers share every address; the router spreads packets as it likes", &[]),
    ("server 5 is added: it gets its share of new flows, and old ones stay", &[Step::Add(5)]),
    ("the router hashes anew: packets enter at other servers", &[Step::Rehash]),
    ("server 2 drains: no new flows, and its old ones stay", &[Step::Drain(2)]),
    ("server 2 is removed, as its flows have ended", &[Step::Leave(2), Step::Remove(2)]),
    (
        "all loaders are killed and started again: packets do not notice",
        &[Step::KillLoaders, Step::Rounds(4), Step::StartLoaders],
    ),
    ("every proxy hands over to a new process", &[Step::UpgradeProxies]),
    ("server 3 is killed: its flows are lost, and no others", &[Step::Crash(3)]),
    ("the router hashes anew once more", &[Step::Rehash]),
];

/// Runs it to its end; whether no flow broke. `port` is that of the page, 0 for any.
///
/// # Errors
/// When the lab cannot be made or a step fails.
pub fn run(programs: &Programs, port: u16) -> Result<bool> {
    let mut lab = Lab::up(programs, Setup::DIRECTED)?;
    let traffic = Traffic::start(&lab.network, LOAD, Some(lab.trust.clone()))?;
    let board = Board::new(traffic.ledger.clone());
    let page = page::serve(board.clone(), port)?;
    println!("live at http://{page}/\n");
    let over = AtomicBool::new(false);
    let walked = thread::scope(|scope| {
        scope.spawn(|| show(&board, &over));
        let walked = walk(&mut lab, &traffic, &board);
        over.store(true, Ordering::Relaxed);
        walked
    });
    walked?;
    traffic.finish()?;
    board.end();
    // The namespaces go before the verdict: whoever reads it finds nothing left.
    drop(lab);
    let picture = board.picture();
    println!("{}", picture.lines());
    picture.broken.iter().for_each(|why| println!("broken: {why}"));
    println!("{}", picture.verdict());
    Ok(picture.tally.broken == 0)
}

fn walk(lab: &mut Lab, traffic: &Traffic, board: &Board) -> Result<()> {
    for (says, steps) in ACTS {
        board.event(says, lab.members());
        for step in *steps {
            if let Step::Crash(id) = step {
                board.killed(*id);
            }
            lab.apply(*step, traffic)?;
        }
        board.members(lab.members());
        lab.apply(Step::Rounds(BETWEEN), traffic)?;
    }
    Ok(())
}

/// Draws frames where a terminal is, else a line for each act.
fn show(board: &Board, over: &AtomicBool) {
    let terminal = std::io::stdout().is_terminal();
    let (mut told, mut drawn) = (0, 0);
    while !over.load(Ordering::Relaxed) {
        let picture = board.picture();
        if drawn > 0 {
            // Up to where the last frame began, and away with it.
            print!("\x1b[{drawn}A\x1b[J");
        }
        for event in picture.events.iter().skip(told) {
            println!("{:>5.1} s  {}", event.at, event.what);
        }
        if terminal {
            let lines = picture.lines();
            drawn = lines.lines().count();
            print!("{lines}");
        } else if picture.events.len() > told && told > 0 {
            println!("{}", picture.lines());
        }
        told = picture.events.len();
        thread::sleep(FRAME);
    }
}
