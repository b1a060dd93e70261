//! The network of a run: a router, two clients, an origin and the servers, each in a namespace,
//! with their links, addresses and routes.
//!
//! ```text
//!   client 1 (IPv4) ──┐            ┌── server 1 ─┐
//!                     ├── router ──┼── …         ├── VIPs are local on every one of them
//!   client 2 (IPv6) ──┘     │      └── server 5 ─┘
//!                         origin
//! ```
//!
//! Clients, servers and origin know the router only, which spreads the VIPs over servers by ECMP.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::thread;

use anyhow::{Context, Result, anyhow};
use packet_loader::sys::bpf::{self, Code, place, program};
use packet_loader::sys::netlink;

use crate::namespace::Namespace;
use crate::setup::Setup;

/// Servers there are links for; the last is the spare that a scenario adds.
pub const SERVERS: u16 = 5;
/// Servers that a run starts with.
pub const SERVERS_AT_FIRST: u16 = 4;
/// The VIP of clients that speak IPv4; all of 203.0.113.0/24 is routed.
pub const VIP_V4: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 10);
/// The VIP of clients that speak IPv6; all of 2001:db8:113::/48 is routed.
pub const VIP_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x113, 0, 0, 0, 0, 0x10);
/// The prefix of [`VIP_V4`].
pub const VIPS_V4: &str = "203.0.113.0/24";
/// The prefix of [`VIP_V6`].
pub const VIPS_V6: &str = "2001:db8:113::/48";
/// Where the origin is reached.
pub const ORIGIN: Ipv4Addr = Ipv4Addr::new(10, 66, 100, 2);
/// MTU towards clients: that of the Internet. Octets.
pub const CLIENT_MTU: u16 = 1500;
/// MTU between servers, so that a full packet fits with its outer headers. Octets.
pub const FLEET_MTU: u16 = 1600;

/// Sources that no client has, of which floods claim to come (RFC 6598).
pub const BOGONS_V4: &str = "100.64.0.0/10";
/// The same of IPv6.
pub const BOGONS_V6: &str = "2001:db8:dead::/48";

/// In the driver (`XDP_FLAGS_DRV_MODE`).
const NATIVE: u32 = 1 << 2;
/// Settings of a namespace that takes packets for VIPs on its link.
const TAKES_VIPS: [(&str, &str); 4] = [
    ("ipv4/conf/all/rp_filter", "0"),
    ("ipv4/conf/default/rp_filter", "0"),
    ("ipv4/conf/eth0/rp_filter", "0"),
    // A local route makes an IPv4 address one that can be bound, but not an IPv6 address.
    ("ipv6/ip_nonlocal_bind", "1"),
];
/// Settings of a namespace that forwards.
const FORWARDS: [(&str, &str); 2] =
    [("ipv4/conf/all/forwarding", "1"), ("ipv6/conf/all/forwarding", "1")];
/// The routes by which VIPs are a namespace's own.
const LOCAL_VIPS: &str =
    "route add local 203.0.113.0/24 dev lo\nroute add local 2001:db8:113::/48 dev lo\n";

/// A client's family: client 1 speaks IPv4, client 2 speaks IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// The VIP of this family.
    #[must_use]
    pub const fn vip(self) -> IpAddr {
        match self {
            Self::V4 => IpAddr::V4(VIP_V4),
            Self::V6 => IpAddr::V6(VIP_V6),
        }
    }

    /// For people.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::V4 => "v4",
            Self::V6 => "v6",
        }
    }
}

/// A server's own IPv4 address, by which others send to it through the tunnel.
#[must_use]
pub fn server_address(id: u16) -> Ipv4Addr {
    let third = u8::try_from(id).unwrap_or(u8::MAX);
    Ipv4Addr::new(10, 66, third, 2)
}

/// A server's own IPv6 address.
#[must_use]
pub fn server_address_v6(id: u16) -> Ipv6Addr {
    // The digits of the id stand in the address, as they do in the IPv4 address.
    Ipv6Addr::new(0xfd66, id, 0, 0, 0, 0, 0, 2)
}

/// The IPv4 address of a server's sockets, where they are in a namespace of their own.
#[must_use]
pub fn sockets_address(id: u16) -> Ipv4Addr {
    let third = u8::try_from(id).unwrap_or(u8::MAX);
    Ipv4Addr::new(10, 67, third, 2)
}

/// The server whose own address this is.
#[must_use]
pub fn server_of(address: IpAddr) -> Option<u16> {
    let IpAddr::V4(address) = address.to_canonical() else { return None };
    (1..=SERVERS).find(|id| [server_address(*id), sockets_address(*id)].contains(&address))
}

/// The name of a server's namespace and of the router's link to it.
#[must_use]
pub fn server_name(id: u16) -> String {
    format!("s{id}")
}

/// The namespaces of a run.
#[derive(Clone, Debug)]
pub struct Network {
    /// What forwards.
    pub router: Namespace,
    /// Client 1 and client 2.
    pub clients: [Namespace; 2],
    /// Where the content comes from.
    pub origin: Namespace,
    /// Server 1 first.
    pub servers: Vec<Namespace>,
    /// Where the servers' sockets are, server 1 first; none where they are where the links are.
    pub sockets: Vec<Namespace>,
    /// Keeps the programs at the router's ends of the servers' links.
    polled: Arc<Vec<OwnedFd>>,
}

