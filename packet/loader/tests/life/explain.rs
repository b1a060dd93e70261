//! Explanations of flows through tables of one server and another.

use crate::world::{EDGE, image, settings, within};
use crate::{counted, live};
use packet_abi::Bucket;
use packet_abi::verdict::Reason;
use packet_loader::explain::{Answer, Explainer, Explanation, Protocol, Question, Shield};
use packet_loader::shield::{Action, Asked, Limit, Match, Options, Per, Range, Rate, Rule};
use packet_loader::{Capacities, EMBEDDED, Mode, Tables, load};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};

const SERVER_2: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));

fn question(protocol: Protocol, destination: &str) -> Question {
    let source = "198.51.100.9:4711".parse().unwrap();
    Question { protocol, source, destination: destination.parse().unwrap() }
}

fn ask(explainer: &Explainer, question: &Question) -> Explanation {
    explainer.explain(question, &Shield::Absent).unwrap()
}

/// Reasons of director and redirector, and where the packet is sent.
fn said(answer: &Answer) -> (&str, Option<&str>, Option<IpAddr>) {
    let redirector = answer.redirector.as_ref().map(|said| said.reason);
    (
        answer.director.as_ref().unwrap().reason,
        redirector,
        answer.tunnel.as_ref().map(|one| one.destination),
    )
}

/// Gives the flow's bucket to other servers.
fn give(tables: &mut Tables, found: &Explanation, bucket: Bucket) {
    let bucket_of = found.service.as_ref().unwrap().bucket;
    tables.move_bucket(bucket_of, bucket).unwrap();
}

#[test]
fn an_explanation_follows_the_slots_of_the_bucket() {
    within("an_explanation_follows_the_slots_of_the_bucket", |world| {
        let home = world.home();
        let (_loaded, mut tables) = live(&home, 2);
        let explainer = Explainer::open(&home).unwrap();
        let asked = question(Protocol::Tcp, "203.0.113.7:443");
        let found = ask(&explainer, &asked);
        let service = found.service.as_ref().unwrap();
        let slot = service.first.as_ref().unwrap();
        assert_eq!((slot.id, slot.address, slot.here), (2000, Some(SERVER_2), false));
        assert_eq!((service.trafficset, service.second.is_none()), (0, true));
        assert_eq!((service.dissector, service.strategy), ("4-tuple", "two-slot"));
        let last = ("sent_first", Some("tunnel_last_hop"), Some(SERVER_2));
        assert_eq!(found.answers.iter().map(said).collect::<Vec<_>>(), [last, last]);

        give(&mut tables, &found, Bucket::new(1, 2000));
        let found = ask(&explainer, &asked);
        let second = ("sent_second", Some("tunnel_last_hop"), Some(SERVER_2));
        let answers: Vec<_> = found.answers.iter().map(said).collect();
        assert_eq!(answers, [("local_syn", None, None), second]);

        // The server that it is sent to has no socket of the flow, and passes it on to this one.
        give(&mut tables, &found, Bucket::new(2000, 1));
        let found = ask(&explainer, &asked);
        let answers: Vec<_> = found.answers.iter().map(said).collect();
        let syn = ("sent_first", Some("tunnel_syn"), Some(SERVER_2));
        assert_eq!(answers, [syn, ("sent_first", Some("tunnel_forwarded"), Some(SERVER_2))]);
        assert_eq!(found.answers[1].tunnel.as_ref().unwrap().hops, [IpAddr::V4(EDGE)]);
        let text = found.to_string();
        assert!(text.contains("then 192.0.2.1"), "{text}");
        let json = serde_json::to_value(&found).unwrap();
        assert_eq!(json["service"]["second"]["here"], true);
        assert_eq!(json["answers"][1]["director"]["reason"], "sent_first");

        // None of it was counted.
        let reasons = [Reason::SentFirst, Reason::SentSecond, Reason::LocalSyn];
        assert_eq!(reasons.map(|reason| counted(&home, reason)), [0; 3]);
    });
}

#[test]
fn an_explanation_knows_the_sockets_of_this_host() {
    within("an_explanation_knows_the_sockets_of_this_host", |world| {
        crate::world::tool("ip address add 203.0.113.7/32 dev lo");
        let home = world.home();
        let (_loaded, mut tables) = live(&home, 2);
        let explainer = Explainer::open(&home).unwrap();
        let listener = TcpListener::bind("203.0.113.7:443").unwrap();
        let client = TcpStream::connect("203.0.113.7:443").unwrap();
        let _server = listener.accept().unwrap();
        let source = client.local_addr().unwrap();
        let asked = Question { source, ..question(Protocol::Tcp, "203.0.113.7:443") };
        let found = ask(&explainer, &asked);
        give(&mut tables, &found, Bucket::new(1, 2000));
        let found = ask(&explainer, &asked);
        let answers: Vec<_> = found.answers.iter().map(said).collect();
        assert_eq!(answers, [("local_syn", None, None), ("local_socket", None, None)]);
        give(&mut tables, &found, Bucket::new(2000, 1));
        let found = ask(&explainer, &asked);
        assert_eq!(said(&found.answers[1]).1, Some("tunnel_socket"));
    });
}

