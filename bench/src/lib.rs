//! Side-by-side measurements of Weir and real peers: `cargo xtask bench http [ROW…]`, and of what
//! attacks cost good clients: `cargo xtask bench attack [ATTACK…]`; and of the packet programs:
//! `cargo xtask bench packet [ROW…]`; and of the control plane: `cargo xtask bench control [ROW…]`.
//!
//! What is measured: CPU time of a proxy's process tree per completed request, memory per idle
//! connection, latencies at a low rate, user-space instructions per request. One worker each,
//! pinned to one CPU; load and origin on the other; rounds interleaved; the minimum counts.
//! Nothing here sends a byte to an address outside this machine while it measures.

pub mod attack;
pub mod control;
pub mod h2;
pub mod histogram;
pub mod load;
pub mod machine;
pub mod measure;
pub mod namespace;
pub mod options;
pub mod origin;
pub mod packet;
pub mod peer;
pub mod reply;
pub mod row;
pub mod table;
pub mod tls;

use anyhow::{Context, Result, bail};

use options::{Options, What};

/// Runs what the words after `bench` ask for: `http [ROW…] [--rounds N] [--json FILE] …`.
///
/// # Errors
/// When an argument is not understood, a peer cannot be had or started, or a request failed.
pub fn run(args: &[String]) -> Result<()> {
    match args.split_first() {
        Some((what, rest)) if what == "http" => measured(What::Http, rest),
        Some((what, rest)) if what == "packet" => packets(rest),
        Some((what, rest)) if what == "control" => control::run(rest),
        Some((what, rest)) if what == "attack" => measured(What::Attack, rest),
        Some((what, _)) if what == "--help" || what == "-h" => {
            println!("{}", options::usage());
            Ok(())
        }
        Some((what, _)) => bail!("bench: {what:?} is not a benchmark\n{}", options::usage()),
        None => bail!("bench: which one?\n{}", options::usage()),
    }
}

/// The packet rows run in a network namespace of their own, for the interfaces they make.
fn packets(args: &[String]) -> Result<()> {
    let places = machine::Places::find();
    std::fs::create_dir_all(&places.peers).context("the folder of the copy of this program")?;
    if !namespace::inside() && namespace::reenter(&places)? == namespace::Reentered::Measured {
        return Ok(());
    }
    packet::run(args)
}

/// The two lives of a measurement: outside the namespace everything that needs the network or the
/// compiler is prepared, inside it the rows run.
fn measured(what: What, args: &[String]) -> Result<()> {
    let Some(options) = Options::parse(what, args)? else {
        println!("{}", options::usage());
        return Ok(());
    };
    let places = machine::Places::find();
    if !namespace::inside() {
        let _ = peer::prepare(&options, &places, peer::Network::Reachable)?;
        if namespace::reenter(&places)? == namespace::Reentered::Measured {
            return Ok(());
        }
    }
    namespace::settle();
    let peers = peer::prepare(&options, &places, peer::Network::Out)?;
    match what {
        What::Http => measure::all(&options, &places, &peers),
        What::Attack => attack::all(&options, &places, &peers),
    }
}