/// One link of the router: the name of its end, and what is different about it.
struct Link {
    name: String,
    mtu: u16,
    /// The router's address, the other's, and their prefix length.
    v4: (String, String),
    v6: (String, String),
}

impl Link {
    fn to_server(id: u16, mtu: u16) -> Self {
        let v4 = (format!("10.66.{id}.1"), format!("10.66.{id}.2"));
        Self {
            name: server_name(id),
            mtu,
            v4,
            v6: (format!("fd66:{id}::1"), format!("fd66:{id}::2")),
        }
    }

    fn plain(name: &str, v4: &str, v6: &str) -> Self {
        let both = |prefix: &str, dot: &str| (format!("{prefix}{dot}1"), format!("{prefix}{dot}2"));
        Self { name: name.to_owned(), mtu: CLIENT_MTU, v4: both(v4, "."), v6: both(v6, "::") }
    }
}

impl Network {
    /// Makes namespaces, links, addresses and routes as a run wants them.
    ///
    /// # Errors
    /// When the rights for it or a tool are missing.
    pub fn make(run: &str, setup: &Setup) -> Result<Self> {
        let create = |name: &str| Namespace::create(format!("{run}-{name}"));
        let router = create("r")?;
        let clients = [create("c1")?, create("c2")?];
        let origin = create("o")?;
        let servers: Result<Vec<Namespace>> =
            (1..=SERVERS).map(|id| create(&server_name(id))).collect();
        let sockets = if setup.apart { SERVERS } else { 0 };
        let sockets: Result<Vec<Namespace>> =
            (1..=sockets).map(|id| create(&format!("a{id}"))).collect();
        let (servers, sockets) = (servers?, sockets?);
        let polled = Arc::default();
        let mut network = Self { router, clients, origin, servers, sockets, polled };
        network.router.set(&[
            ("ipv4/ip_forward", "1"),
            ("ipv6/conf/all/forwarding", "1"),
            ("ipv4/fib_multipath_hash_policy", "1"),
            ("ipv6/fib_multipath_hash_policy", "1"),
            ("ipv4/conf/all/rp_filter", "0"),
            ("ipv4/conf/default/rp_filter", "0"),
            // Errors that the floods provoke are not held back, so that scenarios are the same
            // in every run.
            ("ipv4/icmp_ratelimit", "0"),
        ])?;
        let links = network.links(setup.mtu);
        let servers: Vec<_> = (1..).zip(&network.servers).collect();
        // Each end is a handful of processes, and they wait more than they work.
        at_once(&links, |(link, space)| network.join(link, space))?;
        at_once(&servers, |(id, server)| {
            server.set(&TAKES_VIPS)?;
            if setup.strict {
                network.know_bogons(server)?;
            }
            match network.sockets.get(usize::from(*id) - 1) {
                Some(sockets) => network.set_apart(*id, server, sockets),
                None => server.ip(LOCAL_VIPS),
            }
        })?;
        let polled = network.router.inside(|| (1..=SERVERS).map(poll).collect());
        network.polled = Arc::new(polled?);
        Ok(network)
    }

    /// The namespace of a server.
    ///
    /// # Errors
    /// When there is none of that id.
    pub fn server(&self, id: u16) -> Result<&Namespace> {
        let at = usize::from(id).checked_sub(1).and_then(|at| self.servers.get(at));
        at.with_context(|| format!("no server {id}: there are 1 to {SERVERS}"))
    }

    /// The namespace of the client that speaks a family.
    #[must_use]
    pub fn client(&self, family: Family) -> &Namespace {
        let [first, second] = &self.clients;
        match family {
            Family::V4 => first,
            Family::V6 => second,
        }
    }

    fn links(&self, fleet_mtu: u16) -> Vec<(Link, &Namespace)> {
        let [first, second] = &self.clients;
        let mut links = vec![
            (Link::plain("c1", "198.51.100", "2001:db8:c1"), first),
            (Link::plain("c2", "192.0.2", "2001:db8:c2"), second),
            (Link::plain("o", "10.66.100", "fd66:100"), &self.origin),
        ];
        let servers = (1..).zip(&self.servers);
        links.extend(servers.map(|(id, space)| (Link::to_server(id, fleet_mtu), space)));
        links
    }

    /// Makes a link; the other end is named eth0, and its default route leads to the router.
    fn join(&self, link: &Link, space: &Namespace) -> Result<()> {
        let Link { name, mtu, v4, v6 } = link;
        self.router.ip(&format!(
            "link add name {name} mtu {mtu} type veth peer name eth0 mtu {mtu} netns {}\n\
             addr add {}/24 dev {name}\n\
             addr add {}/64 dev {name} nodad\n\
             link set dev {name} up\n",
            space.name(),
            v4.0,
            v6.0
        ))?;
        space.ip(&format!(
            "addr add {}/24 dev eth0\n\
             addr add {}/64 dev eth0 nodad\n\
             link set dev eth0 up\n\
             route add default via {}\n\
             route add default via {}\n",
            v4.1, v6.1, v4.0, v6.0
        ))?;
        // A checksum that is left to the hardware stays undone on the way, and is wrong once the
        // packet is wrapped in another.
        space.tool("ethtool -K eth0 tx off")?;
        self.router.tool(&format!("ethtool -K {name} tx off")).map(drop)
    }

