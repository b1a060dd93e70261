//! SYN cookies on real traffic: a client gets through a flood of spoofed SYNs, with its options,
//! and the stack behind the programs sees nothing of the flood.
//!
//! ```text
//!  edge ── edge0 ◄──────────► wire0 ── router: client, attacker
//!                                       │ wire1 ◄──► other0 ── other: a director
//! ```

#![expect(unsafe_code, reason = "what a connection agreed on is asked by a socket option")]

use crate::counted;
use crate::flood::wait_until;
use crate::spoof::Spoof;
use crate::world::{self, EDGE, Place, VIP, World, pass_at, tool, within};
use core_forwarding::image::{Dissection, Room, ServerSpec, Strategy, TrafficsetSpec};
use core_forwarding::trie::Network;
use core_forwarding::{Image, Member, State};
use packet_abi::verdict::Reason;
use packet_abi::{Address, Bucket, Encapsulation, HashKey, Trafficset};
use packet_loader::cookies::window_scale;
use packet_loader::settings::NO_WINDOW_SCALE;
use packet_loader::{Capacities, EMBEDDED, Home, Loaded, Mode, Settings, load};
use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// SYNs that nobody stands behind, at least.
const SPOOFED: u64 = 1_000_000;
/// Octets that the client sends, and gets back.
const TRANSFER: usize = 4 << 20;
/// SYNs after which a flood has shown what it meets.
const SOME: u64 = 10_000;
/// How long either end waits for the other.
const PATIENCE: Duration = Duration::from_secs(60);
/// Segments that the stack may have seen: those of the transfer, many times over.
const SEGMENTS: u64 = SPOOFED / 10;
/// The VIP of IPv6.
const VIP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 7, 0, 0, 0, 0, 7);
/// The other director.
const OTHER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
/// Ids of the servers: this one, the other director, and a second hop.
const IDS: [(u16, Ipv4Addr); 3] = [(1, EDGE), (2, OTHER), (3, Ipv4Addr::new(192, 0, 2, 3))];

/// What a client meets.
#[derive(Clone, Copy)]
struct Way {
    /// `net.ipv4.tcp_timestamps` of the server.
    timestamps: u8,
    vip: IpAddr,
    /// Whether its packets come by the other director's tunnel.
    tunnel: bool,
    /// Octets of a segment that the client is told, and those that the server takes from the
    /// cookie; both without the options of each segment.
    told: u32,
    kept: u32,
}

#[test]
fn a_client_gets_through_with_its_options() {
    let vip = IpAddr::V4(VIP);
    check(
        "a_client_gets_through_with_its_options",
        Way { timestamps: 2, vip, tunnel: false, told: 1420, kept: 1460 },
    );
}

#[test]
fn a_client_gets_through_with_its_segment_size_alone() {
    let vip = IpAddr::V4(VIP);
    check(
        "a_client_gets_through_with_its_segment_size_alone",
        Way { timestamps: 1, vip, tunnel: false, told: 1420, kept: 1460 },
    );
}

#[test]
fn a_client_of_ipv6_gets_through_with_its_options() {
    let vip = IpAddr::V6(VIP6);
    check(
        "a_client_of_ipv6_gets_through_with_its_options",
        Way { timestamps: 2, vip, tunnel: false, told: 1400, kept: 1440 },
    );
}

#[test]
fn a_client_of_ipv6_gets_through_with_its_segment_size_alone() {
    let vip = IpAddr::V6(VIP6);
    check(
        "a_client_of_ipv6_gets_through_with_its_segment_size_alone",
        Way { timestamps: 1, vip, tunnel: false, told: 1400, kept: 1440 },
    );
}

#[test]
fn a_client_gets_through_by_the_tunnel_of_another_director() {
    let vip = IpAddr::V4(VIP);
    check(
        "a_client_gets_through_by_the_tunnel_of_another_director",
        Way { timestamps: 2, vip, tunnel: true, told: 1420, kept: 1460 },
    );
}

#[test]
fn without_the_programs_the_stack_answers_each_syn() {
    within("without_the_programs_the_stack_answers_each_syn", |world| {
        let home = world.home();
        flood_the_stack(&world, "2", 0);
        assert_eq!(counted(&home, Reason::CookieSent), 0);
        assert!(stack("snmp", "Tcp: InSegs") > SOME);
        assert_eq!(half_open(), 0);
    });
}

#[test]
fn unless_syncookies_is_2_request_sockets_come_first() {
    within("unless_syncookies_is_2_request_sockets_come_first", |world| {
        let home = world.home();
        flood_the_stack(&world, "1", Trafficset::COOKIES);
        assert!(counted(&home, Reason::LocalUncooked) > 0);
        // The queue of the listener is full, and only then are there cookies.
        assert!(half_open() > 100, "{} sockets", half_open());
        assert!(counted(&home, Reason::CookieSent) > 0);
    });
}

