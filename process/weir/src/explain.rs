//! `weir explain`: what becomes of a flow on this server, by the programs' own word.

use anyhow::{Context, bail};
use packet_loader::Home;
use packet_loader::explain::{Explainer, Protocol, Question};
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;

/// The flow, and how to tell of it.
#[derive(clap::Args, Debug)]
pub(crate) struct Options {
    /// Its protocol.
    #[arg(value_enum)]
    protocol: Transport,
    /// The client, as ADDRESS:PORT; an IPv6 address in brackets.
    source: SocketAddr,
    /// The VIP, as ADDRESS:PORT.
    destination: SocketAddr,
    /// A QUIC packet with this connection id, in hexadecimal digits.
    #[arg(long, value_name = "HEX")]
    quic_cid: Option<String>,
    /// The name under which the packet path is pinned.
    #[arg(long, default_value = packet_loader::pins::DEFAULT_NAME)]
    name: String,
    /// As JSON on standard output.
    #[arg(long)]
    json: bool,
}

/// Protocols of flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Transport {
    /// Its first segment, and a later one.
    Tcp,
    /// A datagram of it.
    Udp,
}

/// Explains.
///
/// # Errors
/// No packet path runs under this name, it is of another build, or the flow cannot be.
pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let question = question(options)?;
    let home = Home::at(Path::new(packet_loader::pins::ROOT), &options.name)?;
    let explainer = Explainer::open(&home).context("no packet path can be asked here")?;
    let explanation = explainer.explain(&question)?;
    if options.json {
        println!("{}", serde_json::to_string_pretty(&explanation)?);
    } else {
        print!("{explanation}");
    }
    Ok(ExitCode::SUCCESS)
}

fn question(options: &Options) -> anyhow::Result<Question> {
    let protocol = match (options.protocol, &options.quic_cid) {
        (Transport::Tcp, None) => Protocol::Tcp,
        (Transport::Tcp, Some(_)) => bail!("--quic-cid goes with udp: QUIC runs over it"),
        (Transport::Udp, None) => Protocol::Udp,
        (Transport::Udp, Some(digits)) => Protocol::Quic(octets(digits)?),
    };
    Ok(Question { protocol, source: options.source, destination: options.destination })
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
    fn connection_ids_are_pairs_of_digits() {
        assert_eq!(octets("40000207").unwrap(), [0x40, 0, 2, 7]);
        for wrong in ["4", "4g", "400", "ä0"] {
            assert!(octets(wrong).is_err(), "{wrong}");
        }
    }
}
