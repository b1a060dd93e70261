//! The configuration files that servers run on, as an operator would write them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use crate::network::{ORIGIN, VIP_V4, VIP_V6, VIPS_V4, VIPS_V6, server_address, server_address_v6};
use crate::origin;
use crate::service::{FLOW_PORT, QUESTION_PORT, QUIC_PORT, STREAM_PORT};
use crate::traffic::{quic, tls};

/// Where a server's Weir is asked, within its namespace.
pub const PROXY_ADMIN: &str = "127.0.0.1:9900";
/// Where a server's packet path is asked, within its namespace.
pub const PACKET_ADMIN: &str = "127.0.0.1:9901";
/// Buckets of each table: over a thousand for each server, so that a few flows spread evenly.
const BUCKETS: u32 = 8192;

/// The file of the proxy of any server.
#[must_use]
pub fn proxy(certificate: &Path, key: &Path) -> String {
    let mut text = format!("[admin]\naddress = \"{PROXY_ADMIN}\"\n\n[runtime]\nworkers = 1\n\n");
    let port = tls::PORT;
    for (name, vip) in [("v4", VIP_V4.to_string()), ("v6", format!("[{VIP_V6}]"))] {
        let (certificate, key) = (certificate.display(), key.display());
        let _ = write!(
            text,
            "[[listener]]\nname = \"{name}\"\naddress = \"{vip}:{port}\"\n\n\
             [[listener.tls.certificates]]\ncertificate = \"{certificate}\"\nkey = \"{key}\"\n\n"
        );
    }
    let _ = write!(
        text,
        "[[pool]]\nname = \"origin\"\n\n\
         [[pool.origins]]\nname = \"origin\"\naddress = \"{ORIGIN}\"\nport = {}\n\n\
         [[load_balancer]]\nname = \"*\"\ndefault_pools = [\"origin\"]\n",
        origin::PORT
    );
    text
}

/// What the configuration says of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It gets new flows.
    Active,
    /// It keeps its flows and gets no new ones.
    Draining,
    /// It gets nothing.
    Dead,
}

impl State {
    const fn word(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Draining => "draining",
            Self::Dead => "dead",
        }
    }
}

/// The fleet as every server is told.
#[derive(Clone, Debug)]
pub struct Fleet {
    /// Servers and their states.
    pub members: BTreeMap<u16, State>,
    /// Whether servers send to each other over IPv6.
    pub outer_v6: bool,
    /// MTU between servers. Octets.
    pub mtu: u16,
    /// Whether SYNs are answered with cookies by the programs.
    pub cookies: bool,
}

impl Fleet {
    /// The file of the packet path of one server; `address` differs between servers, and `name`,
    /// as all have the same BPF file system here.
    #[must_use]
    pub fn packet(&self, own: u16, name: &str) -> String {
        let address = |id| match self.outer_v6 {
            true => server_address_v6(id).to_string(),
            false => server_address(id).to_string(),
        };
        let mut text = format!(
            "[admin]\naddress = \"{PACKET_ADMIN}\"\n\n\
             [packet]\nname = \"{name}\"\ninterfaces = [\"eth0\"]\naddress = \"{}\"\n\
             hash_key = \"000102030405060708090a0b0c0d0e0f\"\nmtu = {}\n\n",
            address(own),
            self.mtu
        );
        for (id, state) in &self.members {
            let (address, state) = (address(*id), state.word());
            let _ = write!(
                text,
                "[[server]]\nid = {id}\naddress = \"{address}\"\nstate = \"{state}\"\n\n"
            );
        }
        text + &trafficsets(self.cookies)
    }
}

fn trafficsets(cookies: bool) -> String {
    let set = |name: &str, protocol: &str, ports: &str, more: &str| {
        format!(
            "[[trafficset]]\nname = \"{name}\"\nprefixes = [\"{VIPS_V4}\", \"{VIPS_V6}\"]\n\
             protocols = [\"{protocol}\"]\nports = [{ports}]\nbuckets = {BUCKETS}\n{more}\n"
        )
    };
    let quic = format!(
        "dissector = \"quic\"\nquic = {{ config_id = {}, server_id_length = {}, \
         nonce_length = {} }}\n",
        quic::CONFIG_ID,
        quic::SERVER_ID_LEN,
        quic::NONCE_LEN
    );
    let cookies = if cookies { "syn_cookies = \"on\"\n" } else { "" };
    set("connections", "tcp", &format!("\"{}\", \"{STREAM_PORT}\"", tls::PORT), cookies)
        + &set("flows", "udp", &format!("\"{FLOW_PORT}\""), "")
        + &set("questions", "udp", &format!("\"{QUESTION_PORT}\""), "udp = \"datagram\"\n")
        + &set("quic", "udp", &format!("\"{QUIC_PORT}\""), &quic)
}