/// Floods a listener until the stack has sent cookies, or the programs have.
fn flood_the_stack(world: &World, syncookies: &str, flags: u32) {
    let vip = IpAddr::V4(VIP);
    prepare(world, Way { timestamps: 2, vip, tunnel: false, told: 0, kept: 0 });
    set("net/ipv4/tcp_syncookies", syncookies);
    let home = world.home();
    let _edge = direct(&home, &world::settings(), "edge0", &image((1, None), flags));
    let listener = TcpListener::bind((VIP, 0)).unwrap();
    let spoof = Spoof::start(world, vip, listener.local_addr().unwrap().port());
    wait_until("cookies", || {
        stack("netstat", "TcpExt: SyncookiesSent") > SOME || counted(&home, Reason::CookieSent) > 0
    });
    spoof.stop();
}

fn check(test: &'static str, way: Way) {
    within(test, move |world| {
        let home = world.home();
        prepare(&world, way);
        let mut settings = world::settings();
        settings.cookie_wscale = window_scale();
        let with_options = way.timestamps == 2;
        assert_eq!(settings.cookie_wscale == NO_WINDOW_SCALE, !with_options);
        let _edge = direct(&home, &settings, "edge0", &image((1, None), Trafficset::COOKIES));
        let _other = way.tunnel.then(|| other(&world));
        let listener = TcpListener::bind((way.vip, 0)).unwrap();
        let target = listener.local_addr().unwrap();
        // Held to the end: the flood goes on after the transfer.
        let accepting = listener.try_clone().unwrap();
        let server = thread::spawn(move || serve(&accepting));
        let spoof = Spoof::start(&world, way.vip, target.port());
        wait_until("a flood", || counted(&home, Reason::CookieSent) > SPOOFED / 10);
        let client = world.router(move || client(target));
        wait_until("a transfer", || client.is_finished() && server.is_finished());
        assert_eq!(half_open(), 0);
        wait_until("a million SYNs", || counted(&home, Reason::CookieSent) >= SPOOFED);
        let sent = spoof.stop();
        let (client, server) = (client.join().unwrap(), server.join().unwrap());
        println!("{test}: {sent} sent, {} answered", counted(&home, Reason::CookieSent));
        assert_eq!(half_open(), 0);
        let count = |table, name| stack(table, name);
        assert_eq!(count("netstat", "TcpExt: SyncookiesSent"), 0);
        assert_eq!(count("netstat", "TcpExt: SyncookiesRecv"), 1);
        assert_eq!(count("netstat", "TcpExt: SyncookiesFailed"), 0);
        assert!(count("snmp", "Tcp: InSegs") < SEGMENTS);
        for reason in [Reason::LocalUncooked, Reason::LocalSyn, Reason::TunnelSyn] {
            assert_eq!(counted(&home, reason), 0, "{}", reason.word());
        }
        let accepted = counted(&home, Reason::TunnelCookie) > 0;
        assert_eq!(accepted, way.tunnel, "an ACK accepted at the tunnel's end");
        agreed(way, client, server, settings.cookie_wscale);
    });
}

/// Holds what both ends believe against what a cookie can keep.
fn agreed(way: Way, client: Agreed, server: Agreed, scale: u32) {
    let timestamps = if way.timestamps == 2 { 12 } else { 0 };
    assert_eq!((client.segment, server.segment), (way.told - timestamps, way.kept - timestamps));
    assert_eq!(client.options, server.options);
    if way.timestamps == 2 {
        // Timestamps, SACK, window scale.
        assert_eq!(server.options & 7, 7);
        assert_eq!(u32::from(server.scale_of_own), scale);
        assert_eq!(client.scale_of_peer, server.scale_of_own);
        assert_eq!(server.scale_of_peer, client.scale_of_own);
    } else {
        assert_eq!(server.options & 7, 0);
    }
}

/// Gives both ends their addresses and rules.
fn prepare(world: &World, way: Way) {
    tool("ip link set edge0 address 02:00:00:00:00:01");
    set("net/ipv4/tcp_syncookies", "2");
    set("net/ipv4/tcp_timestamps", &way.timestamps.to_string());
    tool(&format!("ip address add {VIP}/32 dev lo"));
    tool(&format!("ip address add {VIP6}/128 dev lo"));
    tool("ip address add 2001:db8::1/64 dev edge0 nodad");
    tool("ip route add default via 192.0.2.254");
    world.router(|| {
        tool("ip address add 2001:db8::254/64 dev wire0 nodad");
        tool("ip route add 2001:db8:7::/64 via 2001:db8::1");
    });
}

/// Sets a kernel setting of the calling thread's namespace.
fn set(name: &str, value: &str) {
    fs::write(format!("/proc/sys/{name}"), value).unwrap();
}

/// Puts a director to an interface of the calling thread's namespace.
fn direct(home: &Home, settings: &Settings, interface: &str, image: &Image) -> Loaded {
    let mut loaded = load(home, EMBEDDED, settings, &Capacities::default()).unwrap();
    let mut tables = loaded.tables().unwrap();
    loaded.publish(&mut tables, 1, image).unwrap();
    loaded.go_live(&[interface], Mode::Native).unwrap();
    loaded
}

