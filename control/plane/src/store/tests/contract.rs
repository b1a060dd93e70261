//! What every backend keeps. Each function is a test on each of them.

use super::support::{Place, key, operator, put, remove, text, who};
use crate::store::{
    ChangeError, Fault, HISTORY_PAGE_MAX, Keeper, OBJECT_BYTES_MAX, State, StoreError, Who,
};
use crate::store::{Commit, Write};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::sync::Arc;

pub(in crate::store) async fn an_empty_store_is_at_revision_0(place: Place) {
    let keeper = place.keeper().await;
    assert_eq!(keeper.state().revision, 0);
    assert_eq!(keeper.history(0..=u64::MAX).await.expect("history"), []);
    assert_eq!(put(&keeper, "a/1", json!(1)).await, 1);
}

pub(in crate::store) async fn a_commit_is_there_after_opening_again(place: Place) {
    let keeper = place.keeper().await;
    put(&keeper, "a/1", json!({"name": "one"})).await;
    put(&keeper, "a/2", json!([2])).await;
    remove(&keeper, "a/1").await;
    let before = keeper.state().clone();
    drop(keeper);
    let keeper = place.keeper().await;
    assert_eq!(*keeper.state(), before);
    assert_eq!(text(&keeper.state()), "a/2=[2]");
}

fn commit(base: u64, id: u64, at: &str, value: Value) -> Commit {
    let write = Write { key: key(at), before: None, after: Some(Arc::new(value)) };
    Commit { base, id, who: who(), what: "test".to_owned(), at_ms: 0, writes: vec![write] }
}

pub(in crate::store) async fn a_commit_on_an_old_revision_conflicts_and_writes_nothing(
    place: Place,
) {
    let backend = place.backend().await;
    assert_eq!(backend.commit(commit(0, 1, "a/1", json!(1))).await.expect("first"), 1);
    for base in [0, 2, 9] {
        let second = backend.commit(commit(base, 2, "a/2", json!(2))).await;
        let is_conflict = matches!(second, Err(StoreError::Conflict { .. }));
        assert!(is_conflict, "base {base}: {second:?}");
    }
    let state = backend.load().await.expect("objects");
    assert_eq!((state.revision, text(&state).as_str()), (1, "a/1=1"));
    assert_eq!(backend.history(0..=9).await.expect("history").len(), 1);
}

pub(in crate::store) async fn history_has_who_when_what_and_both_values(place: Place) {
    let keeper = place.keeper().await;
    put(&keeper, "a/1", json!(1)).await;
    let who = Who { actor: "token:7".to_owned(), address: Some([192, 0, 2, 7].into()) };
    let changed: Result<_, ChangeError<Infallible>> = keeper
        .change(&who, "PATCH /a/1", 1_234, |draft| {
            draft.put(key("a/1"), json!(2));
            draft.put(key("a/2"), json!(null));
            Ok(())
        })
        .await;
    changed.expect("a change");
    remove(&keeper, "a/1").await;
    let history = keeper.history(2..=3).await.expect("history");
    let [second, third] = &history[..] else { panic!("{history:?}") };
    assert_eq!((second.revision, second.at_ms, &*second.what), (2, 1_234, "PATCH /a/1"));
    assert_eq!(second.who.to_string(), "token:7 from 192.0.2.7");
    let told = |changed: &crate::store::Changed| {
        let side =
            |value: &Option<Arc<Value>>| value.as_ref().map_or("-".into(), |v| v.to_string());
        format!("{} {} {}", changed.key, side(&changed.before), side(&changed.after))
    };
    let lines: Vec<_> = second.changes.iter().chain(&third.changes).map(told).collect();
    assert_eq!(lines, ["a/1 1 2", "a/2 - null", "a/1 2 -"]);
}

