//! How tests write bytes: as in the tables of recipes.

/// The bytes of `text`, in which `⏎` is CRLF, `␊` LF, `␍` CR, `␀` NUL and `␋` VT.
pub(crate) fn wire(text: &str) -> Vec<u8> {
    text.replace('⏎', "\r\n")
        .replace('␊', "\n")
        .replace('␍', "\r")
        .replace('␀', "\0")
        .replace('␋', "\x0b")
        .into_bytes()
}