/// Another director, to which the router sends what is for the VIP.
fn other(world: &World) -> (Place, Loaded, OwnedFd) {
    let place = Place::new();
    let (thread, home) = (place.thread, Home::at(&world.root, "other").unwrap());
    let pass = world.router(move || {
        tool(&format!("ip link add wire1 type veth peer name other0 netns {thread}"));
        tool("ip address add 198.51.100.1/24 dev wire1");
        tool("ip link set wire1 up");
        packet_loader::set_tx_checksum_offload("wire1", false).unwrap();
        tool(&format!("ip route replace 203.0.113.0/24 via {OTHER} src 192.0.2.254"));
        set("net/ipv4/ip_forward", "1");
        for interface in ["all", "wire0", "wire1"] {
            set(&format!("net/ipv4/conf/{interface}/rp_filter"), "0");
        }
        pass_at("wire1").unwrap()
    });
    let director = place.run(move || {
        tool(&format!("ip address add {OTHER}/24 dev other0"));
        tool("ip link set other0 up");
        let address = Address::of(OTHER.to_ipv6_mapped().octets());
        let settings = Settings::new(HashKey::of([9; 16]), 2, address);
        direct(&home, &settings, "other0", &image((1, Some(3)), 0))
    });
    (place, director, pass)
}

/// A generation in which one server is the first hop of everything.
fn image((first, second): (u16, Option<u16>), flags: u32) -> Image {
    let servers: Vec<ServerSpec> = IDS
        .iter()
        .map(|&(id, address)| ServerSpec {
            member: Member { id, capacity: 1, state: State::Active },
            address: IpAddr::V4(address),
            link: None,
        })
        .collect();
    let networks = [(IpAddr::V4(VIP), 32), (IpAddr::V6(VIP6), 128)];
    let set = TrafficsetSpec {
        name: "test".to_owned(),
        networks: networks.map(|(vip, len)| Network::new(vip, len).unwrap()).to_vec(),
        tcp: true,
        udp: true,
        ports: Vec::new(),
        servers: vec![first],
        strategy: Strategy::TwoSlot(1 << 8),
        dissection: Dissection::FourTuple,
        encapsulation: Encapsulation::Gue,
        flags,
    };
    let mut image = Image::build(&servers, &[set], Room::default()).unwrap();
    if let Some(second) = second {
        image.buckets.fill(Bucket::new(first, second).0);
        image.checksum = image.parts().checksum();
    }
    image
}

/// What one end believes that both agreed on.
#[derive(Clone, Copy, Debug)]
struct Agreed {
    /// Bits: timestamps 1, SACK 2, window scale 4.
    options: u8,
    /// Octets of a segment that it sends.
    segment: u32,
    scale_of_peer: u8,
    scale_of_own: u8,
}

fn ask(stream: &TcpStream) -> Agreed {
    // SAFETY: integers only; zero is a value of all of them.
    let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
    let mut len = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` octets, which are those of `info`.
    let answer = unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast(),
            &raw mut len,
        )
    };
    assert_eq!(answer, 0, "{}", std::io::Error::last_os_error());
    Agreed {
        options: info.tcpi_options & 7,
        segment: info.tcpi_snd_mss,
        scale_of_peer: info.tcpi_snd_rcv_wscale & 15,
        scale_of_own: info.tcpi_snd_rcv_wscale >> 4,
    }
}

/// Takes one connection, and gives back what came.
fn serve(listener: &TcpListener) -> Agreed {
    let mut stream = listener.accept().unwrap().0;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    let mut came = Vec::new();
    stream.read_to_end(&mut came).unwrap();
    stream.write_all(&came).unwrap();
    ask(&stream)
}

/// Sends, and reads it all back.
fn client(target: SocketAddr) -> JoinHandle<Agreed> {
    thread::spawn(move || {
        let mut stream = TcpStream::connect(target).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        let octets: Vec<u8> = (0..TRANSFER).map(|at| ((at * at) >> 7) as u8).collect();
        stream.write_all(&octets).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let agreed = ask(&stream);
        let mut back = Vec::new();
        stream.read_to_end(&mut back).unwrap();
        assert!(back == octets, "{} octets came back, not those that were sent", back.len());
        agreed
    })
}

/// Sockets of this namespace in the state SYN_RECV.
fn half_open() -> usize {
    let tables = ["tcp", "tcp6"].map(|name| format!("/proc/thread-self/net/{name}"));
    let state = |line: &str| line.split_whitespace().nth(3) == Some("03");
    let half_open = |path| fs::read_to_string(path).unwrap().lines().filter(|l| state(l)).count();
    tables.into_iter().map(half_open).sum()
}

/// A counter of this namespace's stack: of the table `name` starts with, by the word after that.
fn stack(file: &str, name: &str) -> u64 {
    let (table, name) = name.split_once(' ').unwrap();
    let text = fs::read_to_string(format!("/proc/thread-self/net/{file}")).unwrap();
    let mut lines = text.lines().filter(|line| line.starts_with(table));
    let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
    let at = names.split_whitespace().position(|word| word == name).unwrap();
    values.split_whitespace().nth(at).unwrap().parse().unwrap()
}
