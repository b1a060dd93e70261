//! Two connections, and a script of what their owners do in any order, with the bytes between them
//! cut anywhere. A model of each stream says what must come out.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::h2::connection::{SendError, StreamEnd};

/// One message of one stream, as its sender knows it.
#[derive(Debug, Default)]
struct Message {
    key: Option<StreamKey>,
    headed: bool,
    sent: usize,
    ended: bool,
    /// What the other side took, and what of it it passed on.
    taken: usize,
    released: usize,
    end_seen: bool,
}

/// One stream at both ends.
#[derive(Debug, Default)]
struct Both {
    up: Message,
    down: Message,
    /// Somebody cut it off or closed it.
    cut: bool,
}

struct World {
    sides: [Wire; 2],
    /// Bytes on their way to the client and to the server.
    ways: [Vec<u8>; 2],
    streams: BTreeMap<u32, Both>,
}

const CLIENT: usize = 0;
const SERVER: usize = 1;

/// The byte at an offset of a message.
fn byte(id: u32, side: usize, at: usize) -> u8 {
    (at as u32).wrapping_mul(31).wrapping_add(id * 7 + side as u32) as u8
}

fn content(id: u32, side: usize, from: usize, len: usize) -> Vec<u8> {
    (from..from + len).map(|at| byte(id, side, at)).collect()
}

impl Both {
    fn message(&mut self, side: usize) -> &mut Message {
        if side == CLIENT { &mut self.up } else { &mut self.down }
    }
}

impl World {
    fn new() -> Self {
        let limits = Limits {
            max_concurrent_streams: 5,
            stream_window: 3_000,
            connection_window: 70_000,
            reset_burst: 100_000,
            control_burst: 100_000,
            out_high_water: 6_000,
            max_frame: 1_000,
            ..Limits::default()
        };
        let sides = [Wire::new(Role::Client, &limits), Wire::new(Role::Server, &limits)];
        Self { sides, ways: [Vec::new(), Vec::new()], streams: BTreeMap::new() }
    }

    /// Moves up to `n` bytes away from `side`, and lets the other side deal with what it has.
    fn deliver(&mut self, side: usize, n: usize) {
        let n = n.min(self.sides[side].it.output().len());
        let bytes = self.sides[side].it.output()[..n].to_vec();
        self.sides[side].it.sent(n);
        let (way, peer) = (1 - side, &mut self.sides[1 - side]);
        self.ways[way].extend_from_slice(&bytes);
        loop {
            let tick = peer.tick;
            let step = peer.it.receive(&self.ways[way], &mut peer.section, tick);
            let step = step.expect("honest peers break no rule");
            self.ways[way].drain(..step.consumed);
            match step.event {
                Some(Event::Head { stream, .. }) => {
                    self.streams.entry(stream.id).or_default().message(way).key = Some(stream);
                }
                Some(Event::Reset(key)) => {
                    let refused = peer.it.status(key) == Some(StreamEnd::Refused);
                    let both = self.streams.get_mut(&key.id).unwrap();
                    assert!(both.cut || refused, "nobody reset it: {key:?}");
                    both.cut = true;
                }
                None if step.consumed == 0 => break,
                _ => {}
            }
        }
        for side in [CLIENT, SERVER] {
            while let Some(key) = self.sides[side].it.next_writable() {
                assert!(self.sides[side].it.streams.get(key).is_some(), "it is still there");
            }
        }
    }

    fn open(&mut self, ends: bool) {
        let Ok(key) = self.sides[CLIENT].it.open() else { return };
        let head = |w: &mut HeadWriter<'_>| w.request(b"GET", Scheme::Https, b"a", b"/");
        self.sides[CLIENT].it.head(key, ends, head).unwrap();
        let both = self.streams.entry(key.id).or_default();
        both.up = Message { key: Some(key), headed: true, ended: ends, ..Message::default() };
    }

