//! Tokens become edges, or do not.

use super::support::{Edge, LONG, Store, block_on, invitation, now_ms};
use crate::publish::identity::edges;
use crate::publish::join::{Invitation, Issue, join};
use crate::publish::operator::EdgeRequest;
use control_api::publish::{Enrol, Hash, JOIN_PATH, JoinToken, Refusal, Role};
use rcgen::{CertificateParams, KeyPair, PKCS_ED25519};
use serde_json::json;

#[test]
fn an_edge_joins_and_follows_by_the_roles_of_its_token() {
    block_on(async {
        let store = Store::new().await;
        let plane = store.plane(LONG).await;
        let roles = vec![Role::Proxy, Role::Packet];
        let token = store.invite(Invitation { roles: roles.clone(), ..invitation() }).await;
        let edge = Edge::join(&plane, &token).await;
        let mut stream = plane.follow(&edge).await.expect("a stream");
        assert_eq!(stream.next().await.as_deref(), Some("edge-1 [Proxy, Packet]"));
        let record = edges(&store.keeper.state()).pop().expect("an edge");
        assert_eq!((record.id.as_str(), &record.roles), (edge.id(), &roles));
        assert_eq!((&record.token, record.revoked_ms), (&token.id, None));
        let certified = edge.certified.as_ref().expect("certified");
        let (now, day) = (now_ms() / 1_000, 86_400);
        assert!((now + day - 60..=now + day).contains(&certified.ends), "{}", certified.ends);
        assert!((now + day / 3 * 2 - 60..=now + day / 3 * 2).contains(&certified.renew));
        let metrics = plane.gate.metrics();
        for line in ["weir_edge_joins_total 1", "weir_edges 1", "weir_edges_connected 1"] {
            assert!(metrics.lines().any(|own| own == line), "{line}: {metrics}");
        }
    });
}

#[test]
fn who_joins_is_shown_the_authority_that_the_token_names() {
    block_on(async {
        let store = Store::new().await;
        let plane = store.plane(LONG).await;
        let token = store.invite(invitation()).await;
        let stream = plane.connect(None, "http/1.1").await.expect("TLS");
        let chain = stream.get_ref().1.peer_certificates().expect("a chain");
        let hashes: Vec<Hash> = chain.iter().map(|der| Hash::of(der)).collect();
        assert!(hashes.len() == 2 && hashes[1] == token.authority, "{hashes:?}");
    });
}

#[test]
fn the_store_has_neither_the_key_of_the_authority_nor_a_token() {
    block_on(async {
        let store = Store::new().await;
        let plane = store.plane(LONG).await;
        let token = store.invite(invitation()).await;
        Edge::join(&plane, &token).await;
        let disk = store.disk();
        assert!(disk.contains("BEGIN CERTIFICATE"), "the authority's certificate is there");
        for secret in ["PRIVATE KEY", token.secret.as_str()] {
            assert!(!disk.contains(secret), "{secret}");
        }
    });
}

/// A join that is refused, and why.
async fn refused(store: &Store, enrol: &Enrol, expect: (u16, Refusal, &str), row: &str) {
    let plane = store.plane(LONG).await;
    let before = edges(&store.keeper.state()).len();
    let answer = plane.join(enrol).await.expect_err(row);
    let (status, reason, message) = answer.refused();
    assert_eq!((status, reason), (expect.0, expect.1), "{row}: {message}");
    assert!(message.contains(expect.2), "{row}: {message}");
    assert!(!message.contains(&enrol.token), "{row}: {message}");
    assert_eq!(edges(&store.keeper.state()).len(), before, "{row}");
}

#[test]
fn a_token_that_is_not_right_makes_no_edge() {
    block_on(async {
        let store = Store::new().await;
        let edge = Edge::new();
        let right = store.invite(invitation()).await;
        let of = |token: &JoinToken| edge.enrol(token);
        let denied = (403, Refusal::Token, "was revoked");
        let wrong = JoinToken { secret: "0".repeat(64), ..right.clone() };
        refused(&store, &of(&wrong), denied, "another secret").await;
        let unknown = JoinToken { id: "0".repeat(32), ..right.clone() };
        refused(&store, &of(&unknown), denied, "an unknown id").await;
        let none = Enrol { token: "weir-join.x".to_owned(), ..of(&right) };
        refused(&store, &none, denied, "no token at all").await;
        let short = store.invite(Invitation { lasts_ms: 1, ..invitation() }).await;
        let begun = now_ms();
        while now_ms() <= begun + 1 {
            tokio::task::yield_now().await;
        }
        let ended = (403, Refusal::TokenEnded, "has ended");
        refused(&store, &of(&short), ended, "a token that has ended").await;
        Edge::join(&store.plane(LONG).await, &right).await;
        let used = (403, Refusal::TokenUsed, "--uses");
        refused(&store, &of(&right), used, "a token that was used").await;
        let back = store.invite(invitation()).await;
        store.ask(EdgeRequest::RevokeToken { id: back.id.clone() }).await.expect("revoked");
        refused(&store, &of(&back), denied, "a token that was taken back").await;
    });
}

