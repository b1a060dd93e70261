//! `weir explain`: what becomes of a flow on this server, by the programs' own word; or what holds
//! for a host of a configuration.

use crate::cli::Cli;
use crate::client;
use crate::commands::print_faults;
use crate::effective;
use crate::packet::{InForce, in_force};
use anyhow::{Context, bail};
use clap::CommandFactory;
use clap::error::ErrorKind;
use core_model::ListenAddress;
use packet_loader::Home;
use packet_loader::explain::{Explainer, Protocol, Question, Shield};
use packet_loader::shield::{Asked, Options as Made, asked::stands};
use packet_loader::sys::netlink;
use process_runtime::config_file;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The flow or the host, and how to tell of it.
#[derive(clap::Args, Debug)]
pub(crate) struct Options {
    /// Of a flow: `tcp` or `udp`, the client and the VIP, each as ADDRESS:PORT, an IPv6 address in
    /// brackets. Of a host: the configuration, and HOST or HOST/PATH.
    #[arg(required = true, num_args = 2..=3, value_names = ["PROTOCOL|FILE", "CLIENT|HOST", "VIP"])]
    target: Vec<String>,
    /// A QUIC packet with this connection id, in hexadecimal digits.
    #[arg(long, value_name = "HEX")]
    quic_cid: Option<String>,
    /// The name under which the packet path is pinned.
    #[arg(long, default_value = packet_loader::pins::DEFAULT_NAME)]
    name: String,
    /// Rules of the shield from this configuration; without it, those of the running weir.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// The admin address of the running weir, which is asked for the rules of its shield.
    #[arg(long, default_value = core_model::defaults::ADMIN_ADDRESS)]
    admin: ListenAddress,
    /// The interface that packets come in by, where the reverse path is checked; without it, the
    /// first that the programs are attached to.
    #[arg(long)]
    interface: Option<String>,
    /// As JSON on standard output.
    #[arg(long)]
    json: bool,
}

/// Protocols of flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transport {
    /// Its first segment, and a later one.
    Tcp,
    /// A datagram of it.
    Udp,
}

/// Explains.
///
/// # Errors
/// No packet path runs under this name, it is of another build, the flow cannot be, or nobody
/// serves the host.
pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let flow = match target(&options.target) {
        Ok(Target::Flow(flow)) => flow,
        Ok(Target::Host { file, host }) => return effective::run(file, host, options.json),
        Err(what) => Cli::command().error(ErrorKind::ValueValidation, what).exit(),
    };
    let question = question(&flow, options)?;
    let home = Home::at(Path::new(packet_loader::pins::ROOT), &options.name)?;
    let explainer = Explainer::open(&home).context("no packet path can be asked here")?;
    let shield = shield(options, &home)?;
    let explanation = explainer.explain(&question, &shield)?;
    if options.json {
        println!("{}", serde_json::to_string_pretty(&explanation)?);
    } else {
        print!("{explanation}");
    }
    Ok(ExitCode::SUCCESS)
}

/// What stands in front of the director.
fn shield(options: &Options, home: &Home) -> anyhow::Result<Shield> {
    let (of, source) = match &options.file {
        Some(file) => (of_file(file)?, file.display().to_string()),
        None if !stands(home)? => return Ok(Shield::Absent),
        None => match of_running(&options.admin, &options.name) {
            Ok(of) => (of, format!("the weir at {}", options.admin)),
            Err(why) => {
                let why = format!("{why:#}; name its configuration with --file");
                return Ok(Shield::Unknown(why));
            }
        },
    };
    let made = Made { reverse_path: of.reverse_path, ..Made::default() };
    let asked = Box::new(Asked::new(&of.rules, made).context("the shield")?);
    let interface = if of.reverse_path { came_in_by(options, home)? } else { Default::default() };
    Ok(Shield::Rules { asked, source, interface })
}

fn of_file(file: &Path) -> anyhow::Result<InForce> {
    let loaded = config_file::load(file).map_err(|faults| {
        print_faults(&faults);
        anyhow::anyhow!("{} cannot be used", file.display())
    })?;
    let config = loaded.config.packet;
    Ok(in_force(&config.with_context(|| format!("{} has no [packet]", file.display()))?))
}

