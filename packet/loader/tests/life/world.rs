//! A server and a router, each in a network namespace that ends with the test's threads, and a BPF
//! file system that nobody else sees.
//!
//! ```text
//!  edge (the test's thread)             router
//!  edge0 192.0.2.1 ◄── a pair ──► wire0 192.0.2.254, .2 and .3: the other servers' addresses
//! ```

#![expect(unsafe_code, reason = "namespaces are entered by system calls")]

use core_forwarding::image::{Dissection, Room, ServerSpec, Strategy, TrafficsetSpec};
use core_forwarding::trie::Network;
use core_forwarding::{Image, Member, State};
use packet_abi::{Address, Encapsulation, HashKey};
use packet_loader::sys::bpf::{self, Code, place, program};
use packet_loader::{Home, Settings};
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::process::Command;
use std::sync::mpsc;
use std::thread;

/// Buckets of the test's table: so many that writing them takes long enough for packets to come.
const BUCKETS: u32 = 1 << 16;
/// This server's address.
pub(crate) const EDGE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// An address of the VIPs.
pub(crate) const VIP: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 7);
/// Where tunnel packets arrive at the router, which plays servers 2 and 3.
pub(crate) const TUNNEL_PORT: u16 = 19_523;

type Job = Box<dyn FnOnce() + Send>;

/// The two ends.
pub(crate) struct World {
    /// A folder with a BPF file system.
    pub(crate) root: PathBuf,
    router: Place,
    /// Keeps the program at the router's end, without which nothing sent by XDP arrives.
    _pass: OwnedFd,
}

/// Runs a test in a world of its own; says so where the machine does not allow one.
pub(crate) fn within(test: &'static str, run: impl FnOnce(World) + Send + 'static) {
    let body = thread::Builder::new().name(test.to_owned()).spawn(move || match World::new(test) {
        Ok(world) => run(world),
        Err(why) => println!("skipped {test}: {why}"),
    });
    if let Err(panic) = body.unwrap().join() {
        std::panic::resume_unwind(panic);
    }
}

fn unshare(flags: i32) -> Result<(), String> {
    // SAFETY: only this thread's view of networks and mounts changes, and nothing else runs on it.
    if unsafe { libc::unshare(flags) } == 0 {
        return Ok(());
    }
    Err(format!("no namespaces ({}); run it as root", std::io::Error::last_os_error()))
}

/// Runs `ip` or another tool in the namespace of the calling thread.
pub(crate) fn tool(line: &str) {
    let mut words = line.split_whitespace();
    let mut command = Command::new(words.next().unwrap());
    let output = command.args(words).output().unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
}

impl World {
    fn new(test: &str) -> Result<Self, String> {
        unshare(libc::CLONE_NEWNET | libc::CLONE_NEWNS)?;
        // What is mounted here stays here.
        tool("mount --make-rprivate /");
        let root = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(test);
        std::fs::create_dir_all(&root).unwrap();
        tool(&format!("mount -t bpf -o mode=0700 bpf {}", root.display()));
        let router = Place::new();
        tool("ip link set lo up");
        let thread = router.thread;
        tool(&format!("ip link add edge0 type veth peer name wire0 netns {thread}"));
        tool(&format!("ip address add {EDGE}/24 dev edge0"));
        tool("ip link set edge0 up");
        let pass = router.run(|| {
            tool("ip link set lo up");
            for address in ["192.0.2.254/24", "192.0.2.2/32", "192.0.2.3/32"] {
                tool(&format!("ip address add {address} dev wire0"));
            }
            tool("ip link set wire0 up");
            tool(&format!("ip route add 203.0.113.0/24 via {EDGE}"));
            packet_loader::set_tx_checksum_offload("wire0", false).unwrap();
            pass_at("wire0").map_err(|error| format!("no native XDP on veth ({error})"))
        })?;
        Ok(Self { root, router, _pass: pass })
    }

    /// Runs something in the router's namespace.
    pub(crate) fn router<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        self.router.run(job)
    }

    /// A socket of the router.
    pub(crate) fn router_socket(&self, address: &'static str) -> UdpSocket {
        self.router(move || UdpSocket::bind(address).unwrap())
    }

    /// The pins of this world.
    pub(crate) fn home(&self) -> Home {
        Home::at(&self.root, "test").unwrap()
    }
}

