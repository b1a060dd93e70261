//! Row 72 of the recipes.

use super::*;
use proptest::prelude::*;

#[track_caller]
fn check(path: &str, expect: Result<&str, Ambiguous>) {
    let mut scratch = b"left over".to_vec();
    let got = normalize(path.as_bytes(), &mut scratch);
    let got = got.map(|path| std::str::from_utf8(path).unwrap());
    assert_eq!(got, expect, "{path:?}");
}

#[test]
fn normal_paths_are_not_copied() {
    for path in ["/", "/a", "/a/b.c/", "/a-b_c~d/e:f@g", "/.well-known/x", "/a./b..", "/..."] {
        let mut scratch = Vec::new();
        let got = normalize(path.as_bytes(), &mut scratch).unwrap();
        assert_eq!(got, path.as_bytes());
        if !path.contains("/.") {
            assert!(std::ptr::eq(got, path.as_bytes()), "{path}");
        }
    }
    check("*", Ok("*"));
}

#[test]
fn row_72_paths_have_one_reading_or_none() {
    check("/a/%2e%2e/admin", Ok("/admin"));
    check("/%41dmin", Ok("/Admin"));
    check("/a;x/../admin", Ok("/admin"));
    check("/a;x/b", Ok("/a;x/b"));
    check("//admin", Ok("/admin"));
    check("/a///b//", Ok("/a/b/"));
    check("/a/./b/.", Ok("/a/b/"));
    check("/a/b/..", Ok("/a/"));
    check("/a/..", Ok("/"));
    check("/a/../", Ok("/"));
    check("/a//../b", Ok("/b"));
    check("/%7e%2D%5f", Ok("/~-_"));
    check("/a%20b%c3%a9", Ok("/a%20b%C3%A9"));
    check("/%25%32%65", Ok("/%252e"));
    check("/a/..%2fadmin", Err(Ambiguous::EncodedSlash));
    check("/a%2Fb", Err(Ambiguous::EncodedSlash));
    check("/%5cadmin", Err(Ambiguous::Backslash));
    check("/a\\..\\b", Err(Ambiguous::Backslash));
    check("/a/..;/admin", Err(Ambiguous::DotParameter));
    check("/a/%2e;x/b", Err(Ambiguous::DotParameter));
    check("/..", Err(Ambiguous::Climbs));
    check("/a/../../b", Err(Ambiguous::Climbs));
    check("/%2e%2e/b", Err(Ambiguous::Climbs));
    check("/a%", Err(Ambiguous::BadEscape));
    check("/a%2", Err(Ambiguous::BadEscape));
    check("/a%zz", Err(Ambiguous::BadEscape));
    check("/a%00", Err(Ambiguous::EncodedControl));
    check("/a%0d%0ab", Err(Ambiguous::EncodedControl));
    check("/a%7F", Err(Ambiguous::EncodedControl));
    check("", Err(Ambiguous::NotRooted));
    check("a", Err(Ambiguous::NotRooted));
}

proptest! {
    /// Rule 9 of docs/security-rows.md: the short way gives what the long one gives.
    #[test]
    fn plain_paths_are_their_own_normal_form(path in "/([a./_;%2eE~A-]{0,10})") {
        let path = path.as_bytes();
        if is_plain(path) {
            let mut long = Vec::new();
            resolve(&decode(path).unwrap(), &mut long).unwrap();
            prop_assert_eq!(long, path);
        }
    }

    #[test]
    fn normal_forms_are_stable_and_plain(path in "/([a./;%2eE5cf\\\\]{0,12})") {
        let mut scratch = Vec::new();
        if let Ok(once) = normalize(path.as_bytes(), &mut scratch) {
            prop_assert_eq!(once.first(), Some(&b'/'));
            for segment in once.split(|&b| b == b'/') {
                prop_assert!(segment != b"." && segment != b"..");
            }
            prop_assert!(!once.windows(2).any(|pair| pair == b"//"));
            let mut again = Vec::new();
            prop_assert_eq!(normalize(once, &mut again), Ok(once));
        }
    }
}
