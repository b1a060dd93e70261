//! From received bytes to frames: the preface, the header of each frame, which frames may come
//! when, and which file deals with each.

use super::{Connection, Event, Fault, Role, Step};
use crate::h2::frame::{self, END_HEADERS, HEADER_BYTES, Header, Kind, PAYLOAD_MAX};
use crate::h2::section::Section;

/// Capacity that is kept for the blocks that come in more than one frame, in bytes: these are
/// rare, and a large one must not stay.
const BLOCK_KEPT_BYTES_MAX: usize = 4096;

/// A field block over several frames.
#[derive(Debug, Default)]
pub(crate) struct Block {
    /// Its stream; 0 while there is none.
    pub(crate) stream: u32,
    pub(crate) ends: bool,
    pub(crate) bytes: Vec<u8>,
    pub(crate) frames: u32,
}

impl Block {
    pub(crate) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    pub(crate) fn shrink(&mut self) {
        if self.stream == 0 {
            self.bytes = Vec::new();
        }
    }

    /// Ends the block; its bytes go back to [`Block::keep`] once they are decoded.
    fn take(&mut self) -> Vec<u8> {
        self.stream = 0;
        self.frames = 0;
        core::mem::take(&mut self.bytes)
    }

    fn keep(&mut self, mut bytes: Vec<u8>) {
        bytes.clear();
        bytes.shrink_to(BLOCK_KEPT_BYTES_MAX);
        self.bytes = bytes;
    }
}

impl Connection {
    /// Deals with the frames in `bytes` until one brings an event or the rest is no whole frame; a
    /// whole one has at most 16,393 bytes. The head of an [`Event::Head`] is in `section`, whose
    /// content before is lost. Nothing is dealt with while [`Connection::is_choked`].
    ///
    /// Call it again with what was not consumed until a step has neither consumed bytes nor an
    /// event; then call [`Connection::next_writable`] until it is empty.
    ///
    /// # Errors
    /// Where the peer broke a rule for which the connection ends: the GOAWAY is in the output,
    /// every stream is lost, and each further call gives the same fault.
    pub fn receive(
        &mut self,
        bytes: &[u8],
        section: &mut Section,
        tick: u32,
    ) -> Result<Step, Fault> {
        if let Some(fault) = self.dead {
            return Err(fault);
        }
        self.tick = tick;
        self.granted = 0;
        let mut consumed = 0;
        loop {
            if !self.pending.is_empty() {
                return Ok(Step { consumed, event: self.pending.pop_front() });
            }
            let rest = bytes.get(consumed..).unwrap_or_default();
            let (length, event) = self.frame(rest, section).inspect_err(|&fault| {
                self.die(fault);
            })?;
            consumed += length;
            if event.is_some() || length == 0 {
                return Ok(Step { consumed, event });
            }
        }
    }

    /// Deals with the frame at the start of `bytes`; gives its length, 0 where it is not whole.
    fn frame(
        &mut self,
        bytes: &[u8],
        section: &mut Section,
    ) -> Result<(usize, Option<Event>), Fault> {
        if self.is_choked() {
            return Ok((0, None));
        }
        if !self.preface_seen {
            return self.preface(bytes).map(|length| (length, None));
        }
        let Some(header) = Header::parse(bytes) else { return Ok((0, None)) };
        let length = header.length as usize;
        if length > PAYLOAD_MAX {
            return Err(Fault::FrameSize);
        }
        // The first frame is known by its header: no other has to be waited for.
        if !self.settings_seen && (header.kind != Kind::Settings || header.has(frame::ACK)) {
            return Err(Fault::NoSettings);
        }
        let Some(payload) = bytes.get(HEADER_BYTES..HEADER_BYTES + length) else {
            return Ok((0, None));
        };
        self.counters.frames += 1;
        let event = self.dispatch(header, payload, section)?;
        Ok((HEADER_BYTES + length, event))
    }

