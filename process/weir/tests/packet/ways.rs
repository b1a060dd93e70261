//! Settings that change which way packets go: sockets of another namespace, the strict reverse
//! path, tunnels over IPv6.

use super::{CONFIG, metrics, packets, weir, within};
use crate::support::process::{Guard, command, run};
use crate::support::wait::{self, SOON};
use rustix::fs::{Mode, OFlags, open};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::Value;
use std::net::{Ipv6Addr, UdpSocket};
use std::path::Path;
use std::process::Command;

#[track_caller]
pub(super) fn shell(script: &str) {
    let (good, out, err) = run(Command::new("sh").args(["-ec", script]));
    assert!(good, "{script}: {out}{err}");
}

/// A network namespace that is mounted at `path`, with what `setup` makes in it. It ends with the
/// mounts of the test.
pub(super) fn namespace(path: &Path, setup: &str) {
    let path = path.display();
    shell(&format!(
        "touch {path} && unshare --net={path} true && nsenter --net={path} sh -ec '{setup}'"
    ));
}

/// A socket of the namespace at `path`.
pub(super) fn socket_in(path: &Path, bind: &str) -> UdpSocket {
    let (path, bind) = (path.to_owned(), bind.to_owned());
    let work = move || {
        let file = open(&path, OFlags::RDONLY, Mode::empty()).expect("a namespace");
        let kind = Some(LinkNameSpaceType::Network);
        move_into_link_name_space(std::os::fd::AsFd::as_fd(&file), kind).expect("root enters it");
        UdpSocket::bind(&bind).expect("an address of the namespace")
    };
    std::thread::spawn(work).join().expect("a socket")
}

/// Why the director sends a UDP packet of this source port where it does.
fn director(source_port: u16) -> String {
    let source = format!("198.51.100.1:{source_port}");
    let out = weir(&["explain", "udp", &source, "203.0.113.5:9", "--json"]);
    let told: Value = serde_json::from_str(&out).expect("JSON");
    told["answers"][0]["director"]["reason"].as_str().expect("a reason").to_owned()
}

#[test]
fn sockets_of_another_namespace_are_found() {
    within("ways::sockets_of_another_namespace_are_found", |world| {
        let app = world.dir.path().join("app");
        namespace(
            &app,
            "ip link set lo up && ip addr add 203.0.113.5/32 dev lo \
             && ip route add 198.51.100.0/24 dev lo",
        );
        // A server that drains is asked for the sockets of its flows before their new owner.
        let server = "id = 1\naddress = \"192.0.2.1\"";
        let without = CONFIG.replace(server, &format!("{server}\nstate = \"draining\""));
        let _guard = world.start(&["packet", "run"], &without);
        let port = (40_000..40_020).find(|port| director(*port) == "sent_second");
        let port = port.expect("a flow of a bucket that changed hands");
        let socket = socket_in(&app, "203.0.113.5:9");
        socket.connect(("198.51.100.1", port)).expect("a route of the namespace");
        world.send(port);
        wait::until("it is sent on", SOON, || packets("sent_second") == 1);
        let netns = format!("[packet]\nnetns = \"{}\"", app.display());
        world.write(&without.replace("[packet]", &netns));
        weir(&["reload"]);
        assert_eq!(director(port), "local_socket");
        world.send(port);
        wait::until("its socket is found", SOON, || packets("local_socket") == 1);
        assert_eq!(packets("sent_second"), 1);
    });
}

/// Neighbours at `edge1`: one whose way back that is, and a source whose way back is another.
const FAR: &str = "ip link set lo up && ip link add far1 type veth peer name edge1 netns 1 \
    && ip link set far1 up && ip addr add 192.0.2.9/24 dev far1 \
    && ip addr add 198.51.100.77/32 dev far1 && ip route add 203.0.113.0/24 dev far1";