/// What the process that looks after this packet path has in force.
fn of_running(admin: &ListenAddress, name: &str) -> anyhow::Result<InForce> {
    let reply = client::get(admin, "/packet/shield")?;
    if reply.status != 200 {
        let said = String::from_utf8_lossy(&reply.body);
        bail!("{admin} answered {}: {}", reply.status, said.trim().escape_debug());
    }
    let of: InForce = serde_json::from_slice(&reply.body)
        .with_context(|| format!("{admin} runs another version of weir"))?;
    if of.name != name {
        bail!("the weir at {admin} looks after the packet path `{}`, not `{name}`", of.name);
    }
    Ok(of)
}

/// Name and index of the interface that packets are taken to come in by.
fn came_in_by(options: &Options, home: &Home) -> anyhow::Result<(String, u32)> {
    let name = match &options.interface {
        Some(name) => name.clone(),
        None => {
            let attached = packet_loader::attached(home)?;
            let first = attached.into_iter().next();
            first
                .context("no interface has the programs: name one with --interface")?
                .interface
                .name
        }
    };
    let found = netlink::interface(&name);
    let found = found.with_context(|| format!("there is no interface `{name}`"))?;
    Ok((name, found.index))
}

/// What is asked about.
#[derive(Debug, PartialEq, Eq)]
enum Target<'a> {
    Flow(Flow),
    Host { file: &'a Path, host: &'a str },
}

#[derive(Debug, PartialEq, Eq)]
struct Flow {
    protocol: Transport,
    source: SocketAddr,
    destination: SocketAddr,
}

fn target(words: &[String]) -> Result<Target<'_>, String> {
    let (protocol, flow) = match words {
        [first, flow @ ..] if first == "tcp" => (Transport::Tcp, flow),
        [first, flow @ ..] if first == "udp" => (Transport::Udp, flow),
        [file, host] => return Ok(Target::Host { file: Path::new(file), host }),
        _ => (Transport::Tcp, [].as_slice()),
    };
    let [source, destination] = flow else {
        let what = "say `tcp CLIENT:PORT VIP:PORT`, `udp CLIENT:PORT VIP:PORT`, or `FILE HOST`";
        return Err(what.to_owned());
    };
    let address = |text: &str| {
        text.parse()
            .map_err(|_| format!("`{text}` is no ADDRESS:PORT, as 192.0.2.1:443, [::1]:443"))
    };
    let (source, destination) = (address(source)?, address(destination)?);
    Ok(Target::Flow(Flow { protocol, source, destination }))
}

fn question(flow: &Flow, options: &Options) -> anyhow::Result<Question> {
    let protocol = match (flow.protocol, &options.quic_cid) {
        (Transport::Tcp, None) => Protocol::Tcp,
        (Transport::Tcp, Some(_)) => bail!("--quic-cid goes with udp: QUIC runs over it"),
        (Transport::Udp, None) => Protocol::Udp,
        (Transport::Udp, Some(digits)) => Protocol::Quic(octets(digits)?),
    };
    Ok(Question { protocol, source: flow.source, destination: flow.destination })
}

fn octets(digits: &str) -> anyhow::Result<Vec<u8>> {
    let pairs = digits.as_bytes().chunks(2);
    let octet = |pair: &[u8]| {
        let text = std::str::from_utf8(pair).ok().filter(|text| text.len() == 2)?;
        u8::from_str_radix(text, 16).ok()
    };
    pairs
        .map(octet)
        .collect::<Option<Vec<u8>>>()
        .with_context(|| format!("--quic-cid {digits}: two hexadecimal digits for each octet"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_flow_or_a_host() {
        let check = |words: &[&str], expect: Option<Target<'_>>| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            assert_eq!(target(&words).ok(), expect, "{words:?}");
        };
        let flow = |protocol| {
            let (source, destination) = ("1.2.3.4:5".parse().unwrap(), "[::1]:6".parse().unwrap());
            Some(Target::Flow(Flow { protocol, source, destination }))
        };
        check(&["tcp", "1.2.3.4:5", "[::1]:6"], flow(Transport::Tcp));
        check(&["udp", "1.2.3.4:5", "[::1]:6"], flow(Transport::Udp));
        let file = Path::new("weir.toml");
        check(&["weir.toml", "a.test/x"], Some(Target::Host { file, host: "a.test/x" }));
        check(&["tcp", "1.2.3.4:5"], None);
        check(&["weir.toml", "a", "b"], None);
        check(&["tcp", "1.2.3.4", "[::1]:6"], None);
    }

    #[test]
    fn connection_ids_are_pairs_of_digits() {
        assert_eq!(octets("40000207").unwrap(), [0x40, 0, 2, 7]);
        for wrong in ["4", "4g", "400", "ä0"] {
            assert!(octets(wrong).is_err(), "{wrong}");
        }
    }
}
