//! The store on a real etcd: the contract, several writers, and members that fail.

mod lossy;
mod rig;

use super::super::Backend;
use super::super::backend::Dump;
use super::{Etcd, EtcdOptions, Head};
use crate::store::tests::contract_on;
use crate::store::tests::support::{Folder, block_on, key, put, text, who};
use crate::store::{ChangeError, Commit, Keeper, Record, State, StoreError, Write};
use lossy::Lossy;
use rig::Cluster;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

async fn keeper(options: &EtcdOptions) -> Keeper {
    let backend = Backend::Etcd(Etcd::new(options).expect("options"));
    Keeper::open(backend, |_| Vec::new()).await.expect("the keeper")
}

/// Waits until a keeper has a revision.
async fn reaches(keeper: &Keeper, revision: u64) {
    let mut revisions = keeper.revisions();
    let reached = revisions.wait_for(|at| *at >= revision);
    tokio::time::timeout(Duration::from_secs(20), reached).await.expect("in time").expect("told");
}

async fn add(keeper: &Keeper) -> Result<u64, ChangeError<Infallible>> {
    let by = who();
    let added = keeper.change(&by, "add", 0, |draft| {
        let old = draft.get(&key("a/sum")).and_then(|s| s.value.as_u64()).unwrap_or(0);
        draft.put(key("a/sum"), json!(old + 1));
        Ok(())
    });
    added.await.map(|(_, revision)| revision)
}

#[test]
fn the_contract_holds_on_etcd() {
    let cluster = block_on(Cluster::start(1, &[]));
    contract_on(&cluster.options());
}

