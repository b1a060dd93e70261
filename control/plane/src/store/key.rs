//! Names of objects: `accounts/ID/pools/ID`. A key that exists is well-formed.

use super::error::KeyError;
use serde::{Deserialize, Serialize};
use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// Bytes of a key. The deepest of the API has six segments of at most 36 bytes.
pub const KEY_BYTES_MAX: usize = 512;

/// The name of an object: segments of `[a-z0-9_-]`, joined by `/`. Clones share the text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Key(Arc<str>);

impl Key {
    /// The key that `text` spells.
    ///
    /// # Errors
    /// When a segment is empty or holds another character, or the whole is longer than
    /// [`KEY_BYTES_MAX`].
    pub fn new(text: &str) -> Result<Self, KeyError> {
        if text.len() > KEY_BYTES_MAX {
            return Err(KeyError::Long { bytes: text.len() });
        }
        let good = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
        if text.split('/').all(|segment| !segment.is_empty() && segment.bytes().all(good)) {
            return Ok(Self(text.into()));
        }
        Err(KeyError::Characters { text: text.to_owned() })
    }

    /// The key of these segments.
    ///
    /// # Errors
    /// As of [`Key::new`].
    pub fn of(segments: &[&str]) -> Result<Self, KeyError> {
        if let Some(bad) = segments.iter().find(|segment| segment.contains('/')) {
            return Err(KeyError::Characters { text: (*bad).to_owned() });
        }
        Self::new(&segments.join("/"))
    }

    /// The whole text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last segment: the id of the object.
    #[must_use]
    pub fn id(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }

    /// Its segments in order.
    pub fn segments(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/')
    }
}

impl Borrow<str> for Key {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Key {
    type Error = KeyError;

    fn try_from(text: String) -> Result<Self, KeyError> {
        Self::new(&text)
    }
}

impl From<Key> for String {
    fn from(key: Key) -> Self {
        key.0.as_ref().to_owned()
    }
}