    /// Does `what` on a stream of which `side` has a key.
    fn act(&mut self, side: usize, what: u8, nth: usize, amount: usize) {
        let known = |both: &Both| {
            let message = if side == CLIENT { &both.up } else { &both.down };
            message.key
        };
        let mut keys: Vec<_> = self.streams.values().filter_map(known).collect();
        if keys.is_empty() {
            return;
        }
        let key = keys.swap_remove(nth % keys.len());
        let it = &mut self.sides[side].it;
        let both = self.streams.get_mut(&key.id).unwrap();
        match what {
            0 if side == SERVER && !both.down.headed => {
                let ends = amount.is_multiple_of(5);
                if it.head(key, ends, |w| w.status(200)).is_ok() {
                    (both.down.headed, both.down.ended) = (true, ends);
                }
            }
            0 | 1 => {
                let cut = both.cut;
                let message = both.message(side);
                let data = content(key.id, side, message.sent, amount);
                match it.data(key, &data) {
                    Ok(sent) => message.sent += sent,
                    Err(SendError::Order) => assert!(message.ended || !message.headed),
                    Err(SendError::Closed | SendError::Stopped) => assert!(cut, "{key:?}"),
                    Err(error) => panic!("{error}"),
                }
            }
            2 => {
                if it.finish(key, if amount.is_multiple_of(2) { b"" } else { b"x: y\r\n" }).is_ok()
                {
                    both.message(side).ended = true;
                }
            }
            3 | 4 => {
                let mut into = Vec::new();
                let inbox = it.take(key, &mut into);
                let message = both.message(1 - side);
                let expect = content(key.id, 1 - side, message.taken, into.len());
                assert_eq!(into, expect, "bytes come out as they went in");
                message.taken += into.len();
                assert!(message.taken <= message.sent);
                message.end_seen |= inbox.ends;
                if inbox.reset.is_none() && inbox.ends {
                    assert!(message.ended && message.taken == message.sent, "{key:?}");
                }
                let credit = amount.min(message.taken - message.released);
                message.released += credit;
                it.release(key, credit);
            }
            5 => {
                both.cut = true;
                it.reset(key, ErrorCode::CANCEL);
                assert_ne!(it.status(key), Some(StreamEnd::Lost));
            }
            _ => {
                both.cut = true;
                it.close(key);
                both.message(side).key = None;
            }
        }
    }

    /// Everything is delivered and closed: nothing is held, every window is whole.
    fn settle(&mut self) {
        let keys = |world: &Self, side: usize| -> Vec<StreamKey> {
            let keys = world
                .streams
                .values()
                .map(|both| if side == CLIENT { both.up.key } else { both.down.key });
            keys.flatten().collect()
        };
        for round in 0..3 {
            while !self.sides.iter().all(|side| side.it.output().is_empty()) {
                self.deliver(CLIENT, usize::MAX);
                self.deliver(SERVER, usize::MAX);
            }
            for side in [CLIENT, SERVER] {
                for key in keys(self, side) {
                    self.streams.get_mut(&key.id).unwrap().cut |= round == 2;
                    if round == 2 {
                        self.sides[side].it.close(key);
                        self.streams.get_mut(&key.id).unwrap().message(side).key = None;
                    }
                }
            }
        }
        while !self.sides.iter().all(|side| side.it.output().is_empty()) {
            self.deliver(CLIENT, usize::MAX);
            self.deliver(SERVER, usize::MAX);
            for key in keys(self, SERVER) {
                self.sides[SERVER].it.close(key);
                self.streams.get_mut(&key.id).unwrap().down.key = None;
            }
        }
        for side in [CLIENT, SERVER] {
            let (one, other) = (&self.sides[side].it, &self.sides[1 - side].it);
            assert_eq!((one.live, one.active(), one.ledger.used()), (0, 0, 0));
            assert_eq!(one.recv.promised(), 70_000, "the window comes back exactly");
            let unannounced = one.recv.promised() - other.send.size();
            assert!((0..35_000).contains(&unannounced), "both ends count alike: {unannounced}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn streams_carry_what_was_sent_in_any_order(
        script in prop::collection::vec((0u8..24, any::<u8>(), 0usize..5_000), 1..300),
    ) {
        let mut world = World::new();
        for (what, nth, amount) in script {
            let side = usize::from(nth & 1);
            match what {
                0..3 => world.open(amount.is_multiple_of(3)),
                3..10 => world.deliver(side, amount),
                10..14 => world.act(side, 1, usize::from(nth >> 1), amount),
                14..16 => world.act(SERVER, 0, usize::from(nth >> 1), amount),
                16..18 => world.act(side, 2, usize::from(nth >> 1), amount),
                18..22 => world.act(side, 3, usize::from(nth >> 1), amount),
                22 => world.act(side, 5, usize::from(nth >> 1), amount),
                _ => world.act(side, 6, usize::from(nth >> 1), amount),
            }
            world.sides[side].tick += u32::from(nth >> 6);
            for side in &world.sides {
                assert!(side.it.ledger_bytes() <= Limits::default().ledger_max);
                assert!(side.it.output().len() < 20_000, "the output is bounded");
            }
        }
        world.settle();
    }
}