#[test]
fn a_request_that_is_not_right_leaves_the_token_as_it_was() {
    block_on(async {
        let store = Store::new().await;
        let edge = Edge::new();
        let token = store.invite(invitation()).await;
        let request = |text: &str| (400, Refusal::Request, text.to_owned());
        let other = KeyPair::generate_for(&PKCS_ED25519).expect("a key");
        let kind = CertificateParams::default().serialize_request(&other).expect("a request");
        let kind = kind.pem().expect("PEM");
        // The last octets before the end are of the signature.
        let whole = edge.request();
        let at = whole.find("\n-----END").expect("an end") - 6;
        let mut broken = whole.clone();
        let octet = if &whole[at..=at] == "A" { "B" } else { "A" };
        broken.replace_range(at..=at, octet);
        for (row, name, csr, expect) in [
            ("no name", "", &whole, request("1 to 64 letters")),
            ("a name with a space", "a b", &whole, request("1 to 64 letters")),
            ("a name that is too long", &"n".repeat(65), &whole, request("1 to 64 letters")),
            ("no request", "n", &String::new(), request("PKCS#10")),
            ("a broken signature", "n", &broken, request("signed")),
            ("a key of another kind", "n", &kind, request("ECDSA P-256")),
            ("too long a request", "n", &"x".repeat(4_097), request("4097 bytes")),
        ] {
            let enrol =
                Enrol { token: token.to_string(), name: name.to_owned(), request: csr.clone() };
            let (status, reason, message) = expect;
            refused(&store, &enrol, (status, reason, &message), row).await;
        }
        Edge::join(&store.plane(LONG).await, &token).await;
    });
}

#[test]
fn a_token_is_used_as_often_as_it_may_be() {
    block_on(async {
        let store = Store::new().await;
        let plane = store.plane(LONG).await;
        for (uses, expect) in [(Some(1), 1), (Some(3), 3), (None, 5)] {
            let token = store.invite(Invitation { uses, ..invitation() }).await;
            let mut joined = 0;
            for _ in 0..5 {
                let edge = Edge::new();
                joined += usize::from(plane.join(&edge.enrol(&token)).await.is_ok());
            }
            assert_eq!(joined, expect, "{uses:?}");
        }
    });
}

#[test]
fn two_edges_at_once_cannot_share_a_use() {
    block_on(async {
        let store = Store::new().await;
        let plane = store.plane(LONG).await;
        let token = store.invite(invitation()).await;
        let (one, two) = (Edge::new(), Edge::new());
        let (one, two) = (one.enrol(&token), two.enrol(&token));
        let (one, two) = tokio::join!(plane.join(&one), plane.join(&two));
        assert!(one.is_ok() != two.is_ok(), "{one:?} {two:?}");
        assert_eq!(edges(&store.keeper.state()).len(), 1);
    });
}

#[test]
fn an_address_that_shows_wrong_tokens_has_to_wait() {
    block_on(async {
        let store = Store::new().await;
        let plane = store.plane(LONG).await;
        let right = store.invite(invitation()).await;
        let wrong = JoinToken { secret: "0".repeat(64), ..right.clone() };
        let edge = Edge::new();
        let mut reasons = Vec::new();
        for _ in 0..10 {
            let answer = plane.join(&edge.enrol(&wrong)).await.expect_err("a wrong token");
            reasons.push(answer.refused().1);
        }
        let expect = [vec![Refusal::Token; 9], vec![Refusal::Limited]].concat();
        assert_eq!(reasons, expect);
        let answer = plane.join(&edge.enrol(&right)).await.expect_err("too early");
        assert_eq!(answer.refused().0, 429);
    });
}

#[test]
fn a_body_that_is_none_is_refused_without_being_repeated() {
    block_on(async {
        let store = Store::new().await;
        let plane = store.plane(LONG).await;
        for body in [json!(null), json!({"token": 1}), json!("x".repeat(10_000))] {
            let answer = plane.call(None, JOIN_PATH, &body).await.expect("an answer");
            let (status, reason, message) = answer.refused();
            assert_eq!((status, reason), (400, Refusal::Request), "{message}");
            assert!(!message.contains("xxx"), "{message}");
        }
        let answer = plane.call(None, "/edge/v1/other", &json!({})).await.expect("an answer");
        assert_eq!(answer.refused().0, 400);
    });
}

#[test]
fn a_revoked_edge_is_forgotten_once_its_certificates_have_ended() {
    block_on(async {
        let store = Store::new().await;
        let authority = store.authority().await;
        let token = store.invite(Invitation { uses: None, ..invitation() }).await;
        let source = std::net::Ipv4Addr::LOCALHOST.into();
        let join_at = async |now_ms: u64| {
            let (enrol, authority) = (Edge::new().enrol(&token), &authority);
            let issue = Issue { authority, life: LONG, now_ms };
            join(&store.keeper, issue, &enrol, source).await.expect("joined").edge
        };
        let begun = now_ms();
        let gone = join_at(begun).await;
        store.ask(EdgeRequest::Revoke { edge: gone.clone() }).await.expect("revoked");
        let there = || edges(&store.keeper.state()).into_iter().any(|edge| edge.id == gone);
        join_at(begun + 60_000).await;
        assert!(there(), "a certificate of it may be shown yet");
        let life = u64::try_from(LONG.as_millis()).expect("a day");
        let long = Invitation { lasts_ms: 10 * life, uses: None, ..invitation() };
        let token = store.invite(long).await;
        let issue = Issue { authority: &authority, life: LONG, now_ms: begun + life + 60_000 };
        let enrol = Edge::new().enrol(&token);
        join(&store.keeper, issue, &enrol, source).await.expect("joined");
        assert!(!there() && edges(&store.keeper.state()).len() == 2);
    });
}