pub(in crate::store) async fn history_comes_in_pages(place: Place) {
    let backend = place.backend().await;
    let state = State { revision: 1_500, ..State::default() };
    let record = |revision| commit(revision - 1, revision, "a/1", json!(revision)).record();
    let history: Vec<_> = (1..=1_500).map(record).collect();
    let dump = crate::store::Dump { state, history: history.clone() };
    backend.fill(dump).await.expect("filled");
    let first = backend.history(0..=u64::MAX).await.expect("history");
    assert_eq!(first, history[..HISTORY_PAGE_MAX]);
    let second = backend.history(first.len() as u64 + 1..=u64::MAX).await.expect("history");
    assert_eq!(second, history[HISTORY_PAGE_MAX..]);
    assert_eq!(backend.history(10..=12).await.expect("history"), history[9..12]);
}

pub(in crate::store) async fn large_records_come_in_smaller_pages(place: Place) {
    let keeper = place.keeper().await;
    let mut last = 0;
    for n in 0..20 {
        last = put(&keeper, "a/1", json!([n, "x".repeat(1_000_000)])).await;
    }
    // Each record but the first holds both values: 2 MB.
    let first = keeper.history(1..=last).await.expect("history");
    assert!(first.len() < 20 && first.len() > 10, "{}", first.len());
    let rest = keeper.history(first.len() as u64 + 1..=last).await.expect("history");
    assert_eq!(first.len() + rest.len(), 20);
    assert_eq!(back(&keeper, 1).await.expect("rolled back"), (1, 21));
}

pub(in crate::store) async fn a_change_that_changes_nothing_commits_nothing(place: Place) {
    let keeper = place.keeper().await;
    put(&keeper, "a/1", json!({"x": 1, "y": 2})).await;
    assert_eq!(put(&keeper, "a/1", json!({"y": 2, "x": 1})).await, 1);
    let there_and_back: Result<_, ChangeError<Infallible>> = keeper
        .change(&who(), "back", 0, |draft| {
            let value = draft.get(&key("a/1")).expect("there").value.as_ref().clone();
            draft.remove(&key("a/1"));
            draft.put(key("a/1"), value);
            draft.put(key("a/2"), json!(2));
            draft.remove(&key("a/2"));
            Ok(())
        })
        .await;
    assert_eq!(there_and_back.expect("a change").1, 1);
    assert_eq!(keeper.history(0..=9).await.expect("history").len(), 1);
}

pub(in crate::store) async fn a_failed_edit_leaves_no_trace(place: Place) {
    let keeper = place.keeper().await;
    put(&keeper, "a/1", json!(1)).await;
    let failed: Result<((), _), _> = keeper
        .change(&who(), "fail", 0, |draft| {
            draft.put(key("a/1"), json!(2));
            draft.put(key("a/2"), json!(2));
            assert_eq!(draft.get(&key("a/2")).map(|s| s.created), Some(2));
            Err("no")
        })
        .await;
    assert!(matches!(failed, Err(ChangeError::Edit("no"))));
    assert_eq!(text(&keeper.state()), "a/1=1");
    put(&keeper, "a/3", json!(3)).await;
    assert_eq!(text(&keeper.state()), "a/1=1 a/3=3");
}

pub(in crate::store) async fn an_invalid_state_is_refused_with_its_faults(place: Place) {
    let no_sevens = |state: &State| {
        let sevens = state.objects.iter().filter(|(_, stored)| *stored.value == json!(7));
        let fault = |key: &crate::store::Key| Fault {
            key: key.clone(),
            pointer: Some("/x".to_owned()),
            what: "is 7".to_owned(),
        };
        sevens.map(|(key, _)| fault(key)).collect()
    };
    let keeper = Keeper::open(place.backend().await, no_sevens).await.expect("the keeper");
    let refused: Result<((), _), ChangeError<Infallible>> = keeper
        .change(&who(), "sevens", 0, |draft| {
            draft.put(key("a/1"), json!(7));
            draft.put(key("a/2"), json!(7));
            Ok(())
        })
        .await;
    let told = refused.expect_err("refused").to_string();
    assert_eq!(told, "a/1#/x: is 7; a/2#/x: is 7");
    assert_eq!(keeper.state().revision, 0);
    assert_eq!(put(&keeper, "a/1", json!(8)).await, 1);
}

