//! What becomes of a flow, and why: the programs' own answer by test run in the kernel, and the
//! tables that led to it, stage by stage.
//!
//! The programs are loaded once more from the same object with the same constants, on the tables in
//! force, and with counters and taps of their own: an explanation shows in no counter and in no
//! capture. Sockets are those of the calling thread's network namespace. The shield comes first:
//! its rules are compiled once more, as the kernel does not tell what rules a program was made of.

mod frames;
mod shield;
mod text;

pub use shield::{RuleSaid, Shield, ShieldSaid, ShieldStage};

use crate::counters::{self, Counters, CountersError};
use crate::layout::{self, Layout};
use crate::load::want_cookies;
use crate::object::{EMBEDDED, ObjectError, Parsed, Programs};
use crate::pins::{Home, PinError};
use crate::publish::{Tables, TablesError};
use crate::settings::{Capacities, Settings};
use crate::shield::ShieldError;
use crate::sys::bpf;
use crate::sys::test_run::test_run;
use core_forwarding::Image;
use core_forwarding::trie::Trie;
use frames::{Probe, written};
use packet_abi::verdict::{Kind, Reason};
use packet_abi::{Address, Bucket, Descriptor, Server, Start, Trafficset, maps};
use packet_ebpf::host::{HostFrame, HostWorld};
use packet_ebpf::stage::{flow, forward, parse};
use packet_ebpf::{director, world::Constants};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use serde::Serialize;
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};

/// Octets of a QUIC connection id at most (RFC 9000 section 17.2).
pub const CONNECTION_ID_MAX: usize = 20;

/// The address of the redirector that is asked, so that none of a packet's hops is its own: the
/// dummy address of IPv4 (RFC 7600) and one of the addresses to discard of IPv6 (RFC 6666).
const AWAY_V4: [u8; 16] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 0, 8];
const AWAY_V6: [u8; 16] = [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8];

/// Why nothing was explained.
#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    /// Pins.
    #[error(transparent)]
    Pin(#[from] PinError),
    /// Tables.
    #[error(transparent)]
    Tables(#[from] TablesError),
    /// The programs could not be loaded once more.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// Counters.
    #[error(transparent)]
    Counters(#[from] CountersError),
    /// The shield.
    #[error(transparent)]
    Shield(#[from] ShieldError),
    /// Other programs run.
    #[error(
        "the programs that run are of another build than this command: use the `weir` that the \
         daemon runs, or start the daemon anew"
    )]
    OtherBuild,
    /// Two families.
    #[error("{source_address} and {destination} are of two families: name two of one")]
    Families {
        /// The client.
        source_address: SocketAddr,
        /// The VIP.
        destination: SocketAddr,
    },
    /// No connection id.
    #[error("a connection id has 1 to {CONNECTION_ID_MAX} octets, not {0}")]
    ConnectionId(usize),
    /// A test run failed.
    #[error("the kernel did not run the {program} on a packet that was made for it")]
    Run {
        /// Which.
        program: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// A flow that is asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Which packets of it.
    pub protocol: Protocol,
    /// The client.
    pub source: SocketAddr,
    /// The VIP.
    pub destination: SocketAddr,
}

/// Protocol of a flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// TCP: its first packet and a later one.
    Tcp,
    /// UDP.
    Udp,
    /// QUIC: a packet with a short header and this connection id.
    Quic(Vec<u8>),
}

/// What becomes of a flow, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// `tcp`, `udp` or `quic`.
    pub protocol: &'static str,
    /// The client.
    pub source: SocketAddr,
    /// The VIP.
    pub destination: SocketAddr,
    /// This server's id.
    pub self_id: u16,
    /// The generation in force.
    pub generation: u64,
    /// What stands in front of the director.
    pub shield: ShieldStage,
    /// What the tables say; `None` where the destination is no VIP, or has no service at the port.
    pub service: Option<Service>,
    /// What the programs say of each kind of packet.
    pub answers: Vec<Answer>,
}