#[test]
fn a_source_that_is_reached_by_another_way_is_dropped() {
    within("ways::a_source_that_is_reached_by_another_way_is_dropped", |world| {
        let far = world.dir.path().join("far");
        namespace(&far, FAR);
        shell(
            "ip addr flush dev edge0 && ip addr add 192.0.2.1/24 dev edge1 \
             && ip link set edge1 up address 02:00:00:00:00:07 \
             && echo 1 > /proc/sys/net/ipv4/conf/all/forwarding",
        );
        let neighbour = "ip neigh add 203.0.113.5 dev far1 lladdr 02:00:00:00:00:07";
        shell(&format!("nsenter --net={} {neighbour}", far.display()));
        let text = CONFIG.replace("\"edge0\"", "\"edge1\"");
        let strict = text.replace("[packet]", "[packet]\nreverse_path = \"strict\"");
        let _guard = world.start(&["packet", "run"], &text);
        let send = |source: &str| {
            let socket = socket_in(&far, &format!("{source}:0"));
            socket.send_to(b"x", ("203.0.113.5", 9)).expect("the route of the VIP");
        };
        let judged =
            || ["local_only_hop", "sent_first", "sent_second"].map(packets).iter().sum::<u64>();
        send("198.51.100.77");
        wait::until("nothing is checked", SOON, || judged() == 1);
        world.write(&strict);
        weir(&["reload"]);
        send("198.51.100.77");
        wait::until("it is dropped", SOON, || packets("shield_spoofed") == 1);
        send("192.0.2.9");
        wait::until("the neighbour is let in", SOON, || judged() == 2);
        assert_eq!(packets("shield_spoofed"), 1);
        let spoofed = "weir_packet_packets_total{reason=\"shield_spoofed\",verdict=\"drop\"} 1";
        assert!(metrics().contains(spoofed), "{}", metrics());
        for (source, verdict) in [("198.51.100.77:1", "drop"), ("192.0.2.9:1", "pass")] {
            let out = weir(&["explain", "udp", source, "203.0.113.5:9", "--json"]);
            let told: Value = serde_json::from_str(&out).expect("JSON");
            assert_eq!(told["answers"][0]["shield"]["verdict"], verdict, "{out}");
            assert_eq!(told["shield"]["interface"], "edge1", "{out}");
        }
    });
}

/// An IPv4 packet of UDP with one octet, from a port of `peer0` to a port of the VIP. The sum over
/// it is left out.
fn inner(from: u16, to: u16) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 29, 0, 0, 0x40, 0, 64, 17, 0, 0];
    packet.extend([198, 51, 100, 1, 203, 0, 113, 5]);
    let words = packet.chunks(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])));
    let sum = words.sum::<u32>();
    packet[10..12].copy_from_slice(&(!((sum & 0xffff) + (sum >> 16)) as u16).to_be_bytes());
    packet.extend([from.to_be_bytes(), to.to_be_bytes()].concat());
    packet.extend([0, 9, 0, 0, b'x']);
    packet
}

#[test]
fn tunnels_go_over_ipv6() {
    within("ways::tunnels_go_over_ipv6", |world| {
        // What is sent to the server's address goes over the wire, as from another host.
        shell(
            "ip addr add 2001:db8::1/64 dev edge0 nodad \
             && ip addr add 2001:db8::9/64 dev peer0 nodad",
        );
        // The kernel makes the routes of an address later than the address.
        wait::until("the address is in use", SOON, || {
            let mut routes = Command::new("ip");
            run(routes.args(["-6", "route", "show", "table", "local"])).1.contains("2001:db8::1 ")
        });
        shell(
            "ip -6 route del local 2001:db8::1 table local \
             && ip -6 route add 2001:db8::1/128 dev peer0 \
             && ip -6 neigh add 2001:db8::1 dev peer0 lladdr 02:00:00:00:00:01",
        );
        let text = CONFIG.replace("192.0.2.1", "2001:db8::1").replace("192.0.2.2", "2001:db8::2");
        let _guard = world.start(&["packet", "run"], &text);
        let port = (40_000..40_020).find(|port| director(*port) == "sent_first");
        let port = port.expect("a flow of the other server");
        let file = world.dir.path().join("sent.pcapng");
        let limits = ["packet", "capture", "--verdict", "send", "--count", "1"];
        let mut capture = Guard::start(command().args(limits).arg(&file));
        wait::until("the capture ends", SOON, || {
            world.send(port);
            capture.ended().is_some()
        });
        let seen = std::fs::read(&file).expect("a capture was written");
        // IPv6 with UDP in it, from this server to the other, and what came behind GUE.
        let [from, to] = ["2001:db8::1", "2001:db8::2"]
            .map(|text| text.parse::<Ipv6Addr>().expect("an address").octets());
        let has = |part: &[u8]| seen.windows(part.len()).any(|window| window == part);
        assert!(has(&[&[17, 64], &from[..], &to[..]].concat()), "no tunnel over IPv6: {seen:02x?}");
        assert!(has(&inner(port, 9)[12..24]), "nothing in the tunnel: {seen:02x?}");
        // Another server's tunnel arrives.
        let tunnel = UdpSocket::bind("[2001:db8::9]:0").expect("an address of peer0");
        let packet = inner(port, 9);
        tunnel.send_to(&packet, "[2001:db8::1]:19524").expect("the route of the server");
        wait::until("it is taken out", SOON, || packets("tunnel_plain") == 1);
    });
}
