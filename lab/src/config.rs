//! The configuration files that servers run on, as an operator would write them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use crate::network::{ORIGIN, VIP_V4, VIP_V6, VIPS_V4, VIPS_V6, server_address, server_address_v6};
use crate::origin;
use crate::service::{FLOW_PORT, QUESTION_PORT, QUIC_PORT, STREAM_PORT};
use crate::setup::{Cookies, Setup, Tables};
use crate::traffic::{quic, tls};

/// Where a server's Weir is asked, within its namespace.
pub const PROXY_ADMIN: &str = "127.0.0.1:9900";
/// Where a server's packet path is asked, within its namespace.
pub const PACKET_ADMIN: &str = "127.0.0.1:9901";
/// Buckets of each table: over a thousand for each server, so that a few flows spread evenly.
const BUCKETS: u32 = 8192;
/// The least that Maglev takes.
const MAGLEV_BUCKETS: u32 = 65_537;

/// The part of a file that says where its process is asked.
#[must_use]
pub fn admin(address: &str) -> String {
    format!("[admin]\naddress = \"{address}\"\n\n")
}

/// The part of a file that is a proxy: the same on every server.
#[must_use]
pub fn proxy(certificate: &Path, key: &Path) -> String {
    let mut text = "[runtime]\nworkers = 1\n\n".to_owned();
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

/// Other sizes of the maps that tables lie in, so that nothing of the tables can be taken over.
const OTHER_SIZES: &str = "trie_entries_max = 8192\nport_rows_max = 4096\nbuckets_max = 131072\n";

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
    /// What the run is made with.
    pub setup: Setup,
    /// Whether SYNs are answered with cookies while too many come.
    pub wary: bool,
    /// Whether maps have other sizes than at first.
    pub resized: bool,
}

impl Fleet {
    /// The part of a file that is the packet path of one server; `address` differs between servers,
    /// and `name`, as all have the same BPF file system here. `sockets` is the namespace of sockets
    /// where it is another one.
    #[must_use]
    pub fn packet(&self, own: u16, name: &str, sockets: Option<&Path>) -> String {
        let Setup { outer_v6, mtu, strict, .. } = self.setup;
        let address = |id| match outer_v6 {
            true => server_address_v6(id).to_string(),
            false => server_address(id).to_string(),
        };
        let mut text = format!(
            "[packet]\nname = \"{name}\"\ninterfaces = [\"eth0\"]\naddress = \"{}\"\n\
             hash_key = \"000102030405060708090a0b0c0d0e0f\"\nmtu = {mtu}\n",
            address(own)
        );
        if let Some(path) = sockets {
            let _ = writeln!(text, "netns = \"{}\"", path.display());
        }
        if strict {
            text.push_str("reverse_path = \"strict\"\n");
        }
        if self.resized {
            text.push_str(OTHER_SIZES);
        }
        text.push('\n');
        for (id, state) in &self.members {
            let (address, state) = (address(*id), state.word());
            let _ = write!(
                text,
                "[[server]]\nid = {id}\naddress = \"{address}\"\nstate = \"{state}\"\n\n"
            );
        }
        text + &self.trafficsets()
    }

    fn trafficsets(&self) -> String {
        let quic = format!(
            "dissector = \"quic\"\nquic = {{ config_id = {}, server_id_length = {}, \
             nonce_length = {} }}\n",
            quic::CONFIG_ID,
            quic::SERVER_ID_LEN,
            quic::NONCE_LEN
        );
        let cookies = match self.setup.cookies {
            Cookies::On => "syn_cookies = \"on\"\n",
            _ if self.wary => "syn_cookies = \"auto\"\n",
            _ => "",
        };
        let (every, questions) = match self.setup.tables {
            Tables::TwoSlot => (None, None),
            Tables::StatelessQuestions => (None, Some("fou")),
            Tables::Fou => (Some("fou"), Some("fou")),
            Tables::IpInIp => (Some("ipip"), Some("ipip")),
        };
        let tcp = format!("\"{}\", \"{STREAM_PORT}\"", tls::PORT);
        set("connections", "tcp", &tcp, every, cookies)
            + &set("flows", "udp", &format!("\"{FLOW_PORT}\""), every, "")
            + &set(
                "questions",
                "udp",
                &format!("\"{QUESTION_PORT}\""),
                questions,
                "udp = \"datagram\"\n",
            )
            + &set("quic", "udp", &format!("\"{QUIC_PORT}\""), every, &quic)
    }
}

/// A trafficset; `plain` is the tunnel of one whose servers keep no state.
fn set(name: &str, protocol: &str, ports: &str, plain: Option<&str>, more: &str) -> String {
    let table = match plain {
        None => format!("buckets = {BUCKETS}"),
        Some(tunnel) => format!(
            "strategy = \"maglev\"\nencapsulation = \"{tunnel}\"\nbuckets = {MAGLEV_BUCKETS}"
        ),
    };
    format!(
        "[[trafficset]]\nname = \"{name}\"\nprefixes = [\"{VIPS_V4}\", \"{VIPS_V6}\"]\n\
         protocols = [\"{protocol}\"]\nports = [{ports}]\n{table}\n{more}\n"
    )
}