    /// Gives a server's sockets a namespace of their own behind it, which has the VIPs. Replies go
    /// the way back, since a server there has one way out.
    fn set_apart(&self, id: u16, server: &Namespace, sockets: &Namespace) -> Result<()> {
        sockets.set(&TAKES_VIPS[..2])?;
        server.set(&FORWARDS)?;
        server.ip(&format!(
            "link add name app mtu {CLIENT_MTU} type veth \
             peer name eth0 mtu {CLIENT_MTU} netns {}\n\
             addr add 10.67.{id}.1/24 dev app\n\
             addr add fd67:{id}::1/64 dev app nodad\n\
             link set dev app up\n\
             route add {VIPS_V4} via 10.67.{id}.2\n\
             route add {VIPS_V6} via fd67:{id}::2\n",
            sockets.name()
        ))?;
        sockets.set(&TAKES_VIPS)?;
        sockets.ip(&format!(
            "addr add 10.67.{id}.2/24 dev eth0\n\
             addr add fd67:{id}::2/64 dev eth0 nodad\n\
             link set dev eth0 up\n\
             route add default via 10.67.{id}.1\n\
             route add default via fd67:{id}::1\n{LOCAL_VIPS}"
        ))?;
        self.router.ip(&format!("route add 10.67.{id}.0/24 via 10.66.{id}.2\n"))
    }

    /// Gives a server routes to the sources that floods make up: to an inner network, and nowhere.
    /// The kernel answers questions for routes at an interface that forwards.
    fn know_bogons(&self, server: &Namespace) -> Result<()> {
        server.set(&FORWARDS)?;
        server.ip(&format!(
            "link add name inner type ifb\n\
             link set dev inner up\n\
             route add {BOGONS_V4} dev inner\n\
             route add unreachable {BOGONS_V6}\n"
        ))
    }

    /// Spreads the VIPs over servers; each stands with its weight. Another order or other weights
    /// move flows to other servers, as a change in a real router does.
    ///
    /// # Errors
    /// When a server's link is down, or there is no server at all.
    pub fn spread(&self, servers: &[(u16, u8)]) -> Result<()> {
        let mut lines = String::new();
        for (prefix, address) in [(VIPS_V4, ecmp_v4 as fn(u16) -> String), (VIPS_V6, ecmp_v6)] {
            // A single next hop is written as such: IPv6 keeps no set of one.
            let _ = write!(lines, "route replace {prefix} proto static");
            match servers {
                [(only, _)] => {
                    let _ = write!(lines, " via {}", address(*only));
                }
                more => {
                    for (id, weight) in more {
                        let via = address(*id);
                        let _ = write!(lines, " nexthop via {via} weight {weight}");
                    }
                }
            }
            lines.push('\n');
        }
        self.router.ip(&lines).context("spreading the VIPs over servers")
    }

    /// Cuts or restores a server's link, at the router's end.
    ///
    /// # Errors
    /// When ip refuses.
    pub fn link(&self, id: u16, up: bool) -> Result<()> {
        let state = if up { "up" } else { "down" };
        self.router.ip(&format!("link set dev {} {state}\n", server_name(id)))
    }
}

/// Attaches a program that passes everything to the router's end of a server's link, for as long as
/// its descriptor is open. A veth interface that has none takes what its peer sends by XDP, and is
/// not told of it: it lies there until something else comes, or for ever once the ring is full.
fn poll(id: u16) -> Result<OwnedFd> {
    // r0 = 2 (XDP_PASS); exit
    const PASS: [u8; 16] = [0xb7, 0, 0, 0, 2, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0];
    let code = Code {
        name: "lab_pass",
        kind: program::XDP,
        place: place::XDP,
        flags: 0,
        license: c"GPL",
        instructions: &PASS,
    };
    let name = server_name(id);
    let attached = bpf::load(code).map_err(|refusal| refusal.error).and_then(|program| {
        let index = netlink::interface(&name)?.index;
        bpf::create_link(program.as_fd(), index, place::XDP, NATIVE)
    });
    attached.with_context(|| format!("a program at the router's link {name}"))
}

/// Does something with each of some things at once.
fn at_once<T: Sync>(all: &[T], work: impl Fn(&T) -> Result<()> + Sync) -> Result<()> {
    let work = &work;
    thread::scope(|scope| {
        let threads: Vec<_> = all.iter().map(|one| scope.spawn(move || work(one))).collect();
        threads.into_iter().try_for_each(|thread| {
            thread.join().map_err(|_| anyhow!("work on the network panicked"))?
        })
    })
}

fn ecmp_v4(id: u16) -> String {
    server_address(id).to_string()
}

fn ecmp_v6(id: u16) -> String {
    server_address_v6(id).to_string()
}
