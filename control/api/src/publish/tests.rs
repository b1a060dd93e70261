//! Messages, hashes and deltas.

use super::*;
use serde_json::json;

fn item(id: &str, weight: u32) -> Item {
    let key = ItemKey { kind: ItemKind::Pool, id: id.into() };
    Item::new(key, &json!({ "name": id, "weight": weight })).unwrap()
}

fn items(all: &[(&str, u32)]) -> Items {
    let mut items = Items::default();
    all.iter().for_each(|(id, weight)| items.apply(Change::Put(item(id, *weight))));
    items
}

#[test]
fn a_delta_makes_the_old_set_the_new_one() {
    let old = items(&[("a", 1), ("b", 1), ("c", 1)]);
    for new in [
        items(&[]),
        items(&[("a", 1), ("b", 1), ("c", 1)]),
        items(&[("a", 1), ("b", 2), ("d", 1)]),
        items(&[("z", 9)]),
    ] {
        let mut made = old.clone();
        new.since(&old).into_iter().for_each(|change| made.apply(change));
        assert_eq!(made.hash(), new.hash());
        assert!(new.since(&made).is_empty());
    }
    assert_eq!(items(&[("a", 1), ("b", 2)]).since(&items(&[("a", 1), ("b", 1)])).len(), 1);
}

#[test]
fn the_hash_tells_sets_apart() {
    let sets = [
        items(&[]),
        items(&[("a", 1)]),
        items(&[("a", 2)]),
        items(&[("b", 1)]),
        items(&[("a", 1), ("b", 1)]),
    ];
    for (at, one) in sets.iter().enumerate() {
        for (other_at, other) in sets.iter().enumerate() {
            assert_eq!(one.hash() == other.hash(), at == other_at, "{at} {other_at}");
        }
    }
    // The order in which items came does not count.
    assert_eq!(items(&[("a", 1), ("b", 2)]).hash(), items(&[("b", 2), ("a", 1)]).hash());
}

#[test]
fn messages_come_back_whatever_the_pieces_they_arrive_in() {
    let snapshot = SnapshotId { lineage: "l".into(), generation: 7, hash: Hash::of(b"x") };
    let sent = [
        PlaneMessage::Begin { snapshot: snapshot.clone(), base: None, items: 1, committed_ms: 5 },
        PlaneMessage::Items { put: vec![item("a", 1)], remove: Vec::new() },
        PlaneMessage::End { snapshot },
    ];
    let octets: Vec<u8> = sent.iter().flat_map(|message| frame(message).unwrap()).collect();
    for piece in [1, 3, 64, octets.len()] {
        let mut frames = Frames::<PlaneMessage>::default();
        let mut got = Vec::new();
        for chunk in octets.chunks(piece) {
            frames.push(chunk);
            while let Some(message) = frames.take().unwrap() {
                got.push(serde_json::to_string(&message).unwrap());
            }
        }
        let sent: Vec<_> = sent.iter().map(|m| serde_json::to_string(m).unwrap()).collect();
        assert_eq!(got, sent, "in pieces of {piece}");
    }
}

#[test]
fn an_item_keeps_its_text_byte_for_byte() {
    let text = r#"{"items":{"put":[{"key":{"kind":"pool","id":"a"},"body":{"b": 1,  "a":2.50}}]}}"#;
    let PlaneMessage::Items { put, .. } = serde_json::from_str(text).unwrap() else { panic!() };
    assert_eq!(put[0].body.get(), r#"{"b": 1,  "a":2.50}"#);
}

#[test]
fn too_long_a_message_is_refused_before_it_has_come() {
    let mut frames = Frames::<EdgeMessage>::default();
    frames.push(&u32::MAX.to_be_bytes());
    assert!(matches!(frames.take(), Err(FrameError::Long(_))));
}

#[test]
fn an_ack_says_what_became_of_a_snapshot() {
    let snapshot = SnapshotId { lineage: "l".into(), generation: 7, hash: Hash::of(b"x") };
    for outcome in [
        Outcome::Applied { took_us: 900 },
        Outcome::Refused { faults: vec!["no".into()] },
        Outcome::Resync,
    ] {
        let sent = EdgeMessage::Ack { snapshot: snapshot.clone(), outcome: outcome.clone() };
        let text = serde_json::to_string(&sent).unwrap();
        let EdgeMessage::Ack { outcome: got, .. } = serde_json::from_str(&text).unwrap() else {
            panic!("{text}")
        };
        assert_eq!(got, outcome, "{text}");
    }
}

#[test]
fn a_join_token_is_read_as_it_is_written_and_its_secret_is_not_shown() {
    let token = JoinToken {
        id: "0123456789abcdef0123456789abcdef".into(),
        secret: "5".repeat(64),
        authority: Hash::of(b"authority"),
    };
    assert_eq!(token.to_string().parse(), Ok(token.clone()));
    assert!(!format!("{token:?}").contains("555"));
    for wrong in ["", "weir-join", "weir-join.a.b.c", "x", &token.to_string()[1..]] {
        assert_eq!(wrong.parse::<JoinToken>(), Err(TokenError), "{wrong}");
    }
}
