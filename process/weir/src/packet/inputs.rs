//! From the configuration to what the kernel is given: tables, constants, sizes of maps.

use anyhow::Context;
use core_forwarding::image::{Dissection, ImageError, Room, ServerSpec, Strategy, TrafficsetSpec};
use core_forwarding::trie::Network;
use core_forwarding::{Image, Member, State};
use core_model::config::packet::{
    Dissector, Encapsulation, Fragments, PacketConfig, Server, ServerState, SynCookies, Trafficset,
    UdpMode,
};
use core_model::config::packet::{ServerId, Strategy as Wanted};
use packet_abi::{Address, HashKey, Trafficset as Flags, maps};
use packet_loader::{Capacities, Settings};
use std::net::IpAddr;

/// The tables of a configuration: the same on every server that is given the same.
///
/// # Errors
/// What does not fit into the maps.
pub(super) fn image(config: &PacketConfig) -> Result<Image, ImageError> {
    let servers: Vec<ServerSpec> = config.servers.iter().map(server).collect();
    let sets: Vec<TrafficsetSpec> = config.trafficsets.iter().map(trafficset).collect();
    let room = Room {
        trie_entries: config.capacities.trie_entries,
        port_rows: config.capacities.port_rows,
        sets: maps::SETS_LEN / 2,
        buckets: config.capacities.buckets,
    };
    Image::build(&servers, &sets, room)
}

/// The fault of a configuration whose tables do not fit into the maps, for `weir check`.
pub(crate) fn check(config: &PacketConfig) -> Option<String> {
    image(config).err().map(|error| format!("{:#}", anyhow::Error::from(error)))
}

fn server(server: &Server) -> ServerSpec {
    let state = match server.state {
        ServerState::Active => State::Active,
        ServerState::Draining => State::Draining,
        ServerState::Dead => State::Dead,
    };
    ServerSpec {
        member: Member { id: server.id.get(), capacity: server.capacity, state },
        address: server.address,
        link: server.link_address.map(|link| link.octets()),
    }
}

fn trafficset(set: &Trafficset) -> TrafficsetSpec {
    let networks = set.prefixes.iter().filter_map(|net| Network::new(net.address(), net.bits()));
    TrafficsetSpec {
        name: set.name.to_string(),
        networks: networks.collect(),
        tcp: set.protocols.tcp(),
        udp: set.protocols.udp(),
        ports: set.ports.iter().map(|range| (range.first(), range.last())).collect(),
        servers: set.servers.iter().copied().map(ServerId::get).collect(),
        strategy: match set.strategy {
            Wanted::TwoSlot { buckets } => Strategy::TwoSlot(buckets),
            Wanted::Maglev { entries, .. } => Strategy::Maglev(entries),
        },
        dissection: match set.dissector {
            Dissector::FourTuple => Dissection::FourTuple,
            Dissector::Quic(quic) => Dissection::Quic {
                config: quic.config_id,
                server_len: quic.server_id_length,
                id_len: quic.id_length(),
            },
            Dissector::SessionId(id) => Dissection::SessionId { offset: id.offset, len: id.length },
        },
        encapsulation: match set.strategy.encapsulation() {
            Encapsulation::Gue => packet_abi::Encapsulation::Gue,
            Encapsulation::Fou => packet_abi::Encapsulation::Fou,
            Encapsulation::IpIp => packet_abi::Encapsulation::IpIp,
        },
        flags: flags(set),
    }
}

fn flags(set: &Trafficset) -> u32 {
    let flow = if set.udp == UdpMode::Flow { Flags::UDP_FLOW } else { 0 };
    let fragments = if set.fragments == Fragments::ByAddress { Flags::FRAGMENTS } else { 0 };
    let cookies = match set.syn_cookies {
        SynCookies::Off => 0,
        SynCookies::On => Flags::COOKIES,
        SynCookies::Auto => Flags::COOKIES_AUTO,
    };
    flow | fragments | cookies
}

/// The constants of the programs.
///
/// # Errors
/// Where the network namespace of the sockets cannot be named to the kernel.
pub(super) fn settings(config: &PacketConfig) -> anyhow::Result<Settings> {
    let octets = match config.address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    };
    let key = HashKey::of(config.hash_key.octets());
    let mut settings = Settings::new(key, config.self_id.get(), Address::of(octets));
    settings.gue_port = config.port;
    settings.fou_port = config.fou_port;
    settings.mtu = u32::from(config.mtu);
    settings.too_big_rate = config.too_big_rate;
    if let Some(path) = &config.netns {
        let number = super::netns::number(path);
        settings.netns = number.with_context(|| format!("packet.netns {}", path.display()))?;
    } else {
        // What listeners of another namespace choose is not known here: there, cookies keep the
        // segment size alone.
        settings.cookie_wscale = packet_loader::cookies::window_scale();
    }
    Ok(settings)
}