/// What the tables say of a flow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Service {
    /// Place of the trafficset among those of the configuration, from 0.
    pub trafficset: u16,
    /// What tells its flows apart: `4-tuple`, `quic` or `session-id`.
    pub dissector: &'static str,
    /// `two-slot` or `maglev`.
    pub strategy: &'static str,
    /// `gue`, `fou` or `ipip`.
    pub encapsulation: &'static str,
    /// The flow's hash, in hex.
    pub hash: String,
    /// The server that the connection id names.
    pub named: Option<u32>,
    /// The bucket, from the first of the table.
    pub bucket: u32,
    /// Buckets of the table.
    pub buckets: u32,
    /// The bucket's first slot; `None` is empty.
    pub first: Option<Slot>,
    /// Its second slot.
    pub second: Option<Slot>,
    /// Octets of the largest packet of the flow that fits through the tunnel with a second hop.
    pub largest: u32,
}

/// A server in a slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Slot {
    /// Its id.
    pub id: u32,
    /// Its address; `None` where there is no such server.
    pub address: Option<IpAddr>,
    /// Whether it is dead.
    pub dead: bool,
    /// Whether it is this server.
    pub here: bool,
}

/// What a program says of a packet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Said {
    /// What becomes of it.
    pub verdict: &'static str,
    /// Why, in a word.
    pub reason: &'static str,
    /// Why, in a sentence.
    pub says: &'static str,
}

impl Said {
    const fn of(reason: Reason) -> Self {
        Self { verdict: reason.kind().word(), reason: reason.word(), says: reason.says() }
    }
}

/// What becomes of one kind of packet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// Which kind.
    pub packet: &'static str,
    /// What the shield says; `None` where there is none, or its rules are not known.
    pub shield: Option<ShieldSaid>,
    /// What the director says; `None` of a packet that the shield drops.
    pub director: Option<Said>,
    /// Where it is sent.
    pub tunnel: Option<Tunnel>,
    /// What the redirector would say if this host were the server it is sent to.
    pub redirector: Option<Said>,
}

/// The outer headers of a packet that is sent on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Tunnel {
    /// From whom.
    pub source: IpAddr,
    /// To whom.
    pub destination: IpAddr,
    /// UDP source port, which spreads flows over the ways and queues between servers.
    pub source_port: Option<u16>,
    /// Servers after the destination.
    pub hops: Vec<IpAddr>,
    /// Octets of the outer packet.
    pub octets: usize,
    /// Octets it may have.
    pub mtu: u32,
}

/// Programs on the tables in force, with counters of their own.
pub struct Explainer {
    settings: Settings,
    tables: Tables,
    programs: Programs,
    redirector: OwnedFd,
    away: Address,
    counters: Counters,
    /// Keeps the slots of the chain filled.
    _chain: OwnedFd,
}

impl Explainer {
    /// Loads the programs once more, on the tables pinned under `home`.
    ///
    /// # Errors
    /// [`ExplainError`].
    pub fn open(home: &Home) -> Result<Self, ExplainError> {
        let described = home.open(layout::NAME)?;
        let running = Layout::read(described.as_fd()).ok().flatten();
        let running = running.ok_or(ExplainError::OtherBuild)?;
        let settings = running.settings;
        if running != Layout::of(EMBEDDED, &settings) {
            return Err(ExplainError::OtherBuild);
        }
        let mut maps = BTreeMap::new();
        for name in crate::upgrade::TABLES {
            maps.insert(name.to_owned(), home.open(name)?);
        }
        let capacities = Capacities::of(|name| {
            let info = bpf::map_info(maps.get(name)?.as_fd()).ok()?;
            Some(info.shape.value)
        });
        let tables = Tables::open(home)?;
        let parsed = Parsed::new(EMBEDDED, &settings, &capacities)?;
        let programs = parsed.load(&mut maps)?;
        let cookies = want_cookies(&tables.image()).then(|| parsed.load_cookies(&maps));
        let cookies = cookies.transpose()?;
        let away = Address::of(if settings.outer_v6() { AWAY_V6 } else { AWAY_V4 });
        let there = Settings { address: away, ..settings };
        let there = Parsed::new(EMBEDDED, &there, &capacities)?;
        let redirector = there.load_redirector(&maps)?;
        let absent = || PinError::Absent { path: home.path().to_owned() };
        let counters = Counters::of(maps.remove(maps::COUNTERS).ok_or_else(absent)?)?;
        let chain = maps.remove(maps::CHAIN).ok_or_else(absent)?;
        let slots = [
            (maps::CHAIN_TOO_BIG, Some(&programs.too_big)),
            (maps::CHAIN_COOKIE, cookies.as_ref().map(|cookies| &cookies.decide)),
            (maps::CHAIN_COOKIE_ANSWER, cookies.as_ref().map(|cookies| &cookies.answer)),
        ];
        for (slot, program) in slots {
            if let Some(program) = program {
                bpf::store_fd(chain.as_fd(), slot, program.as_fd())
                    .map_err(|source| ExplainError::Run { program: "director", source })?;
            }
        }
        Ok(Self { settings, tables, programs, redirector, away, counters, _chain: chain })
    }

