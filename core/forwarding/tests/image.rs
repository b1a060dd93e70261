//! A generation as arrays: what of the fleet and its trafficsets ends up where.

use std::net::Ipv4Addr;

use core_forwarding::image::{
    Dissection, Image, ImageError, Room, ServerSpec, Strategy, TrafficsetSpec,
};
use core_forwarding::trie::Network;
use core_forwarding::{Buckets, Fleet, Member, State, Table};
use packet_abi::{Encapsulation, Server, Trafficset};

fn server(id: u16, state: State) -> ServerSpec {
    let [high, low] = id.to_be_bytes();
    ServerSpec {
        member: Member { id, capacity: 100, state },
        address: Ipv4Addr::new(192, 0, high, low).into(),
        link: (id == 2).then_some([2, 0, 0, 0, 0, 9]),
    }
}

fn servers() -> Vec<ServerSpec> {
    let states = [State::Active, State::Draining, State::Active, State::Dead];
    (1..).zip(states).map(|(id, state)| server(id, state)).collect()
}

fn set(name: &str, third: u8, strategy: Strategy) -> TrafficsetSpec {
    let network = Network::new([203, 0, third, 0].into(), 24).expect("a prefix");
    TrafficsetSpec {
        name: name.to_owned(),
        networks: vec![network],
        tcp: true,
        udp: true,
        ports: Vec::new(),
        servers: Vec::new(),
        strategy,
        dissection: Dissection::FourTuple,
        encapsulation: Encapsulation::Gue,
        flags: Trafficset::UDP_FLOW,
    }
}

fn two_slot(name: &str, third: u8) -> TrafficsetSpec {
    set(name, third, Strategy::TwoSlot(512))
}

fn build(sets: &[TrafficsetSpec]) -> Image {
    Image::build(&servers(), sets, Room::default()).expect("fits")
}

#[test]
fn an_image_holds_what_it_was_built_of() {
    let mut maglev = set("static", 114, Strategy::Maglev(65_537));
    maglev.servers = vec![3, 1];
    maglev.encapsulation = Encapsulation::IpIp;
    let image = build(&[two_slot("web", 113), maglev, two_slot("mail", 115)]);
    let fleet = Fleet::new(servers().iter().map(|server| server.member).collect());
    let buckets = Buckets::new(512).expect("a power of two");
    let table = Table::fresh(&fleet.expect("a fleet"), 0, buckets);

    assert_eq!(image.buckets.len(), 512 + 65_537, "web and mail share a table");
    assert!(image.buckets.iter().zip(table.buckets()).all(|(got, bucket)| *got == bucket.0));
    assert!(image.buckets[512..].iter().all(|entry| [1, 3].contains(entry)));
    let places: Vec<(u32, u32)> = image.sets.iter().map(|s| (s.table_base, s.table_len)).collect();
    assert_eq!(places, [(0, 512), (512, 65_537), (0, 512)]);
    assert_eq!(image.sets[1].flags, Trafficset::UDP_FLOW | Trafficset::MAGLEV);
    assert_eq!(image.sets[1].encapsulation, Encapsulation::IpIp as u8);

    let flags: Vec<u16> = image.servers.iter().map(|server| server.flags).collect();
    let (present, dead, link) = (Server::PRESENT, Server::DEAD, Server::LINK);
    assert_eq!(flags, [0, present, present | link, present, present | dead]);
    assert_eq!(image.servers[2].address.octets()[12..], [192, 0, 0, 2]);
    assert_eq!(image.servers[0], Server::NONE);
}

#[test]
fn the_checksum_sees_every_word() {
    let image = build(&[two_slot("web", 113)]);
    assert_eq!(image.checksum, image.parts().checksum());
    assert_eq!(image.checksum, build(&[two_slot("other name", 113)]).checksum);
    type Change = (&'static str, fn(&mut Image));
    let changes: [Change; 8] = [
        ("root", |image| image.root ^= 1),
        ("trie", |image| image.trie[3] ^= 1),
        ("rows", |image| image.rows.push(0)),
        ("the flags of a set", |image| image.sets[0].flags ^= Trafficset::COOKIES),
        ("the session of a set", |image| image.sets[0].session_len = 9),
        ("the address of a server", |image| image.servers[1].address = image.servers[2].address),
        ("the link of a server", |image| image.servers[1].link[5] = 1),
        ("the last bucket", |image| image.buckets[511] ^= 1 << 63),
    ];
    for (says, change) in changes {
        let mut other = image.clone();
        change(&mut other);
        assert_ne!(other.parts().checksum(), image.checksum, "{says}");
    }
}

#[test]
fn a_planned_table_takes_its_place() {
    let mut image = build(&[two_slot("web", 113), set("dns", 114, Strategy::TwoSlot(1024))]);
    let before = image.clone();
    let fleet = Fleet::of_ids([1, 3]).expect("a fleet");
    let planned = Table::fresh(&fleet, 9, Buckets::new(1024).expect("a power of two"));
    assert!(!image.replace(0, &planned), "another length");
    assert!(!image.replace(2, &planned), "no such trafficset");
    assert_eq!(image, before);
    assert!(image.replace(1, &planned));
    assert_ne!(image.checksum, before.checksum);
    assert_eq!(image.buckets[..512], before.buckets[..512]);
    assert_eq!(image.buckets[512], planned.bucket(0).0);
    let mut shared = build(&[two_slot("web", 113), two_slot("mail", 114)]);
    let planned = Table::fresh(&fleet, 9, Buckets::new(512).expect("a power of two"));
    assert!(!shared.replace(0, &planned), "mail would change too");
}

#[track_caller]
fn fails(says: &str, sets: &[TrafficsetSpec], room: Room, text: &str) {
    let error = Image::build(&servers(), sets, room).expect_err(says);
    let source = std::error::Error::source(&error).map(ToString::to_string);
    let all = format!("{error} {}", source.unwrap_or_default());
    assert!(all.contains(text), "{says}: {all}");
}

#[test]
fn what_does_not_fit_says_so() {
    let room = Room::default();
    let web = two_slot("web", 113);
    let mut lost = web.clone();
    lost.servers = vec![1, 77];
    fails("an unknown server", &[lost], room, "web names server 77");
    fails("not a power of two", &[set("web", 1, Strategy::TwoSlot(500))], room, "500 buckets");
    fails("not a prime", &[set("web", 1, Strategy::Maglev(65_538))], room, "65538 entries");
    fails("twice the same", &[web.clone(), web.clone()], room, "both serve port 0");
    let few = Room { buckets: 511, ..room };
    fails("too many buckets", std::slice::from_ref(&web), few, "512 buckets, over 511");
    let few = Room { sets: 1, ..room };
    fails("too many trafficsets", &[web.clone(), two_slot("b", 2)], few, "2 trafficsets, over 1");
    fails("a small trie", &[web], Room { trie_entries: 2, ..room }, "over 2 trie entries");
    let twice = [server(1, State::Active), server(1, State::Active)];
    let error = Image::build(&twice, &[], room);
    assert!(matches!(error, Err(ImageError::Fleet(_))), "{error:?}");
}
