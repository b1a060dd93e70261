//! Secrets: what opens, and what does not.

use super::support::{Folder, key};
use crate::store::{Changed, Vault, differences, is_sealed, redacted};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

#[test]
fn a_secret_opens_for_its_object_only() {
    let folder = Folder::new();
    let vault = Vault::open(&folder.file("keys")).expect("a vault");
    let webhook = key("accounts/1/webhooks/1");
    let sealed = vault.seal(&webhook, "hush").expect("sealed");
    assert!(is_sealed(&sealed) && !sealed.to_string().contains("hush"));
    assert_ne!(sealed, vault.seal(&webhook, "hush").expect("sealed"), "a nonce of its own");
    let again = Vault::open(&folder.file("keys")).expect("a vault");
    assert_eq!(again.open_sealed(&webhook, &sealed).expect("opened"), "hush");
    assert!(again.open_sealed(&key("accounts/2/webhooks/1"), &sealed).is_err());
    let text = sealed["$secret"].as_str().expect("text");
    let octets = STANDARD.decode(text).expect("base64");
    for at in 0..octets.len() {
        let mut changed = octets.clone();
        changed[at] ^= 1;
        let changed = json!({"$secret": STANDARD.encode(changed)});
        assert!(again.open_sealed(&webhook, &changed).is_err(), "octet {at}");
        let short = json!({"$secret": STANDARD.encode(&octets[..at])});
        assert!(again.open_sealed(&webhook, &short).is_err(), "cut at {at}");
    }
}

#[test]
fn a_new_first_line_seals_and_old_lines_open() {
    let folder = Folder::new();
    let (path, at) = (folder.file("keys"), key("a/1"));
    let old = Vault::open(&path).expect("a vault").seal(&at, "old").expect("sealed");
    let first = std::fs::read_to_string(&path).expect("keys");
    let new = STANDARD.encode([7; 32]);
    std::fs::write(&path, format!("{new}\n{first}")).expect("written");
    let both = Vault::open(&path).expect("a vault");
    let sealed = both.seal(&at, "new").expect("sealed");
    assert_eq!(both.open_sealed(&at, &old).expect("opened"), "old");
    std::fs::write(&path, &new).expect("written");
    let only = Vault::open(&path).expect("a vault");
    assert_eq!(only.open_sealed(&at, &sealed).expect("opened"), "new");
    let missing = only.open_sealed(&at, &old).expect_err("its key is gone").to_string();
    assert!(missing.contains("its key is not in the file of keys"), "{missing}");
}

#[test]
fn a_file_of_keys_is_for_its_owner_only() {
    let folder = Folder::new();
    let path = folder.file("keys");
    Vault::open(&path).expect("a vault");
    let mode = |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode));
    let found = std::fs::metadata(&path).expect("keys").permissions().mode() & 0o777;
    assert_eq!(found, 0o600);
    mode(0o640).expect("mode");
    let refused = Vault::open(&path).expect_err("readable").to_string();
    assert!(refused.ends_with("mode 640: others may read the keys; chmod 600"), "{refused}");
    mode(0o600).expect("mode");
    let check = |text: &str, told: &str| {
        std::fs::write(&path, text).expect("written");
        let refused = Vault::open(&path).expect_err(text).to_string();
        assert!(refused.contains(told), "{refused}");
    };
    check("", "holds no key");
    check("short", "line 1: not 32 octets in base64");
    check(&format!("{}\n\n{}", STANDARD.encode([1; 32]), STANDARD.encode([1; 31])), "line 3");
    check(&format!("{}\n", STANDARD.encode([1; 32])).repeat(17), "17 keys");
}

#[test]
fn people_do_not_see_secrets() {
    let sealed = json!({"$secret": "AAAA"});
    let object = json!({"name": "x", "list": [sealed], "inner": {"secret": sealed}});
    let shown = json!({"name": "x", "list": ["(secret)"], "inner": {"secret": "(secret)"}});
    assert_eq!(redacted(&object), shown);
    let changed = |before, after| Changed {
        key: key("a/1"),
        before: Some(Arc::new(before)),
        after: Some(Arc::new(after)),
    };
    let check = |before, after, expect: &[&str]| {
        let lines = differences(&[changed(before, after)]);
        assert_eq!(lines.iter().map(ToString::to_string).collect::<Vec<_>>(), expect);
    };
    let other = json!({"$secret": "BBBB"});
    check(json!({"s": sealed}), json!({"s": other}), &[r#"~ a/1#/s: "(secret)" -> "(secret)""#]);
    check(json!({"s": sealed}), json!({}), &[r#"- a/1#/s: "(secret)""#]);
    check(json!({"s": "open"}), json!({"s": sealed}), &[r#"~ a/1#/s: "open" -> "(secret)""#]);
    check(
        json!({"a/b": {"c~d": [1]}}),
        json!({"a/b": {"c~d": [2], "e": null}}),
        &["~ a/1#/a~1b/c~0d: [1] -> [2]", "+ a/1#/a~1b/e: null"],
    );
}