/// A network namespace with a thread in it.
pub(crate) struct Place {
    jobs: mpsc::Sender<Job>,
    /// The thread, by whose number tools name the namespace.
    pub(crate) thread: i32,
}

impl Place {
    pub(crate) fn new() -> Self {
        let (sender, jobs) = mpsc::channel::<Job>();
        let (tell, told) = mpsc::channel();
        thread::spawn(move || {
            unshare(libc::CLONE_NEWNET).unwrap();
            // SAFETY: takes nothing and cannot fail.
            tell.send(unsafe { libc::gettid() }).unwrap();
            jobs.iter().for_each(|job| job());
        });
        Self { jobs: sender, thread: told.recv().unwrap() }
    }

    /// Runs something in it, and waits for it.
    pub(crate) fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (tell, told) = mpsc::channel();
        self.jobs.send(Box::new(move || tell.send(job()).unwrap())).unwrap();
        told.recv().unwrap()
    }
}

/// Attaches a program that passes everything to an interface of the calling thread's namespace.
pub(crate) fn pass_at(interface: &str) -> std::io::Result<OwnedFd> {
    // r0 = 2 (XDP_PASS); exit
    let instructions = [0xb7, 0, 0, 0, 2, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0];
    let code = Code {
        name: "test_pass",
        kind: program::XDP,
        place: place::XDP,
        flags: 0,
        license: c"GPL",
        instructions: &instructions,
    };
    let program = bpf::load(code).map_err(|refusal| refusal.error)?;
    let index = packet_loader::sys::netlink::interface(interface)?.index;
    bpf::create_link(program.as_fd(), index, place::XDP, 1 << 2)
}

/// The settings of server 1.
pub(crate) fn settings() -> Settings {
    let address = Address::of(EDGE.to_ipv6_mapped().octets());
    Settings::new(HashKey::of([7; 16]), 1, address)
}

/// The id of a server, by the last octet of its address. Ids of all but this one are so high that
/// they are written long after the buckets that name them.
const fn id(number: u8) -> u16 {
    if number == 1 { 1 } else { 1000 * number as u16 }
}

/// A generation that sends every flow to one server: `to` is 1 (here), 2 or 3 (at the router). It
/// knows no other, so that half of it and half of another lead nowhere.
pub(crate) fn image(to: u16) -> Image {
    let server = |number: u8| ServerSpec {
        member: Member { id: id(number), capacity: 1, state: State::Active },
        address: IpAddr::V4(Ipv4Addr::new(192, 0, 2, number)),
        link: None,
    };
    let set = TrafficsetSpec {
        name: "test".to_owned(),
        networks: vec![Network::new(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 0)), 24).unwrap()],
        tcp: true,
        udp: true,
        ports: Vec::new(),
        servers: vec![id(to as u8)],
        strategy: Strategy::TwoSlot(BUCKETS),
        dissection: Dissection::FourTuple,
        encapsulation: Encapsulation::Gue,
        flags: 0,
    };
    let servers: Vec<ServerSpec> = [1, to as u8].into_iter().map(server).collect();
    let known = if to == 1 { &servers[..1] } else { &servers };
    Image::build(known, &[set], Room::default()).unwrap()
}

/// A process that does something until it is killed, at the latest when this is dropped.
pub(crate) struct Forked(i32);

/// Starts a copy of this process that runs `job` on this thread's namespaces.
pub(crate) fn fork(job: impl FnOnce()) -> Forked {
    // SAFETY: the copy has this thread alone. It allocates, which the C library allows after a
    // fork, touches no lock of another thread, and ends without running what others registered.
    match unsafe { libc::fork() } {
        -1 => panic!("no further process: {}", std::io::Error::last_os_error()),
        0 => {
            // SAFETY: the copy ends when the thread that made it does, however that ends.
            unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
            job();
            // SAFETY: ends the copy at once.
            unsafe { libc::_exit(0) }
        }
        id => Forked(id),
    }
}

impl Forked {
    /// Kills it without a chance to clean up, and waits for its end.
    pub(crate) fn kill(self) {
        drop(self);
    }
}

impl Drop for Forked {
    fn drop(&mut self) {
        // SAFETY: our own child, which nobody else waits for.
        unsafe {
            libc::kill(self.0, libc::SIGKILL);
            libc::waitpid(self.0, std::ptr::null_mut(), 0);
        }
    }
}
