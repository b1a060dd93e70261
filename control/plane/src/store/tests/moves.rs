//! Files in and out, the lock of the embedded file, and metrics.

use super::support::{Folder, block_on, embedded, key, operator, put};
use crate::store::{Embedded, StoreError, files};
use serde_json::json;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

#[test]
fn every_file_that_is_no_object_is_told_at_once() {
    let folder = Folder::new();
    let write = |name: &str, text: &str| {
        let path = folder.file(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, text).expect("a file");
    };
    write("accounts/1.json", "{}");
    write("accounts/1/pools/a.json", "{\"name\": ");
    write("accounts/Upper.json", "{}");
    write("accounts/readme.txt", "");
    write(".git/config", "");
    std::os::unix::fs::symlink("/etc/passwd", folder.file("link.json")).expect("a link");
    let faults = files::read(&folder.file(".")).expect_err("faults");
    let mut told: Vec<_> = faults.iter().map(ToString::to_string).collect();
    told.sort();
    let has =
        |part: &str| assert!(told.iter().any(|line| line.contains(part)), "{part}: {told:#?}");
    assert_eq!(told.len(), 4, "{told:#?}");
    has("a.json: no JSON: EOF");
    has("Upper.json: `accounts/Upper` is no key");
    has("readme.txt: no object: its name does not end in .json");
    has("link.json: no file of at most");
}

#[test]
fn an_export_goes_into_an_empty_folder_only() {
    block_on(async {
        let (place, folder) = (embedded(), Folder::new());
        let keeper = Arc::new(place.keeper().await);
        put(&keeper, "accounts/1", json!({"b": 1, "a": 2})).await;
        put(&keeper, "accounts/1/pools/x", json!([])).await;
        operator(&keeper).export(&folder.file("out")).await.expect("exported");
        let read = |name: &str| fs::read_to_string(folder.file(name)).expect("a file");
        assert_eq!(read("out/accounts/1.json"), "{\n  \"a\": 2,\n  \"b\": 1\n}\n");
        assert_eq!(read("out/accounts/1/pools/x.json"), "[]\n");
        let again = operator(&keeper).export(&folder.file("out")).await;
        let told = again.expect_err("not empty").to_string();
        assert!(told.ends_with("is not empty; name a folder that is new"), "{told}");
    });
}

#[test]
fn a_file_is_open_in_one_process_and_readable_by_its_owner() {
    block_on(async {
        let folder = Folder::new();
        let path = folder.file("store");
        let first = Embedded::open(&path).await.expect("the store");
        let second = Embedded::open(&path).await;
        assert!(matches!(second, Err(StoreError::Locked { .. })), "{second:?}");
        let told = second.expect_err("locked").to_string();
        assert!(told.contains("another process has it open; ask the control plane"), "{told}");
        assert_eq!(fs::metadata(&path).expect("the file").permissions().mode() & 0o777, 0o600);
        let left = fs::read_dir(folder.file(".")).expect("the folder").count();
        assert_eq!(left, 1, "nothing but the store");
        drop(first);
        Embedded::open(&path).await.expect("the store");
    });
}

#[test]
fn a_file_that_is_no_store_is_refused_and_left_alone() {
    block_on(async {
        let folder = Folder::new();
        let check = async |octets: &[u8]| {
            fs::write(folder.file("x"), octets).expect("a file");
            let told = Embedded::open(&folder.file("x")).await.expect_err("no store");
            assert_eq!(fs::read(folder.file("x")).expect("a file"), octets, "{told}");
        };
        check(b"[control]\naddress = \"127.0.0.1\"\n").await;
        check(&[0; 8192]).await;
        check(b"").await;
    });
}

#[test]
fn metrics_are_those_of_the_document() {
    block_on(async {
        let place = embedded();
        let keeper = place.keeper().await;
        put(&keeper, "a/1", json!(1)).await;
        put(&keeper, "a/2", json!(1)).await;
        let text = keeper.metrics().encode(keeper.state().revision);
        let has = |line: &str| assert!(text.lines().any(|found| found == line), "{line}: {text}");
        has("weir_store_commits_total 2");
        has("weir_store_conflicts_total 0");
        has("weir_store_failures_total 0");
        has("weir_store_commit_seconds_bucket{le=\"+Inf\"} 2");
        has("weir_store_commit_seconds_count 2");
        has("weir_store_revision 2");
        assert!(keeper.state().get(&key("a/2")).is_some());
    });
}
