//! `up`, `status`, `fault`, `down`: a run that stays, held by a process that takes requests over a
//! Unix socket. Flows run all the time, so that one sees what a fault does to them.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::board::Board;
use crate::lab::Lab;
use crate::page;
use crate::server::{Programs, READY_LIMIT};
use crate::setup::Setup;
use crate::step::Step;
use crate::traffic::{Load, PATIENT, Traffic};

/// Flows of each family.
const LOAD: Load = Load {
    streams: 10,
    arrivals: true,
    flows: 5,
    quic: 4,
    tls: 4,
    lifetime: Some(250),
    patience: PATIENT,
};
/// Between two looks at whether the run is up.
const LOOK: Duration = Duration::from_millis(50);
/// A run is up after its programs are: several servers, one after the other.
const UP_LIMIT: Duration = READY_LIMIT.saturating_mul(4);

fn socket() -> PathBuf {
    std::env::temp_dir().join("weir-lab.sock")
}

fn log() -> PathBuf {
    std::env::temp_dir().join("weir-lab.log")
}

/// Starts a process that holds a run, and waits until it is up.
///
/// # Errors
/// When one is up already, or this one does not come up: with what it said.
pub fn up(programs: &Programs, port: u16) -> Result<()> {
    if UnixStream::connect(socket()).is_ok() {
        bail!("a lab is up: `cargo xtask lab down` takes it down");
    }
    let output = File::create(log()).context("the log of the run")?;
    let mut command = Command::new(&programs.lab);
    command.args(["hold", "--port", &port.to_string()]).stdin(Stdio::null());
    command.stdout(output.try_clone()?).stderr(output).process_group(0);
    let mut held = command.spawn().context("starting the run")?;
    let start = Instant::now();
    while start.elapsed() < UP_LIMIT {
        if UnixStream::connect(socket()).is_ok() {
            println!("{}", ask("status")?);
            return Ok(());
        }
        if held.try_wait()?.is_some() {
            break;
        }
        thread::sleep(LOOK);
    }
    let _ = held.kill();
    bail!("the lab did not come up: {}", fs::read_to_string(log()).unwrap_or_default())
}

/// Asks the run that is up and gives its answer.
///
/// # Errors
/// When none is up, or what was asked failed.
pub fn ask(request: &str) -> Result<String> {
    let mut stream =
        UnixStream::connect(socket()).context("no lab is up: `cargo xtask lab up` makes one")?;
    stream.write_all(request.as_bytes())?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    match answer.strip_prefix("error: ") {
        Some(error) => bail!("{}", error.trim_end()),
        None => Ok(answer),
    }
}

/// The life of the process that holds a run.
///
/// # Errors
/// When the run cannot be made.
pub fn hold(programs: &Programs, port: u16) -> Result<()> {
    let mut lab = Lab::up(programs, Setup::DIRECTED)?;
    let traffic = Traffic::start(&lab.network, LOAD, Some(lab.trust.clone()))?;
    let board = Board::new(traffic.ledger.clone());
    board.event("up", lab.members());
    let page = page::serve(board.clone(), port)?;
    lab.apply(Step::Rounds(1), &traffic)?;
    let _ = fs::remove_file(socket());
    let listener = UnixListener::bind(socket()).context("the socket of the run")?;
    for stream in listener.incoming() {
        let mut stream = stream?;
        let mut request = String::new();
        stream.read_to_string(&mut request)?;
        let words: Vec<&str> = request.split_whitespace().collect();
        if words == ["down"] {
            let _ = fs::remove_file(socket());
            traffic.finish()?;
            drop(lab);
            // Whoever asked may have gone; the run ends all the same.
            let _ = writeln!(stream, "{}", board.picture().verdict());
            return Ok(());
        }
        let answer = match perform(&words, &mut lab, &traffic, &board) {
            Ok(text) => format!("{text}page: http://{page}/"),
            Err(error) => format!("error: {error:#}"),
        };
        let _ = writeln!(stream, "{answer}");
    }
    Ok(())
}

fn perform(words: &[&str], lab: &mut Lab, traffic: &Traffic, board: &Board) -> Result<String> {
    if let Some(("fault", rest)) = words.split_first().map(|(first, rest)| (*first, rest)) {
        let step = Step::parse(rest)?;
        lab.apply(step, traffic)?;
        if let Step::Crash(id) = step {
            board.killed(id);
        }
        board.event(&rest.join(" "), lab.members());
    }
    let picture = board.picture();
    let mut text = picture.lines();
    for why in &picture.broken {
        text.push_str(&format!("broken: {why}\n"));
    }
    let spaces: Vec<&str> = lab.servers.iter().map(|server| server.space.name()).collect();
    text.push_str(&format!("namespaces: {}\n", spaces.join(" ")));
    Ok(text)
}