    /// Explains a flow.
    ///
    /// # Errors
    /// [`ExplainError`].
    pub fn explain(
        &self,
        question: &Question,
        shield: &Shield,
    ) -> Result<Explanation, ExplainError> {
        let Question { source, destination, .. } = *question;
        let (protocol, probes) = match &question.protocol {
            Protocol::Tcp => ("tcp", vec![Probe::Syn, Probe::Ack]),
            Protocol::Udp => ("udp", vec![Probe::Datagram]),
            Protocol::Quic(id) if (1..=CONNECTION_ID_MAX).contains(&id.len()) => {
                ("quic", vec![Probe::Quic(id.clone())])
            }
            Protocol::Quic(id) => return Err(ExplainError::ConnectionId(id.len())),
        };
        let image = self.tables.image();
        let generation = self.tables.descriptor().generation;
        let mut service = None;
        let mut answers = Vec::new();
        for probe in probes {
            let families = || ExplainError::Families { source_address: source, destination };
            let frame = probe.frame(source, destination).ok_or_else(families)?;
            service = service.or_else(|| self.service(&image, &frame, protocol, destination));
            answers.push(self.answer(&probe, &frame, shield)?);
        }
        let self_id = self.settings.self_id;
        let shield = shield.stage();
        Ok(Explanation {
            protocol,
            source,
            destination,
            self_id,
            generation,
            shield,
            service,
            answers,
        })
    }

    fn run(
        &self,
        name: &'static str,
        program: BorrowedFd<'_>,
        frame: &[u8],
    ) -> Result<(Reason, Vec<u8>), ExplainError> {
        let failed = |source| ExplainError::Run { program: name, source };
        let before = self.counters.read()?;
        let outcome = test_run(program, frame, 1).map_err(failed)?;
        let after = self.counters.read()?;
        let reason = counters::moved(&before, &after);
        let reason = reason.ok_or_else(|| failed(io::ErrorKind::InvalidData.into()))?;
        Ok((reason, outcome.frame))
    }

    fn answer(&self, probe: &Probe, frame: &[u8], shield: &Shield) -> Result<Answer, ExplainError> {
        let mut answer = Answer {
            packet: probe.name(),
            shield: shield.judge(frame)?,
            director: None,
            tunnel: None,
            redirector: None,
        };
        if answer.shield.as_ref().is_some_and(|said| said.reason.is_some()) {
            return Ok(answer);
        }
        let (reason, out) = self.run("director", self.programs.director.as_fd(), frame)?;
        answer.director = Some(Said::of(reason));
        if reason.kind() != Kind::Send {
            return Ok(answer);
        }
        let mtu = self.settings.mtu;
        answer.tunnel = frames::outer(&out, self.settings.gue_port).map(|outer| Tunnel {
            source: outer.source,
            destination: outer.destination,
            source_port: outer.port,
            hops: outer.hops,
            octets: outer.octets,
            mtu,
        });
        if let Some(arriving) = frames::sent_to(&out, written(self.away.octets())) {
            let program = self.redirector.as_fd();
            answer.redirector = Some(Said::of(self.run("redirector", program, &arriving)?.0));
        }
        Ok(answer)
    }