pub(in crate::store) async fn objects_come_in_the_order_of_creation(place: Place) {
    let keeper = place.keeper().await;
    for at in ["p/z", "p-x/1", "p/m/deep", "p/a", "p0", "p", "q/b"] {
        put(&keeper, at, json!(at)).await;
    }
    put(&keeper, "p/z", json!("again")).await;
    let state = keeper.state();
    let names = |found: Vec<(&crate::store::Key, _)>| {
        found.iter().map(|(key, _)| key.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names(state.under(&key("p"))), ["p/z", "p/m/deep", "p/a"]);
    assert_eq!(names(state.children(&key("p"))), ["p/z", "p/a"]);
    assert_eq!(names(state.under(&key("none"))), [""; 0]);
}

pub(in crate::store) async fn created_stays_and_modified_grows(place: Place) {
    let keeper = place.keeper().await;
    put(&keeper, "a/1", json!(1)).await;
    put(&keeper, "a/2", json!(1)).await;
    put(&keeper, "a/1", json!(2)).await;
    let stamps = |keeper: &Keeper| {
        let state = keeper.state();
        let stored = state.get(&key("a/1")).expect("there");
        (stored.created, stored.modified)
    };
    assert_eq!(stamps(&keeper), (1, 3));
    drop(keeper);
    let keeper = place.keeper().await;
    assert_eq!(stamps(&keeper), (1, 3));
    remove(&keeper, "a/1").await;
    put(&keeper, "a/1", json!(3)).await;
    assert_eq!(stamps(&keeper), (5, 5));
}

pub(in crate::store) async fn a_caller_who_goes_away_leaves_a_whole_commit(place: Place) {
    let keeper = Arc::new(place.keeper().await);
    for round in 0..20_u64 {
        let other = keeper.clone();
        let caller = tokio::spawn(async move { put(&other, "a/1", json!(round)).await });
        // The caller is given up between two of its steps.
        for _ in 0..round {
            tokio::task::yield_now().await;
        }
        caller.abort();
        let _ = caller.await;
    }
    let last = put(&keeper, "a/2", json!(2)).await;
    let history = keeper.history(0..=u64::MAX).await.expect("history");
    assert_eq!(history.len() as u64, last);
    let stored = keeper.backend().load().await.expect("objects");
    assert_eq!(*keeper.state(), stored);
}

pub(in crate::store) async fn revisions_are_told(place: Place) {
    let keeper = place.keeper().await;
    let mut revisions = keeper.revisions();
    put(&keeper, "a/1", json!(1)).await;
    revisions.changed().await.expect("told");
    assert_eq!(*revisions.borrow_and_update(), 1);
    assert_eq!(keeper.metrics().commits.get(), 1);
}

pub(in crate::store) async fn many_changes_at_once_all_get_through(place: Place) {
    let keeper = Arc::new(place.keeper().await);
    let add = |keeper: Arc<Keeper>| async move {
        let added: Result<_, ChangeError<Infallible>> = keeper
            .change(&who(), "add", 0, |draft| {
                let old = draft.get(&key("a/sum")).and_then(|s| s.value.as_u64()).unwrap_or(0);
                draft.put(key("a/sum"), json!(old + 1));
                Ok(())
            })
            .await;
        added.expect("a change")
    };
    let all: Vec<_> = (0..50).map(|_| tokio::spawn(add(keeper.clone()))).collect();
    for one in all {
        one.await.expect("no panic");
    }
    assert_eq!(text(&keeper.state()), "a/sum=50");
    assert_eq!(keeper.state().revision, 50);
}

pub(in crate::store) async fn an_object_too_large_is_refused(place: Place) {
    let keeper = place.keeper().await;
    let large: Result<_, ChangeError<Infallible>> = keeper
        .change(&who(), "large", 0, |draft| {
            draft.put(key("a/1"), json!("x".repeat(OBJECT_BYTES_MAX)));
            Ok(())
        })
        .await;
    assert!(matches!(large, Err(ChangeError::Store(StoreError::TooLarge { .. }))));
    put(&keeper, "a/1", json!("x".repeat(OBJECT_BYTES_MAX - 2))).await;
}

pub(in crate::store) async fn compaction_keeps_the_newest_record(place: Place) {
    let keeper = place.keeper().await;
    for n in 0..9 {
        put(&keeper, "a/1", json!(n)).await;
    }
    let revisions = async |keeper: &Keeper| {
        let history = keeper.history(0..=u64::MAX).await.expect("history");
        history.iter().map(|record| record.revision).collect::<Vec<_>>()
    };
    keeper.compact(7).await.expect("compacted");
    assert_eq!(revisions(&keeper).await, [7, 8, 9]);
    keeper.compact(u64::MAX).await.expect("compacted");
    assert_eq!(revisions(&keeper).await, [9]);
    assert_eq!(put(&keeper, "a/1", json!("on")).await, 10);
    drop(keeper);
    assert_eq!(place.keeper().await.state().revision, 10);
}

async fn back(keeper: &Keeper, to: u64) -> Result<(usize, u64), ChangeError<crate::store::Moved>> {
    keeper.rollback(to, &who(), 9).await
}

pub(in crate::store) async fn rollback_is_a_commit_that_brings_old_objects_back(place: Place) {
    let keeper = place.keeper().await;
    put(&keeper, "a/1", json!(1)).await;
    put(&keeper, "a/2", json!(2)).await;
    let old = text(&keeper.state());
    put(&keeper, "a/1", json!(10)).await;
    put(&keeper, "a/3", json!(3)).await;
    remove(&keeper, "a/2").await;
    assert_eq!(back(&keeper, 2).await.expect("rolled back"), (3, 6));
    assert_eq!(text(&keeper.state()), old);
    assert_eq!(keeper.state().get(&key("a/1")).map(|s| (s.created, s.modified)), Some((1, 6)));
    assert_eq!(keeper.history(0..=9).await.expect("history").len(), 6);
    assert_eq!(back(&keeper, 5).await.expect("rolled back"), (3, 7));
    assert_eq!(text(&keeper.state()), "a/1=10 a/3=3");
    assert_eq!(back(&keeper, 0).await.expect("rolled back"), (2, 8));
    assert_eq!(text(&keeper.state()), "");
    assert_eq!(back(&keeper, 8).await.expect("rolled back"), (0, 8));
}

pub(in crate::store) async fn rollback_leaves_credentials_alone(place: Place) {
    let keeper = place.keeper().await;
    put(&keeper, "tokens/1", json!("hash")).await;
    put(&keeper, "a/1", json!(1)).await;
    remove(&keeper, "tokens/1").await;
    put(&keeper, "accounts/1/tokens/2", json!("new")).await;
    put(&keeper, "edges/1", json!("revoked")).await;
    put(&keeper, "meta/authority", json!("made")).await;
    put(&keeper, "a/1", json!(2)).await;
    back(&keeper, 2).await.expect("rolled back");
    let expect = r#"a/1=1 accounts/1/tokens/2="new" edges/1="revoked" meta/authority="made""#;
    assert_eq!(text(&keeper.state()), expect);
}

pub(in crate::store) async fn rollback_past_the_history_or_the_head_is_refused(place: Place) {
    let keeper = place.keeper().await;
    for n in 0..6 {
        put(&keeper, "a/1", json!(n)).await;
    }
    keeper.compact(4).await.expect("compacted");
    let ahead = back(&keeper, 7).await.expect_err("ahead").to_string();
    assert_eq!(ahead, "revision 7 does not exist: the store is at 6");
    let gone = back(&keeper, 2).await.expect_err("compacted").to_string();
    assert_eq!(gone, "revision 2 cannot be reached: history begins at 4");
    assert_eq!(back(&keeper, 3).await.expect("rolled back"), (1, 7));
    assert_eq!(text(&keeper.state()), "a/1=2");
}

/// A folder of backups, and an embedded store that one is restored into.
async fn restored(file: &std::path::Path) -> Result<(State, usize), StoreError> {
    let other = super::support::embedded();
    let keeper = other.keeper().await;
    keeper.restore(file).await?;
    let history = keeper.history(0..=u64::MAX).await?.len();
    let state = keeper.state().clone();
    assert_eq!(put(&keeper, "b/1", json!(1)).await, state.revision + 1);
    Ok((state, history))
}

pub(in crate::store) async fn a_backup_restores_objects_and_history(place: Place) {
    let folder = super::support::Folder::new();
    let keeper = Arc::new(place.keeper().await);
    put(&keeper, "a/1", json!({"name": "one"})).await;
    put(&keeper, "a/2", json!(2)).await;
    remove(&keeper, "a/2").await;
    let file = folder.file("backup");
    assert_eq!(operator(&keeper).backup(&file).await.expect("written"), 3);
    assert_eq!(restored(&file).await.expect("restored"), (keeper.state().clone(), 3));
    let again = operator(&keeper).backup(&file).await.expect_err("there already").to_string();
    assert!(again.contains("backup: write: entity already exists"), "{again}");
    let bytes = std::fs::read(&file).expect("the backup");
    // Cut off anywhere, or with one octet changed, it is none.
    for at in (0..bytes.len()).step_by(37) {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        for wrong in [&bytes[..at], &changed] {
            std::fs::write(folder.file("wrong"), wrong).expect("a file");
            let told = restored(&folder.file("wrong")).await;
            assert!(matches!(told, Err(StoreError::File { .. })), "octet {at}: {told:?}");
        }
    }
}

pub(in crate::store) async fn a_restore_into_a_store_that_holds_something_is_refused(place: Place) {
    let folder = super::support::Folder::new();
    let keeper = Arc::new(place.keeper().await);
    put(&keeper, "a/1", json!(1)).await;
    operator(&keeper).backup(&folder.file("backup")).await.expect("written");
    put(&keeper, "a/1", json!(2)).await;
    let refused = keeper.restore(&folder.file("backup")).await;
    assert!(matches!(refused, Err(StoreError::NotEmpty { head: 2, .. })), "{refused:?}");
    assert_eq!(text(&keeper.state()), "a/1=2");
}

pub(in crate::store) async fn an_import_makes_one_commit_of_many_files(place: Place) {
    let folder = super::support::Folder::new();
    let keeper = Arc::new(place.keeper().await);
    put(&keeper, "accounts/1", json!({"name": "one"})).await;
    put(&keeper, "accounts/1/pools/a", json!({"name": "a"})).await;
    put(&keeper, "tokens/1", json!("hash")).await;
    let state = keeper.state().clone();
    let exported = operator(&keeper).export(&folder.file("out")).await;
    assert_eq!(exported.expect("exported"), 2);
    put(&keeper, "accounts/1/pools/a", json!({"name": "b"})).await;
    put(&keeper, "accounts/1/pools/c", json!({"name": "c"})).await;
    let objects = crate::store::files::read(&folder.file("out")).expect("read");
    let who = Who { actor: "import".to_owned(), address: None };
    let kept = keeper.import(&objects, false, &who, 0).await.expect("imported");
    assert_eq!(kept, (1, 6));
    let pruned = keeper.import(&objects, true, &who, 0).await.expect("imported");
    assert_eq!(pruned, (1, 7));
    assert_eq!(text(&keeper.state()), text(&state));
}

pub(in crate::store) async fn a_commit_of_thousands_of_objects_is_whole(place: Place) {
    let keeper = place.keeper().await;
    put(&keeper, "a/0001", json!("old")).await;
    let objects = (1..=2_000).map(|n| (key(&format!("a/{n:04}")), json!("x".repeat(n))));
    let objects = objects.collect();
    let done = keeper.import(&objects, false, &who(), 0).await.expect("imported");
    assert_eq!(done, (2_000, 2));
    let state = keeper.state().clone();
    drop(keeper);
    let keeper = place.keeper().await;
    assert_eq!(*keeper.state(), state);
    assert_eq!(state.get(&key("a/0001")).map(|s| (s.created, s.modified)), Some((1, 2)));
    let history = keeper.history(2..=2).await.expect("history");
    assert_eq!(history.first().map(|record| record.changes.len()), Some(2_000));
    assert_eq!(back(&keeper, 1).await.expect("rolled back"), (2_000, 3));
    assert_eq!(text(&keeper.state()), r#"a/0001="old""#);
}
