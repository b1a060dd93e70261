//! What `length` of a rule counts: octets of the IP packet as its own header says, whatever the
//! frame around it has.

use packet_loader::shield::frames::Frame;
use packet_loader::shield::interpret::Interpreter;
use packet_loader::shield::plan;
use packet_loader::shield::programs::{Load, Trial};
use packet_loader::shield::{Action, Match, Range, Rule};

use crate::harness;

/// Octets that the rule drops: these, and neither one less nor one more.
const LENGTH: u32 = 100;

/// A frame whose IP packet has so many octets.
fn of(octets: u32, frame: &Frame) -> Frame {
    let mut frame = frame.clone();
    frame.payload.clear();
    let bare = frame.ip_length();
    frame.payload = vec![0; (octets - bare) as usize];
    assert_eq!(frame.ip_length(), octets);
    frame
}

#[test]
fn a_length_is_that_of_the_ip_packet() {
    if !harness::allowed("a_length_is_that_of_the_ip_packet") {
        return;
    }
    let length = Some(Range { first: LENGTH, last: LENGTH });
    let rules = [Rule::new("length", Match { length, ..Match::default() }, Action::Drop)];
    let places = harness::places(&rules);
    let parts = plan::plan(&rules, &places).unwrap();
    let trial = Trial::new(parts, &places, Load::default()).unwrap();
    let mut interpreter = Interpreter::new(&rules);
    let (v4, v6) = (Frame::default(), Frame { v6: true, ..Frame::default() });
    for (what, frame, padding) in [
        ("IPv4", v4.clone(), 0),
        ("IPv4 with options", Frame { options: true, ..v4.clone() }, 0),
        ("IPv4 behind two tags", Frame { tags: 2, ..v4.clone() }, 0),
        ("IPv4 in a frame that the wire filled up", v4.clone(), 46),
        ("TCP over IPv4", Frame { protocol: 6, ..v4 }, 0),
        ("IPv6, its header of 40 included", v6.clone(), 0),
        ("IPv6 behind a tag", Frame { tags: 1, ..v6.clone() }, 0),
        ("IPv6 with extension headers", Frame { extensions: vec![0, 60], ..v6.clone() }, 0),
        ("IPv6 in a frame that the wire filled up", v6, 7),
    ] {
        // A frame has 14 octets of Ethernet more, and may be as long as the rule says.
        for (octets, dropped) in [
            (LENGTH - 15, false),
            (LENGTH - 14, false),
            (LENGTH - 13, false),
            (LENGTH - 1, false),
            (LENGTH, true),
            (LENGTH + 1, false),
        ] {
            let mut octets_of = of(octets, &frame).octets();
            octets_of.resize(octets_of.len() + padding, 0);
            let action = trial.run(&octets_of, 1).unwrap().action;
            assert_eq!(action == 1, dropped, "the program: {what}, {octets} octets");
            let judged = interpreter.judge(&octets_of, 0).dropped;
            assert_eq!(judged, dropped, "the interpreter: {what}, {octets} octets");
        }
    }
}