    /// What the tables say, by the stages of the director over memory.
    fn service(
        &self,
        image: &Image,
        frame: &[u8],
        protocol: &str,
        destination: SocketAddr,
    ) -> Option<Service> {
        let (entries, rows) = (image.trie.clone(), image.rows.clone());
        let trie = Trie { root: image.root, entries, rows };
        let index = trie.look_up(destination.ip(), protocol != "tcp", destination.port())?;
        let set = image.sets.get(usize::from(index))?;
        let frame = HostFrame::new(frame, 0);
        let link = parse::link(&frame).ok()?;
        let world = self.world();
        let packet = parse::network(&frame, &world, link, director::BLAME).ok()?;
        let seen = flow::transport(&frame, &packet).ok()?;
        let subject = flow::dissect(&frame, &world, &packet, &seen, set);
        let bucket = forward::slot(set, subject.hash);
        let place = set.table_base.checked_add(bucket)? as usize;
        let slots = Bucket(*image.buckets.get(place)?);
        Some(Service {
            trafficset: index,
            dissector: ["4-tuple", "quic", "session-id"].get(usize::from(set.dissector))?,
            strategy: if set.flags & Trafficset::MAGLEV == 0 { "two-slot" } else { "maglev" },
            encapsulation: ["gue", "fou", "ipip"].get(usize::from(set.encapsulation))?,
            hash: format!("{:016x}", subject.hash),
            named: (subject.named != 0).then_some(subject.named),
            bucket,
            buckets: set.table_len,
            first: self.slot(image, slots.first()),
            second: self.slot(image, slots.second()),
            largest: self.settings.mtu.saturating_sub(self.overhead(set)),
        })
    }

    fn slot(&self, image: &Image, id: u32) -> Option<Slot> {
        if id == 0 {
            return None;
        }
        let server = image.servers.get(id as usize).filter(|one| one.flags & Server::PRESENT != 0);
        Some(Slot {
            id,
            address: server.map(|server| written(server.address.octets())),
            dead: server.is_some_and(|server| server.flags & Server::DEAD != 0),
            here: id == u32::from(self.settings.self_id),
        })
    }

    /// Octets that the tunnel adds at most.
    fn overhead(&self, set: &Trafficset) -> u32 {
        use packet_abi::gue::{HEADER_LEN, HOP_V4_LEN, HOP_V6_LEN};
        use packet_abi::net::{IPV4_LEN, IPV6_LEN, UDP_LEN};
        let v6 = self.settings.outer_v6();
        let (outer, hop) = if v6 { (IPV6_LEN, HOP_V6_LEN) } else { (IPV4_LEN, HOP_V4_LEN) };
        let octets = match set.encapsulation {
            0 => outer + UDP_LEN + HEADER_LEN + hop,
            1 => outer + UDP_LEN,
            _ => outer,
        };
        octets as u32
    }

    /// A world of constants alone, for the stages that ask for no more.
    fn world(&self) -> HostWorld {
        let Settings { key, self_id, address, mtu, cookie_wscale, .. } = self.settings;
        let fixed = Constants {
            start: Start::of(&key),
            self_id: u32::from(self_id),
            self_address: address,
            outer_v6: self.settings.outer_v6(),
            gue_port: self.settings.gue_port.to_be(),
            fou_port: self.settings.fou_port.to_be(),
            mtu,
            cookie_wscale,
        };
        HostWorld {
            fixed,
            descriptor: Descriptor::default(),
            trie: Vec::new(),
            rows: Vec::new(),
            sets: Vec::new(),
            servers: Vec::new(),
            buckets: Vec::new(),
            sockets: Vec::new(),
            notes: Default::default(),
            silent: true,
            cookie: None,
            flooded: false,
            milliseconds: 0,
        }
    }
}