    fn preface(&mut self, bytes: &[u8]) -> Result<usize, Fault> {
        let there = bytes.len().min(frame::PREFACE.len());
        if bytes.get(..there) != frame::PREFACE.get(..there) {
            return Err(Fault::Preface);
        }
        if there < frame::PREFACE.len() {
            return Ok(0);
        }
        self.preface_seen = true;
        Ok(there)
    }

    fn dispatch(
        &mut self,
        header: Header,
        payload: &[u8],
        section: &mut Section,
    ) -> Result<Option<Event>, Fault> {
        if self.block.stream != 0 && header.kind != Kind::Continuation {
            return Err(Fault::Continuation);
        }
        match header.kind {
            Kind::Data => return self.on_data(header, payload),
            Kind::Headers => return self.on_headers(header, payload, section),
            Kind::Continuation => return self.on_continuation(header, payload, section),
            _ => {}
        }
        self.counters.control += 1;
        match header.kind {
            Kind::WindowUpdate => self.on_window_update(header, payload),
            Kind::Settings => self.on_settings(header, payload),
            Kind::Ping => self.on_ping(header, payload),
            Kind::RstStream => self.on_rst_stream(header, payload),
            Kind::GoAway => self.on_goaway(header, payload),
            Kind::Priority => self.on_priority(header, payload),
            Kind::PriorityUpdate => self.on_priority_update(header, payload),
            Kind::PushPromise => Err(Fault::Push),
            _ => self.charge_control().map(|()| None),
        }
    }

    fn on_headers(
        &mut self,
        header: Header,
        payload: &[u8],
        section: &mut Section,
    ) -> Result<Option<Event>, Fault> {
        // Every stream of ours and of clients is odd; servers could only open some by a push.
        if header.stream.is_multiple_of(2) {
            return Err(Fault::Stream);
        }
        let (content, _) =
            frame::unpad(payload, header.has(frame::PADDED)).ok_or(Fault::Padding)?;
        let block = if header.has(frame::PRIORITY) {
            let on = frame::u31(content).ok_or(Fault::FrameSize)?;
            if on == header.stream {
                return Err(Fault::Dependency);
            }
            content.get(5..).ok_or(Fault::FrameSize)?
        } else {
            content
        };
        let ends = header.has(frame::END_STREAM);
        if header.has(END_HEADERS) {
            return self.on_block(header.stream, ends, block, section);
        }
        self.block.stream = header.stream;
        self.block.ends = ends;
        self.block.bytes.extend_from_slice(block);
        Ok(None)
    }

    fn on_continuation(
        &mut self,
        header: Header,
        payload: &[u8],
        section: &mut Section,
    ) -> Result<Option<Event>, Fault> {
        if self.block.stream == 0 || self.block.stream != header.stream {
            return Err(Fault::Continuation);
        }
        self.block.frames += 1;
        if self.block.frames > self.limits.continuation_frames {
            return Err(Fault::ContinuationFlood);
        }
        if self.block.bytes.len() + payload.len() > self.limits.header_block_bytes {
            return Err(Fault::BlockBytes);
        }
        self.block.bytes.extend_from_slice(payload);
        if !header.has(END_HEADERS) {
            return Ok(None);
        }
        let ends = self.block.ends;
        let block = self.block.take();
        let event = self.on_block(header.stream, ends, &block, section);
        self.block.keep(block);
        event
    }

    /// True for a stream that our role or the peer's could have opened and has not.
    pub(crate) fn is_idle_stream(&self, id: u32) -> bool {
        match self.role {
            Role::Server => id.is_multiple_of(2) || id > self.highest,
            Role::Client => id.is_multiple_of(2) || id > self.sent_id,
        }
    }

    /// Charges a control frame that no traffic accounts for.
    #[inline]
    pub(crate) fn charge_control(&mut self) -> Result<(), Fault> {
        if self.budgets.control(self.tick) { Ok(()) } else { Err(Fault::ControlFlood) }
    }
}