#[test]
fn what_is_no_service_is_explained_too() {
    within("what_is_no_service_is_explained_too", |world| {
        let home = world.home();
        let (_loaded, _tables) = live(&home, 1);
        let explainer = Explainer::open(&home).unwrap();
        let found = ask(&explainer, &question(Protocol::Udp, "192.0.2.99:53"));
        assert_eq!(found.service, None);
        assert_eq!(said(&found.answers[0]), ("not_vip", None, None));
        let found = ask(&explainer, &question(Protocol::Udp, "203.0.113.7:53"));
        assert_eq!(said(&found.answers[0]).0, "local_only_hop");
        let long = question(Protocol::Quic(vec![0; 21]), "203.0.113.7:53");
        let error = explainer.explain(&long, &Shield::Absent).unwrap_err().to_string();
        assert_eq!(error, "a connection id has 1 to 20 octets, not 21");
        let families = question(Protocol::Tcp, "[2001:db8::7]:443");
        let error = explainer.explain(&families, &Shield::Absent).unwrap_err().to_string();
        assert!(error.ends_with("are of two families: name two of one"), "{error}");
    });
}

#[test]
fn a_connection_id_names_its_server() {
    within("a_connection_id_names_its_server", |world| {
        let home = world.home();
        // Tables of another size than usual, which an explanation finds as they are.
        let capacities = Capacities { trie: 4096, buckets: 65_536, ..Capacities::default() };
        let mut loaded = load(&home, EMBEDDED, &settings(), &capacities).unwrap();
        let mut tables = loaded.tables().unwrap();
        tables.publish(1, &image(1)).unwrap();
        loaded.go_live(&["edge0"], Mode::Native).unwrap();
        let explainer = Explainer::open(&home).unwrap();
        let mut quic = image(2);
        let set = &mut quic.sets[0];
        (set.dissector, set.quic_config, set.quic_server_len, set.quic_id_len) = (1, 2, 2, 8);
        // All buckets go to this server, so that only the id can lead to the other.
        quic.buckets.fill(Bucket::new(1, 0).0);
        quic.checksum = quic.parts().checksum();
        loaded.publish(&mut tables, 2, &quic).unwrap();
        let id = [[2 << 5].as_slice(), &2000_u16.to_be_bytes(), &[7; 5]].concat();
        let found = ask(&explainer, &question(Protocol::Quic(id), "203.0.113.7:443"));
        assert_eq!(found.service.as_ref().unwrap().named, Some(2000));
        assert_eq!(said(&found.answers[0]), ("sent_id", Some("tunnel_last_hop"), Some(SERVER_2)));
    });
}

fn rule(name: &str, port: u16, action: Action) -> Rule {
    let destination_ports = vec![Range { first: port, last: port }];
    Rule::new(name, Match { destination_ports, ..Match::default() }, action)
}

#[test]
fn the_shield_answers_first() {
    within("the_shield_answers_first", |world| {
        let home = world.home();
        let (_loaded, _tables) = live(&home, 2);
        let explainer = Explainer::open(&home).unwrap();
        let room = Rate { per_second: 1, burst: 1 };
        let limit = Limit { packets: Some(room), octets: None, per: Per::Rule };
        let mut dry = rule("dry", 443, Action::Drop);
        dry.dry_run = true;
        let rules = [
            dry,
            rule("limit", 443, Action::Limit(limit)),
            rule("mail", 25, Action::Drop),
            rule("web", 443, Action::Pass),
            rule("rest", 443, Action::Drop),
        ];
        let asked = Box::new(Asked::new(&rules, Options::default()).unwrap());
        let shield =
            Shield::Rules { asked, source: "this test".to_owned(), interface: ("none".into(), 0) };
        let explain = |to: &str| explainer.explain(&question(Protocol::Tcp, to), &shield).unwrap();
        let found = explain("203.0.113.7:443");
        assert_eq!((found.shield.state, found.shield.rules), ("asked", Some(5)));
        // A limit of one packet has room for each that is asked about.
        for answer in &found.answers {
            let said = answer.shield.as_ref().unwrap();
            assert_eq!((said.verdict, said.reason), ("pass", None));
            let rules: Vec<_> =
                said.rules.iter().map(|one| (one.rule.as_str(), one.outcome)).collect();
            assert_eq!(rules, [("dry", "counted"), ("limit", "counted"), ("web", "passed")]);
            assert!(said.rules[0].dry_run && !said.rules[1].dry_run);
            assert_eq!(answer.director.as_ref().unwrap().reason, "sent_first");
        }
        let found = explain("203.0.113.7:25");
        let said = found.answers[0].shield.as_ref().unwrap();
        assert_eq!((said.verdict, said.reason), ("drop", Some("shield_rule")));
        assert_eq!((said.rules[0].rule.as_str(), said.rules[0].index), ("mail", 2));
        assert_eq!(found.answers[0].director, None);
        let text = found.to_string();
        for line in [
            "  shield       5 rules of this test\n",
            "    shield     drop shield_rule: a shield rule said so\n",
            "      rule     mail matches, and drops it\n",
        ] {
            assert!(text.contains(line), "{text}");
        }
        // None of it was counted.
        assert_eq!(counted(&home, Reason::ShieldRule), 0);
    });
}