#[test]
fn two_keepers_lose_no_change_of_each_other() {
    block_on(async {
        let cluster = Cluster::start(1, &[]).await;
        let (one, two) = (keeper(&cluster.options()).await, keeper(&cluster.options()).await);
        put(&one, "a/1", json!(1)).await;
        reaches(&two, 1).await;
        assert_eq!(text(&two.state()), "a/1=1");
        let many = async |keeper: &Keeper| {
            let mut done = 0;
            while done < 40 {
                match add(keeper).await {
                    Ok(_) => done += 1,
                    Err(ChangeError::Contended { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        };
        tokio::join!(many(&one), many(&two));
        let head = one.state().revision.max(two.state().revision);
        assert_eq!(head, 81);
        reaches(&one, head).await;
        reaches(&two, head).await;
        assert_eq!(text(&one.state()), "a/1=1 a/sum=80");
        assert_eq!(*one.state(), *two.state());
        let conflicts = one.metrics().conflicts.get() + two.metrics().conflicts.get();
        assert!(conflicts > 0, "they met");
    });
}

#[test]
fn a_member_and_then_the_leader_are_lost_and_nothing_else() {
    block_on(async {
        let mut cluster = Cluster::start(3, &[]).await;
        let keeper = keeper(&cluster.options()).await;
        let mut acknowledged = add(&keeper).await.expect("a change");
        let follower = (cluster.leader().await + 1) % cluster.members();
        cluster.kill(follower);
        for _ in 0..10 {
            acknowledged = add(&keeper).await.expect("a change without one member");
        }
        cluster.run(follower);
        cluster.ready(&cluster.options()).await;
        let leader = cluster.leader().await;
        cluster.kill(leader);
        for _ in 0..10 {
            acknowledged = add(&keeper).await.expect("a change after the election");
        }
        assert_eq!(acknowledged, 21);
        assert_eq!(text(&keeper.state()), "a/sum=21");
        let other = (leader + 1) % cluster.members();
        cluster.kill(other);
        let refused = add(&keeper).await.expect_err("no majority");
        let told = refused.to_string();
        assert!(matches!(refused, ChangeError::Store(StoreError::Unavailable { .. })), "{told}");
        assert!(told.contains("the change may or may not have been made"), "{told}");
        assert_eq!(text(&keeper.state()), "a/sum=21", "reads go on");
        cluster.run(leader);
        cluster.run(other);
        cluster.ready(&cluster.options()).await;
        let last = add(&keeper).await.expect("a change with all members");
        // The one without an answer was made or not; in both cases it is counted once.
        assert_eq!(text(&keeper.state()), format!("a/sum={last}"));
        let fresh = self::keeper(&cluster.options()).await;
        assert_eq!(*fresh.state(), *keeper.state());
    });
}

#[test]
fn a_change_whose_answer_is_lost_is_made_once() {
    block_on(async {
        let cluster = Cluster::start(1, &[]).await;
        let whole = cluster.options();
        let upstream = whole.endpoints[0].trim_start_matches("http://").to_owned();
        let lossy = Lossy::before(upstream).await;
        let endpoints = vec![lossy.endpoint.clone()];
        let keeper = keeper(&EtcdOptions { endpoints, ..whole.clone() }).await;
        let writer = self::keeper(&whole).await;
        for round in 1..=5 {
            lossy.lose(1);
            assert_eq!(add(&keeper).await.expect("a change"), round);
            assert_eq!(lossy.left(), 0, "an answer was lost");
        }
        assert_eq!(text(&keeper.state()), "a/sum=5");
        assert_eq!(keeper.metrics().commits.get(), 5);
        // Another one commits first, and that answer is lost: the change is made on top of it.
        reaches(&writer, 5).await;
        put(&writer, "a/1", json!(1)).await;
        lossy.lose(1);
        assert_eq!(add(&keeper).await.expect("a change"), 7);
        assert_eq!(text(&keeper.state()), "a/1=1 a/sum=6");
    });
}

#[test]
fn a_full_etcd_refuses_changes_and_goes_on_when_there_is_room() {
    block_on(async {
        let cluster = Cluster::start(1, &["--quota-backend-bytes", "4000000"]).await;
        let keeper = keeper(&cluster.options()).await;
        let mut done = 0;
        let refused = loop {
            let large: Result<_, ChangeError<Infallible>> = keeper
                .change(&who(), "large", 0, |draft| {
                    draft.put(key("a/1"), json!([done, "x".repeat(300_000)]));
                    Ok(())
                })
                .await;
            match large {
                Ok((_, revision)) => done = revision,
                Err(error) => break error,
            }
            assert!(done < 100, "the quota is never met");
        };
        let told = refused.to_string();
        assert!(matches!(refused, ChangeError::Store(StoreError::Full { .. })), "{told}");
        assert!(told.contains("raise its quota"), "{told}");
        assert_eq!(keeper.state().revision, done);
        let fresh = self::keeper(&cluster.options()).await;
        assert_eq!(*fresh.state(), *keeper.state());
        // What an operator does: forget old revisions, defragment, disarm.
        keeper.compact(done).await.expect("compacted");
        let status = cluster.ask(0, "/v3/maintenance/status", &json!({})).await;
        let revision = status["header"]["revision"].clone();
        let compact = json!({"revision": revision, "physical": true});
        cluster.ask(0, "/v3/kv/compaction", &compact).await;
        cluster.ask(0, "/v3/maintenance/defragment", &json!({})).await;
        let member = status["header"]["member_id"].clone();
        let disarm = json!({"action": "DEACTIVATE", "alarm": "NOSPACE", "memberID": member});
        cluster.ask(0, "/v3/maintenance/alarm", &disarm).await;
        assert_eq!(put(&keeper, "a/2", json!(2)).await, done + 1);
    });
}

#[test]
fn a_wrong_password_is_told_and_a_right_one_works() {
    block_on(async {
        let cluster = Cluster::start(1, &["--auth-token", "simple"]).await;
        let (key, range_end) = (super::coded("/weir/"), super::coded("/weir0"));
        let permission = json!({"permType": "READWRITE", "key": key, "range_end": range_end});
        let calls = [
            ("/v3/auth/user/add", json!({"name": "root", "password": "r"})),
            ("/v3/auth/role/add", json!({"name": "root"})),
            ("/v3/auth/user/grant", json!({"user": "root", "role": "root"})),
            ("/v3/auth/user/add", json!({"name": "other", "password": "o"})),
            ("/v3/auth/role/add", json!({"name": "weir"})),
            ("/v3/auth/role/grant", json!({"name": "weir", "perm": permission})),
            ("/v3/auth/user/add", json!({"name": "weir", "password": "w"})),
            ("/v3/auth/user/grant", json!({"user": "weir", "role": "weir"})),
            ("/v3/auth/enable", json!({})),
        ];
        for (path, request) in calls {
            cluster.ask(0, path, &request).await;
        }
        let folder = Folder::new();
        let open = async |user: Option<&str>, password: &str| {
            let file = folder.file("password");
            std::fs::write(&file, password).expect("a file");
            let user = user.map(str::to_owned);
            let options = EtcdOptions { user, password_file: Some(file), ..cluster.options() };
            let backend = Backend::Etcd(Etcd::new(&options).expect("options"));
            Keeper::open(backend, |_| Vec::new()).await
        };
        let check = async |user: Option<&str>, password: &str, told: &str| {
            let refused = open(user, password).await.expect_err("refused");
            assert!(matches!(refused, StoreError::Denied { .. }), "{refused:?}");
            assert!(refused.to_string().contains(told), "{refused}");
        };
        check(Some("root"), "wrong", "invalid user ID or password").await;
        check(Some("nobody"), "r", "invalid user ID or password").await;
        check(None, "", "user name is empty").await;
        check(Some("other"), "o", "permission denied").await;
        // One who may use the prefix and nothing else.
        let keeper = open(Some("weir"), "w\n").await.expect("the keeper");
        assert_eq!(put(&keeper, "a/1", json!(1)).await, 1);
        // Tokens end: at a restart of the member, for one.
        let mut cluster = cluster;
        cluster.kill(0);
        cluster.run(0);
        assert_eq!(put(&keeper, "a/1", json!(2)).await, 2);
    });
}

/// Certificates of one authority: of the members and of the store.
fn certificates(folder: &Folder, address: &str) {
    let name = |text: &str| {
        let mut params = rcgen::CertificateParams::new(vec![text.to_owned()]).expect("a name");
        params.distinguished_name.push(rcgen::DnType::CommonName, text);
        params
    };
    let authority_key = rcgen::KeyPair::generate().expect("a key");
    let mut params = name("authority");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority = params.self_signed(&authority_key).expect("a certificate");
    let issuer = rcgen::Issuer::from_params(&params, &authority_key);
    let write = |file: &str, text: String| std::fs::write(folder.file(file), text).expect("a file");
    write("ca.pem", authority.pem());
    for (file, host) in [("member", address), ("store", "store.test")] {
        let key = rcgen::KeyPair::generate().expect("a key");
        let params = name(host);
        let signed = params.signed_by(&key, &issuer).expect("a certificate");
        write(&format!("{file}.pem"), signed.pem());
        write(&format!("{file}.key"), key.serialize_pem());
    }
}

#[test]
fn tls_with_certificates_of_both_sides() {
    block_on(async {
        let folder = Folder::new();
        let address = rig::address();
        certificates(&folder, &address);
        let path = |name: &str| folder.file(name);
        let flags = [
            ("--cert-file", "member.pem"),
            ("--key-file", "member.key"),
            ("--trusted-ca-file", "ca.pem"),
        ];
        let flags = flags.map(|(flag, file)| format!("{flag}={}", path(file).display()));
        let mut extra: Vec<&str> = flags.iter().map(String::as_str).collect();
        extra.push("--client-cert-auth");
        let cluster = Cluster::launch(vec![address], "https", &extra);
        let whole = EtcdOptions {
            ca: Some(path("ca.pem")),
            cert: Some(path("store.pem")),
            key: Some(path("store.key")),
            ..cluster.options()
        };
        cluster.ready(&whole).await;
        assert_eq!(put(&keeper(&whole).await, "a/1", json!(1)).await, 1);
        let refused = async |options: EtcdOptions, told: &str| {
            let etcd = Etcd::new(&options).expect("options");
            let error = etcd.load().await.expect_err("refused").to_string();
            assert!(error.contains(told), "{error}");
        };
        refused(EtcdOptions { ca: None, ..whole.clone() }, "UnknownIssuer").await;
        let bare = EtcdOptions { cert: None, key: None, ..whole.clone() };
        refused(bare, "received fatal alert: ").await;
        let half = Etcd::new(&EtcdOptions { key: None, ..whole.clone() });
        let told = half.expect_err("half").to_string();
        assert!(told.contains("cert and key belong together"), "{told}");
    });
}

fn large(base: u64, id: u64) -> Commit {
    let write = |n: usize| Write {
        key: key(&format!("a/{n:03}")),
        before: None,
        after: Some(Arc::new(json!("x".repeat(n)))),
    };
    let writes = (0..300).map(write).collect();
    Commit { base, id, who: who(), what: "large".to_owned(), at_ms: 0, writes }
}

/// Commits in parts and ends before the objects are written, as a process does that dies there.
async fn die_half_way(etcd: &Etcd, commit: &Commit) -> Record {
    let found = etcd.head().await.expect("head");
    let record = commit.record();
    let octets = serde_json::to_vec(&record).expect("JSON");
    let parts = etcd.write_parts(&record, &octets).await.expect("parts");
    let entry = serde_json::to_vec(&super::Entry::Parts { parts: parts.clone() }).expect("JSON");
    let writes = vec![etcd.put(&super::history(record.revision), &entry)];
    let head = Head { revision: record.revision, pending: Some(parts) };
    etcd.advance(&found, &head, writes).await.expect("committed");
    record
}

#[test]
fn a_writer_that_dies_within_a_large_commit_leaves_all_of_it() {
    block_on(async {
        let cluster = Cluster::start(1, &[]).await;
        let etcd = Etcd::new(&cluster.options()).expect("options");
        // One dies before the commit stands: nothing of it is there.
        let record = large(0, 1).record();
        let octets = serde_json::to_vec(&record).expect("JSON");
        etcd.write_parts(&record, &octets).await.expect("parts");
        assert_eq!(etcd.load().await.expect("objects"), State::default());
        let record = die_half_way(&etcd, &large(0, 2)).await;
        let reader = keeper(&cluster.options()).await;
        assert_eq!((reader.state().revision, reader.state().objects.len()), (1, 300));
        assert_eq!(reader.history(1..=1).await.expect("history"), [record]);
        assert!(etcd.one("objects/a/007").await.expect("asked").is_none(), "not written yet");
        put(&reader, "a/300", json!("next")).await;
        assert!(etcd.one("objects/a/007").await.expect("asked").is_some());
        let fresh = keeper(&cluster.options()).await;
        assert_eq!(*fresh.state(), *reader.state());
        assert_eq!(fresh.state().objects.len(), 301);
        // The parts go when their record is forgotten, and those of the dead writer with them.
        let parts = async || {
            let (from, end) = etcd.folder("parts");
            etcd.range(&from, &end, 9, 0).await.expect("asked").len()
        };
        assert_eq!(parts().await, 2);
        fresh.compact(2).await.expect("compacted");
        assert_eq!(parts().await, 0);
    });
}

#[test]
fn an_etcd_that_was_emptied_and_filled_again_is_read_anew() {
    block_on(async {
        let cluster = Cluster::start(1, &[]).await;
        let follower = keeper(&cluster.options()).await;
        for n in 0..5 {
            put(&follower, "a/1", json!(n)).await;
        }
        let all = json!({"key": "AA==", "range_end": "AA=="});
        cluster.ask(0, "/v3/kv/deleterange", &all).await;
        let etcd = Etcd::new(&cluster.options()).expect("options");
        let history: Vec<_> = (1..=7).map(|n| large(n - 1, 100 + n).record()).collect();
        let mut state = State::default();
        history.iter().for_each(|record| state.apply(record));
        etcd.fill(Dump { state, history }).await.expect("filled");
        reaches(&follower, 7).await;
        assert_eq!(*follower.state(), etcd.load().await.expect("objects"));
    });
}

#[test]
fn endpoints_are_schemes_with_host_and_port() {
    let check = |text: &str, good: bool| {
        let options = EtcdOptions { endpoints: vec![text.to_owned()], ..EtcdOptions::default() };
        assert_eq!(Etcd::new(&options).is_ok(), good, "{text}");
    };
    check("http://127.0.0.1:2379", true);
    check("https://[::1]:2379/", true);
    check("https://etcd.test:2379", true);
    check("etcd.test:2379", false);
    check("ftp://etcd.test:2379", false);
    check("http://etcd.test", false);
    check("http://user@etcd.test:1", false);
    check("http://:2379", false);
    check("http://etcd.test:2379/path", false);
    let none = Etcd::new(&EtcdOptions::default()).expect_err("none").to_string();
    assert_eq!(none, "etcd: name at least one endpoint");
}

#[test]
fn numbers_of_the_json_form_are_text_or_absent() {
    let check = |value: Value, expect| assert_eq!(super::number(&value, "n"), expect);
    check(json!({"n": "12"}), 12);
    check(json!({"n": 12}), 12);
    check(json!({}), 0);
    check(json!({"n": "x"}), 0);
}
