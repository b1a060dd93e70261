//! Whose certificates are taken, and for how long.

use super::support::{Edge, LONG, SOON, Store, block_on, exchange, invitation, now_ms, who};
use crate::publish::ca::Authority;
use crate::publish::join::Invitation;
use crate::store::Vault;
use control_api::publish::{RENEW_PATH, Refusal, STREAM_PATH};
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType};
use serde_json::json;
use std::time::Duration;

#[test]
fn a_stream_takes_the_certificate_of_a_known_edge() {
    block_on(async {
        let store = Store::new().await;
        let plane = store.plane(LONG).await;
        let edge = Edge::join(&plane, &store.invite(invitation()).await).await;
        for path in [STREAM_PATH, RENEW_PATH] {
            let answer = plane.call(None, path, &json!({})).await.expect("an answer");
            let (status, reason, message) = answer.refused();
            assert_eq!((status, reason), (401, Refusal::NoCertificate), "{path}");
            assert!(message.contains("--join TOKEN"), "{message}");
        }
        let answer = plane.call(Some(&edge), STREAM_PATH, &json!({})).await.expect("an answer");
        assert_eq!(answer.refused().0, 400, "HTTP/1.1 has no streams");
        // The same authority, but an edge that its store never had.
        let authority = store.authority().await;
        let mut unknown = Edge::new();
        let (id, now) = ("0".repeat(32), now_ms() / 1_000);
        let certified = authority.certify(&id, &unknown.request(), LONG, now).expect("certified");
        unknown.certified = Some(certified);
        let (status, reason, message) = plane.follow(&unknown).await.expect_err("denied").refused();
        assert_eq!((status, reason), (403, Refusal::Unknown), "{message}");
        assert!(message.contains(&id), "{message}");
    });
}

/// A certificate that says that it is of an edge, by an authority that calls itself as it likes.
fn forged(id: &str, authority: &str) -> (Vec<u8>, Vec<u8>) {
    let signer = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, authority);
    params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let issuer = Issuer::new(params, signer);
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::default();
    let uri = format!("weir-edge:{id}").try_into().expect("a name");
    params.subject_alt_names = vec![SanType::URI(uri)];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let made = params.signed_by(&key, &issuer).expect("a certificate");
    (made.der().to_vec(), key.serialize_der())
}

#[test]
fn a_certificate_of_another_authority_gets_nothing() {
    block_on(async {
        let store = Store::new().await;
        let plane = store.plane(LONG).await;
        let edge = Edge::join(&plane, &store.invite(invitation()).await).await;
        let name = store.keeper.state();
        let key = crate::store::Key::new("meta/authority").expect("a key");
        let name = name.get(&key).expect("an authority").value["name"].clone();
        let name = name.as_str().expect("a name").to_owned();
        for authority in ["another", &name] {
            let (der, key) = forged(edge.id(), authority);
            let shown = Some((vec![der.into()], key));
            // In TLS 1.3 a client learns of it with the first octets that it reads.
            let answer = match plane.connect_as(shown, "http/1.1").await {
                Ok(stream) => exchange(stream, RENEW_PATH, "{}").await,
                Err(error) => Err(error),
            };
            let error = answer.expect_err(authority).to_string().to_lowercase();
            assert!(error.contains("unknownca") || error.contains("decrypterror"), "{error}");
        }
        assert!(plane.gate.metrics().contains("weir_edge_handshake_failures_total 2"));
    });
}

#[test]
fn a_certificate_is_for_an_edge_alone() {
    block_on(async {
        let store = Store::new().await;
        let plane = store.plane(LONG).await;
        let token = store.invite(Invitation { uses: None, ..invitation() }).await;
        let edge = Edge::join(&plane, &token).await;
        let der = edge.certificate();
        let (_, read) = <x509_parser::prelude::X509Certificate<'_> as x509_parser::prelude::FromDer<
            '_,
            _,
        >>::from_der(&der)
        .expect("a certificate");
        let usage = read.extended_key_usage().expect("usages").expect("usages").value;
        assert!(usage.client_auth && !usage.server_auth && !usage.any);
        assert!(!read.is_ca());
        let names = read.subject_alternative_name().expect("names").expect("names").value;
        let names: Vec<String> = names.general_names.iter().map(ToString::to_string).collect();
        assert_eq!(names, [format!("URI(weir-edge:{})", edge.id())], "what was asked for is not");
        // The certificate that a control plane shows is no edge's.
        let (shown, key, _) = store
            .authority()
            .await
            .present(&["127.0.0.1".to_owned()], LONG, now_ms() / 1_000)
            .expect("presented");
        let shown = Some((vec![shown], key.secret_pkcs8_der().to_vec()));
        let answer = match plane.connect_as(shown, "http/1.1").await {
            Ok(stream) => exchange(stream, RENEW_PATH, "{}").await,
            Err(error) => Err(error),
        };
        answer.expect_err("a certificate for servers");
    });
}

#[test]
fn a_renewed_certificate_is_taken_and_the_old_one_ends() {
    block_on(async {
        let store = Store::new().await;
        let plane = store.plane(Duration::from_secs(3)).await;
        let mut edge = Edge::join(&plane, &store.invite(invitation()).await).await;
        let (id, old) = (edge.id().to_owned(), edge.certified.clone().expect("certified"));
        let mut stream = plane.follow(&edge).await.expect("a stream");
        stream.next().await.expect("a greeting");
        while now_ms() / 1_000 < old.renew {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        edge.renew(&plane).await.expect("renewed");
        let new = edge.certified.clone().expect("certified");
        assert!(new.edge == id && new.ends > old.ends && new.certificate != old.certificate);
        // The stream that the old certificate opened ends with that certificate.
        stream.closed().await;
        assert!((old.ends..old.ends + SOON.as_secs()).contains(&(now_ms() / 1_000)));
        edge.certified = Some(old);
        let late = match plane.connect(Some(&edge), "http/1.1").await {
            Ok(stream) => exchange(stream, RENEW_PATH, "{}").await,
            Err(error) => Err(error),
        };
        let late = late.expect_err("it has ended").to_string().to_lowercase();
        assert!(late.contains("expired"), "{late}");
    });
}

#[test]
fn all_control_planes_of_a_store_are_one_authority() {
    block_on(async {
        let store = Store::new().await;
        let (one, two) = (store.plane(LONG).await, store.plane(LONG).await);
        let edge = Edge::join(&one, &store.invite(invitation()).await).await;
        let mut stream = two.follow(&edge).await.expect("a stream of the other one");
        assert_eq!(stream.next().await.as_deref(), Some("edge-1 [Proxy]"));
        let other = Vault::open(&store.file("other-keys")).expect("a vault");
        let error = Authority::open(&store.keeper, &other, &who(), now_ms() / 1_000).await;
        let error = error.expect_err("another key file").to_string();
        assert!(error.contains("same `key_file`"), "{error}");
    });
}
