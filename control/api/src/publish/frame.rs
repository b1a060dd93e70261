//! Messages on a stream: a length of four octets, most significant first, and that much JSON.

use serde::Serialize;
use serde::de::DeserializeOwned;
use std::marker::PhantomData;

/// Bytes of one message: the largest item fits, with what stands around it.
pub const FRAME_BYTES_MAX: usize = 4 << 20;

/// Why a stream of messages cannot be read on. All of them are the sender's fault, and another try
/// helps only with another sender.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// It announced too much.
    #[error("a message of {0} bytes was announced; at most {FRAME_BYTES_MAX} are taken")]
    Long(usize),
    /// It is not a message that is known here.
    #[error("a message that this version does not know: {0}")]
    Unknown(#[from] serde_json::Error),
}

/// A message with its length before it.
///
/// # Errors
/// It is longer than [`FRAME_BYTES_MAX`].
pub fn frame(message: &impl Serialize) -> Result<Vec<u8>, FrameError> {
    let mut octets = vec![0; 4];
    serde_json::to_writer(&mut octets, message)?;
    let length = octets.len() - 4;
    let counted = u32::try_from(length).ok().filter(|_| length <= FRAME_BYTES_MAX);
    let counted = counted.ok_or(FrameError::Long(length))?;
    octets.iter_mut().zip(counted.to_be_bytes()).for_each(|(octet, byte)| *octet = byte);
    Ok(octets)
}

/// Takes messages out of octets as they come.
#[derive(Debug)]
pub struct Frames<M> {
    held: Vec<u8>,
    /// Octets of `held` that were taken already.
    taken: usize,
    message: PhantomData<fn() -> M>,
}

impl<M> Default for Frames<M> {
    fn default() -> Self {
        Self { held: Vec::new(), taken: 0, message: PhantomData }
    }
}

impl<M: DeserializeOwned> Frames<M> {
    /// Takes up octets. What is held is at most one message and what came with its end.
    pub fn push(&mut self, octets: &[u8]) {
        if self.taken > 0 {
            self.held.drain(..self.taken);
            self.taken = 0;
        }
        self.held.extend_from_slice(octets);
    }

    /// Whether nothing is held: a message has ended with the last octet, or none has begun.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.taken == self.held.len()
    }

    /// Octets that are held.
    pub(crate) fn held(&self) -> usize {
        self.held.len() - self.taken
    }

    /// The next message, where all of it is there.
    ///
    /// # Errors
    /// See [`FrameError`]; nothing can be read after one.
    pub fn take(&mut self) -> Result<Option<M>, FrameError> {
        let rest = self.held.get(self.taken..).unwrap_or_default();
        let Some((head, rest)) = rest.split_first_chunk::<4>() else { return Ok(None) };
        let length = usize::try_from(u32::from_be_bytes(*head)).unwrap_or(usize::MAX);
        if length > FRAME_BYTES_MAX {
            return Err(FrameError::Long(length));
        }
        let Some(body) = rest.get(..length) else { return Ok(None) };
        let message = serde_json::from_slice(body)?;
        self.taken += 4 + length;
        if self.taken == self.held.len() {
            // An idle stream holds no buffer.
            self.held = Vec::new();
            self.taken = 0;
        }
        Ok(Some(message))
    }
}
