//! Captures of a running flood, as files that a reader walks.

use crate::flood::Flood;
use crate::world::{self, World, within};
use crate::{counted, live};
use packet_abi::maps;
use packet_abi::verdict::{Kind, Reason};
use packet_loader::capture::{Options, capture, sweep};
use packet_loader::{Home, sys::bpf};
use std::os::fd::AsFd;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// Bodies of the packet blocks of a file.
fn packets(mut file: &[u8]) -> Vec<&[u8]> {
    let mut found = Vec::new();
    while !file.is_empty() {
        let number = |at: usize| u32::from_ne_bytes(file[at..at + 4].try_into().unwrap());
        let len = number(4) as usize;
        if number(0) == 6 {
            found.push(&file[8..len - 4]);
        }
        file = &file[len..];
    }
    found
}

fn taps(home: &Home) -> usize {
    let map = home.open(maps::TAP).unwrap();
    let filled = |slot: &u32| bpf::slot_id(map.as_fd(), *slot).unwrap().is_some();
    (0..maps::TAP_LEN).filter(filled).count()
}

fn run(home: &Home, options: Options) -> (Vec<u8>, u64) {
    let mut file = Vec::new();
    let summary = capture(home, &options, &mut file, &AtomicBool::new(false)).unwrap();
    assert_eq!(packets(&file).len() as u64, summary.written);
    (file, summary.written)
}

fn in_a_flood(test: &'static str, check: impl FnOnce(&Home, &World) + Send + 'static) {
    within(test, |world| {
        let home = world.home();
        drop(live(&home, 2));
        let flood = Flood::start(&world);
        check(&home, &world);
        let outcome = flood.stop();
        assert_eq!(outcome.came, outcome.sent);
    });
}

#[test]
fn a_capture_shows_what_is_sent_and_why() {
    in_a_flood("a_capture_shows_what_is_sent_and_why", |home, _| {
        let options = Options {
            packets_max: Some(200),
            time_max: Some(Duration::from_secs(10)),
            kinds: vec![Kind::Send],
            ..Options::default()
        };
        let (file, written) = run(home, options);
        assert_eq!(written, 200);
        for packet in packets(&file) {
            let len = u32::from_ne_bytes(packet[12..16].try_into().unwrap()) as usize;
            let frame = &packet[20..20 + len];
            // Outer IPv4 and UDP to the tunnel's port, around IPv4, UDP and eight octets.
            assert_eq!(len, 14 + 20 + 8 + 8 + 20 + 8 + 8);
            assert_eq!((frame[23], &frame[36..38]), (17, &19_523_u16.to_be_bytes()[..]));
            let rest = String::from_utf8_lossy(&packet[20 + len..]);
            assert!(rest.contains("send sent_first: sent to the first hop"), "{rest}");
        }
        assert_eq!(taps(home), 0);
    });
}

#[test]
fn a_capture_keeps_what_is_asked_for() {
    in_a_flood("a_capture_keeps_what_is_asked_for", |home, _| {
        let kinds = vec![Kind::Send];
        let short = Options { snap: 64, packets_max: Some(10), kinds, ..Options::default() };
        let (file, _) = run(home, short);
        for packet in packets(&file) {
            let lengths =
                [12, 16].map(|at| u32::from_ne_bytes(packet[at..at + 4].try_into().unwrap()));
            assert_eq!(lengths[0], 64);
            assert!(lengths[1] > 64);
        }
        let seen = counted(home, Reason::SentFirst);
        let none = Options {
            reasons: vec![Reason::GueHops],
            time_max: Some(Duration::from_millis(200)),
            ..Options::default()
        };
        assert_eq!(run(home, none).1, 0);
        assert!(counted(home, Reason::SentFirst) > seen);
    });
}

#[test]
fn a_capture_that_was_killed_is_swept_up() {
    in_a_flood("a_capture_that_was_killed_is_swept_up", |home, _| {
        let forked = world::fork(|| {
            let options = Options { kinds: vec![Kind::Drop], ..Options::default() };
            drop(capture(home, &options, &mut Vec::new(), &AtomicBool::new(false)));
        });
        crate::wait_until("a capture", || taps(home) == maps::TAP_LEN as usize);
        let error = capture(home, &Options::default(), &mut Vec::new(), &AtomicBool::new(true));
        assert_eq!(
            error.unwrap_err().to_string(),
            "another capture runs; wait for its end, or stop it"
        );
        assert!(!sweep(home).unwrap());
        assert_eq!(taps(home), maps::TAP_LEN as usize, "a running capture was swept up");
        forked.kill();
        assert!(sweep(home).unwrap());
        assert_eq!(taps(home), 0);
        assert!(!sweep(home).unwrap(), "swept up twice");
    });
}
