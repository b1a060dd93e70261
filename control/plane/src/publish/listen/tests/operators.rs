//! What operators ask of the fleet.

use super::support::{Edge, LONG, Store, block_on, invitation, now_ms, who};
use crate::publish::join::Invitation;
use crate::publish::operator::{EdgeAnswer, EdgeRequest, answer};
use control_api::publish::Role;

#[test]
fn a_token_that_could_never_be_used_is_not_made() {
    block_on(async {
        let store = Store::new().await;
        for (row, wanted, expect) in [
            ("no role", Invitation { roles: Vec::new(), ..invitation() }, "has a role"),
            ("no time", Invitation { lasts_ms: 0, ..invitation() }, "lasts"),
            ("no use", Invitation { uses: Some(0), ..invitation() }, "used at least once"),
            ("no name", Invitation { name: String::new(), ..invitation() }, "1 to 64 letters"),
        ] {
            let error = store.ask(EdgeRequest::CreateToken(wanted)).await.expect_err(row);
            assert!(error.to_string().contains(expect), "{row}: {error}");
        }
    });
}

#[test]
fn tokens_are_listed_without_what_would_let_anybody_use_them() {
    block_on(async {
        let store = Store::new().await;
        let token = store.invite(Invitation { roles: vec![Role::Packet], ..invitation() }).await;
        let EdgeAnswer::Tokens(list) = store.ask(EdgeRequest::Tokens).await.expect("a list") else {
            panic!("no list")
        };
        let text = serde_json::to_string(&list).expect("JSON");
        assert!(text.contains(&token.id) && text.contains("packet"), "{text}");
        assert!(!text.contains(&token.secret) && !text.contains("hash"), "{text}");
        let gone = store.ask(EdgeRequest::RevokeToken { id: "no/id".to_owned() }).await;
        assert!(gone.expect_err("none").to_string().contains("no join token no/id"));
    });
}

#[test]
fn tokens_that_ended_are_forgotten_after_a_day() {
    block_on(async {
        let store = Store::new().await;
        let made = |at: u64| {
            let request = EdgeRequest::CreateToken(invitation());
            let (keeper, vault) = (&store.keeper, &store.vault);
            async move { answer(keeper, vault, &[], &who(), request, at).await.expect("a token") }
        };
        let (begun, hour) = (now_ms(), 3_600_000);
        for (at, expect) in [(0, 1), (hour, 2), (25 * hour, 3), (25 * hour + 1, 3)] {
            made(begun + at).await;
            let EdgeAnswer::Tokens(list) = store.ask(EdgeRequest::Tokens).await.expect("a list")
            else {
                panic!("no list")
            };
            assert_eq!(list.len(), expect, "after {at} ms");
        }
    });
}

#[test]
fn an_edge_is_revoked_by_its_id_or_by_a_name_of_its_own() {
    block_on(async {
        let store = Store::new().await;
        let plane = store.plane(LONG).await;
        let token = store.invite(Invitation { uses: None, ..invitation() }).await;
        let (one, two) = (Edge::join(&plane, &token).await, Edge::join(&plane, &token).await);
        let revoke = |edge: &str| store.ask(EdgeRequest::Revoke { edge: edge.to_owned() });
        let error = revoke("edge-1").await.expect_err("ambiguous").to_string();
        assert!(error.contains(one.id()) && error.contains(two.id()), "{error}");
        revoke(one.id()).await.expect("revoked by id");
        revoke("edge-1").await.expect("revoked by name: one is left");
        let error = revoke("edge-1").await.expect_err("none is left").to_string();
        assert!(error.contains("there is no edge edge-1"), "{error}");
        let answer = store.ask(EdgeRequest::Edges).await.expect("a list");
        let EdgeAnswer::Edges { edges: list, .. } = answer else { panic!("no list") };
        assert!(list.len() == 2 && list.iter().all(|edge| edge.record.revoked_ms.is_some()));
    });
}
