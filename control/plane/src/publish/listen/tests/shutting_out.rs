//! Edges that are revoked, and connections that are too many or come to an end.

use super::support::{Edge, LONG, SOON, Store, block_on, invitation};
use crate::publish::join::Invitation;
use crate::publish::operator::{EdgeAnswer, EdgeRequest};
use control_api::publish::Refusal;
use std::time::Duration;

#[test]
fn a_revoked_edge_loses_its_stream_and_does_not_come_back() {
    block_on(async {
        let store = Store::new().await;
        let (one, two) = (store.plane(LONG).await, store.plane(LONG).await);
        let token = store.invite(Invitation { uses: None, ..invitation() }).await;
        let (mut bad, good) = (Edge::join(&one, &token).await, Edge::join(&one, &token).await);
        let mut stream = two.follow(&bad).await.expect("a stream");
        let mut other = two.follow(&good).await.expect("a stream");
        stream.next().await.expect("a greeting");
        other.next().await.expect("a greeting");
        let id = bad.id().to_owned();
        let done = store.ask(EdgeRequest::Revoke { edge: id.clone() }).await.expect("revoked");
        assert!(matches!(done, EdgeAnswer::Revoked { id: own, .. } if own == id));
        assert_eq!(stream.next().await, None, "the stream ends at once");
        stream.closed().await;
        for plane in [&one, &two] {
            let (status, reason, message) =
                plane.follow(&bad).await.expect_err("revoked").refused();
            assert_eq!((status, reason), (403, Refusal::Revoked), "{message}");
            assert!(message.contains("was revoked"), "{message}");
        }
        let answer = bad.renew(&one).await.expect_err("revoked");
        assert_eq!(answer.refused().1, Refusal::Revoked);
        let more = tokio::time::timeout(Duration::from_millis(200), other.next()).await;
        assert!(more.is_err(), "the stream of the other edge goes on: {more:?}");
        assert!(two.gate.metrics().contains("weir_edge_denied_total{reason=\"revoked\"} 1"));
    });
}

#[test]
fn a_plane_that_stops_ends_its_streams() {
    block_on(async {
        let store = Store::new().await;
        let mut plane = store.plane(LONG).await;
        let edge = Edge::join(&plane, &store.invite(invitation()).await).await;
        let mut stream = plane.follow(&edge).await.expect("a stream");
        stream.next().await.expect("a greeting");
        drop(plane.stop.take());
        assert_eq!(stream.next().await, None);
        stream.closed().await;
    });
}

#[test]
fn one_edge_has_few_connections() {
    block_on(async {
        let store = Store::new().await;
        let plane = store.plane(LONG).await;
        let edge = Edge::join(&plane, &store.invite(invitation()).await).await;
        let mut streams = Vec::new();
        for _ in 0..6 {
            streams.push(plane.follow(&edge).await.expect("a stream"));
        }
        let stream = plane.connect(Some(&edge), "h2").await.expect("TLS");
        let (_client, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
        // It is closed, not answered.
        let _ = tokio::time::timeout(SOON, connection).await.expect("in time");
        let metrics = plane.gate.metrics();
        assert!(metrics.contains("limit_hits_total{limit=\"per_edge\"} 1"), "{metrics}");
        drop(streams.pop());
        let begun = tokio::time::Instant::now();
        let mut room = plane.connect(Some(&edge), "http/1.1").await;
        while !matches!(answered(room).await, Some(400)) {
            assert!(begun.elapsed() < SOON, "the place is not given back");
            room = plane.connect(Some(&edge), "http/1.1").await;
        }
    });
}

async fn answered(
    room: std::io::Result<tokio_rustls::client::TlsStream<tokio::net::TcpStream>>,
) -> Option<u16> {
    super::support::exchange(room.ok()?, "/edge/v1/stream", "{}").await.ok().map(|a| a.status)
}
