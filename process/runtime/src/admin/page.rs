//! The status page: one file without outside resources, under a policy that lets nothing else run.

use super::exchange::Reply;
use aws_lc_rs::digest;
use std::sync::LazyLock;

const PAGE: &str = include_str!("page.html");

/// The fields of the page's reply. Script and style are allowed by their hashes (CSP level 2), so
/// that whatever else got into the page would not run.
static FIELDS: LazyLock<String> = LazyLock::new(|| {
    format!(
        "Content-Security-Policy: default-src 'none'; script-src '{}'; style-src '{}'; \
         connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n",
        hash_of("script"),
        hash_of("style"),
    )
});

pub(super) fn reply() -> Reply {
    let mut reply = Reply::new(200, "text/html; charset=utf-8", PAGE);
    reply.fields.clone_from(&FIELDS);
    reply
}

fn hash_of(element: &str) -> String {
    let text = inside(element).unwrap_or_default();
    format!("sha256-{}", base64(digest::digest(&digest::SHA256, text.as_bytes()).as_ref()))
}

/// What stands between the tags of the page's only such element.
fn inside(element: &str) -> Option<&'static str> {
    let (_, after) = PAGE.split_once(&format!("<{element}>"))?;
    after.split_once(&format!("</{element}>")).map(|(text, _)| text)
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digit = |index: u32| ALPHABET.get(index as usize & 63).map_or('=', |b| char::from(*b));
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let at = |i: usize| u32::from(chunk.get(i).copied().unwrap_or(0));
        let word = at(0) << 16 | at(1) << 8 | at(2);
        for i in 0..4u32 {
            text.push(if i as usize <= chunk.len() { digit(word >> (18 - 6 * i)) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_rfc_4648() {
        for (plain, coded) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }

    #[test]
    fn the_page_needs_nothing_from_outside() {
        assert_eq!(PAGE.matches("<script>").count(), 1);
        assert_eq!(PAGE.matches("<style>").count(), 1);
        for outside in ["src=", "<link", "@import", "url(", "innerHTML", " style=\"", " onclick"] {
            assert!(!PAGE.contains(outside), "{outside}");
        }
        let mut hosts = PAGE.match_indices("://").map(|(at, _)| &PAGE[..at]);
        assert!(hosts.all(|before| before.ends_with("http")), "an address outside");
        assert_eq!(
            PAGE.matches("http://").count(),
            PAGE.matches("http://www.w3.org/2000/svg").count()
        );
    }
}