/// Entries of one generation.
pub(super) fn capacities(config: &PacketConfig) -> Capacities {
    Capacities {
        trie: config.capacities.trie_entries,
        rows: config.capacities.port_rows,
        buckets: config.capacities.buckets,
        ..Capacities::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use process_runtime::config_file::load_text;

    /// Two servers, and what `more` says.
    fn config(more: &str) -> PacketConfig {
        let text = format!(
            "[packet]\ninterfaces = [\"eth0\"]\naddress = \"192.0.2.2\"\n\
             hash_key = \"000102030405060708090a0b0c0d0e0f\"\ntrie_entries_max = 1024\n\
             [[server]]\nid = 1\naddress = \"192.0.2.1\"\nlink_address = \"02:00:00:00:00:01\"\n\
             [[server]]\nid = 2\naddress = \"192.0.2.2\"\nstate = \"dead\"\n{more}"
        );
        let loaded = load_text("t.toml", &text).unwrap_or_else(|faults| panic!("{faults:?}"));
        loaded.config.packet.unwrap()
    }

    fn set(more: &str) -> String {
        format!("[[trafficset]]\nname = \"x\"\nprefixes = [\"203.0.113.0/24\"]\n{more}\n")
    }

    #[test]
    fn settings_of_a_trafficset_arrive_in_the_tables() {
        for (more, expect) in [
            ("", Flags { flags: Flags::UDP_FLOW, table_len: 65_536, ..Flags::default() }),
            (
                "udp = \"datagram\"\nfragments = \"by-address\"\nsyn_cookies = \"auto\"",
                Flags {
                    flags: Flags::FRAGMENTS | Flags::COOKIES_AUTO,
                    table_len: 65_536,
                    ..Flags::default()
                },
            ),
            (
                "strategy = \"maglev\"\nencapsulation = \"ipip\"\nsyn_cookies = \"on\"",
                Flags {
                    flags: Flags::UDP_FLOW | Flags::COOKIES | Flags::MAGLEV,
                    table_len: 65_537,
                    encapsulation: 2,
                    ..Flags::default()
                },
            ),
            (
                "dissector = \"quic\"\nquic = { config_id = 5 }",
                Flags {
                    flags: Flags::UDP_FLOW,
                    table_len: 65_536,
                    dissector: 1,
                    quic_config: 5,
                    quic_server_len: 2,
                    quic_id_len: 9,
                    ..Flags::default()
                },
            ),
            (
                "dissector = \"session-id\"\nsession = { offset = 9 }\nbuckets = 256",
                Flags {
                    flags: Flags::UDP_FLOW,
                    table_len: 256,
                    dissector: 2,
                    session_offset: 9,
                    session_len: 4,
                    ..Flags::default()
                },
            ),
        ] {
            let image = image(&config(&set(more))).unwrap();
            assert_eq!(image.sets, [expect], "{more}");
        }
    }

    #[test]
    fn servers_arrive_by_id() {
        let image = image(&config(&set(""))).unwrap();
        let [none, one, two] = image.servers.as_slice() else { panic!("{:?}", image.servers) };
        assert_eq!(none.flags, 0);
        assert_eq!(one.flags, packet_abi::Server::PRESENT | packet_abi::Server::LINK);
        assert_eq!(one.link, [2, 0, 0, 0, 0, 1]);
        assert_eq!(two.flags, packet_abi::Server::PRESENT | packet_abi::Server::DEAD);
        // The dead one owns nothing.
        assert!(image.buckets.iter().all(|bucket| *bucket == 1));
    }

    #[test]
    fn the_same_file_makes_the_same_tables_on_every_server() {
        let here = config(&set(""));
        let mut there = here.clone();
        there.self_id = ServerId::new(1).unwrap();
        there.address = "192.0.2.1".parse().unwrap();
        there.interfaces = vec!["ens3".parse().unwrap()];
        assert_eq!(image(&here).unwrap().checksum, image(&there).unwrap().checksum);
        let other = config(&set("ports = [\"443\"]"));
        assert_ne!(image(&here).unwrap().checksum, image(&other).unwrap().checksum);
    }

    #[test]
    fn constants_arrive() {
        let settings = settings(&config(&set(""))).unwrap();
        assert_eq!((settings.self_id, settings.mtu, settings.netns), (2, 1_500, -1));
        assert_eq!((settings.gue_port, settings.fou_port), (19_523, 19_524));
        assert!(!settings.outer_v6());
        assert_eq!(capacities(&config("")).trie, 1_024);
    }

    #[test]
    fn what_does_not_fit_is_told() {
        let prefixes: Vec<String> =
            (0..2_000).map(|n| format!("\"10.{}.{}.0/25\"", n / 250, n % 250)).collect();
        let more = format!(
            "[[trafficset]]\nname = \"x\"\nprefixes = [{}]\nports = [\"443\"]\n",
            prefixes.join(",")
        );
        let error = image(&config(&more)).unwrap_err();
        assert!(format!("{:#}", anyhow::Error::from(error)).contains("trie_entries_max"));
    }
}
