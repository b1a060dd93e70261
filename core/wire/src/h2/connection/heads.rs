//! Field blocks that came: requests, replies and trailers, and which stream each belongs to.

use super::closed::Past;
use super::streams::Remote;
use super::{Connection, Event, Fault, Role, StreamKey};
use crate::h1::head::Known;
use crate::h2::flow::{RecvWindow, SendWindow};
use crate::h2::frame::{ErrorCode, Kind};
use crate::h2::hpack::HpackError;
use crate::h2::message;
use crate::h2::priority::Priority;
use crate::h2::section::Section;

/// Control frames that a message accounts for: a priority, and a window for it and the connection.
const EARNED_BY_MESSAGE: u32 = 3;

/// What a field block is.
enum Place {
    /// The request of a stream that opens with it.
    New,
    /// A head or trailers of a stream in the table.
    Known(StreamKey),
    /// Of a stream that is over: decoded, so that the tables stay alike, and dropped.
    Dropped,
}

impl Connection {
    /// Decodes a whole field block and gives it to its stream.
    pub(crate) fn on_block(
        &mut self,
        id: u32,
        ends: bool,
        block: &[u8],
        section: &mut Section,
    ) -> Result<Option<Event>, Fault> {
        let place = self.place(id)?;
        let is_trailers = matches!(place, Place::Known(key) if self.awaits_trailers(key));
        let limits = if is_trailers { self.limits.trailers } else { self.limits.section };
        section.clear();
        self.decoder.decode(block, &limits, section).map_err(|error| match error {
            HpackError::Flood => Fault::SectionFlood,
            _ => Fault::Compression,
        })?;
        match place {
            Place::New => self.on_request(id, ends, section),
            Place::Known(key) if is_trailers => self.on_trailers(key, ends, section),
            Place::Known(key) => self.on_reply(key, ends, section),
            Place::Dropped => {
                section.clear();
                self.charge_control().map(|()| None)
            }
        }
    }

    fn awaits_trailers(&self, key: StreamKey) -> bool {
        self.streams.get(key).is_some_and(|stream| stream.remote == Remote::Body)
    }

    fn place(&self, id: u32) -> Result<Place, Fault> {
        if let Some(key) = self.streams.find(id) {
            let Some(stream) = self.streams.get(key) else { return Ok(Place::Dropped) };
            return match (stream.remote, stream.is_alive()) {
                (remote, _) if remote.is_over() => Err(Fault::Closed),
                (_, true) => Ok(Place::Known(key)),
                (_, false) => Ok(Place::Dropped),
            };
        }
        if self.is_idle_stream(id) {
            return match self.role {
                Role::Server => Ok(Place::New),
                Role::Client => Err(Fault::Idle),
            };
        }
        if self.ignores(id) {
            return Ok(Place::Dropped);
        }
        match self.closed.past(id) {
            Past::Cut => Ok(Place::Dropped),
            Past::Ended => Err(Fault::Closed),
            // An identifier below the highest that was never used (RFC 9113 §5.1.1).
            Past::Unknown => Err(Fault::Order),
        }
    }

    fn on_request(
        &mut self,
        id: u32,
        ends: bool,
        section: &mut Section,
    ) -> Result<Option<Event>, Fault> {
        self.highest = id;
        let early = self.early.take(id);
        if self.ignores(id) {
            section.clear();
            return self.charge_control().map(|()| None);
        }
        let memory = section.memory();
        let open = self.streams.len();
        let extra = memory + self.unowned();
        let full =
            self.live >= self.limits.max_concurrent_streams || open >= self.limits.running_max();
        if full || !self.ledger.fits(extra, open + 1) {
            section.clear();
            let counted = &mut self.counters;
            let refused =
                if full { &mut counted.refused_full } else { &mut counted.refused_memory };
            *refused += 1;
            return self.refuse(id);
        }
        let key = self.admit(id);
        self.last_accepted = id;
        if let Some(stream) = self.streams.get_mut(key) {
            stream.remote = if ends { Remote::Ended } else { Remote::Body };
            stream.head = memory;
        }
        if let Some(priority) = early.or_else(|| priority_of(section)) {
            self.set_priority(key, priority);
        }
        self.ledger.add(memory);
        self.budgets.earn(EARNED_BY_MESSAGE);
        if self.accepted >= self.limits.requests_max {
            self.shut_down();
        }
        Ok(Some(Event::Head { stream: key, ends }))
    }

    /// Puts a stream into the table and counts it.
    pub(crate) fn admit(&mut self, id: u32) -> StreamKey {
        let key = self.streams.insert(id);
        if let Some(stream) = self.streams.get_mut(key) {
            stream.send = SendWindow::new(self.peer.initial_window);
            stream.recv = RecvWindow::new(self.stream_window);
            stream.urgency = Priority::default().urgency;
            self.ledger.add(stream.held());
        }
        self.live += 1;
        self.accepted += 1;
        key
    }

    fn refuse(&mut self, id: u32) -> Result<Option<Event>, Fault> {
        self.closed.cut(id);
        self.out.reply(Kind::RstStream, 0, id, &ErrorCode::REFUSED_STREAM.0.to_be_bytes());
        if self.budgets.reset(self.tick) { Ok(None) } else { Err(Fault::ResetFlood) }
    }

    fn on_reply(
        &mut self,
        key: StreamKey,
        ends: bool,
        section: &mut Section,
    ) -> Result<Option<Event>, Fault> {
        let status = section.pseudo.status.map(|span| span.get(&section.bytes));
        let interim = matches!(status, Some([b'1', _, _]));
        if interim {
            self.charge_control()?;
            if ends {
                section.clear();
                return self.stream_error(key, ErrorCode::PROTOCOL_ERROR);
            }
        }
        let memory = section.memory();
        if self.ledger.is_spent(memory + self.unowned()) {
            return Err(Fault::Memory);
        }
        let Some(stream) = self.streams.get_mut(key) else { return Ok(None) };
        let before = core::mem::replace(&mut stream.head, memory);
        self.ledger.change(before, memory);
        if !interim {
            stream.remote = if ends { Remote::Ended } else { Remote::Body };
            self.budgets.earn(EARNED_BY_MESSAGE);
        }
        if ends {
            self.settle(key);
        }
        Ok(Some(Event::Head { stream: key, ends }))
    }

    fn on_trailers(
        &mut self,
        key: StreamKey,
        ends: bool,
        section: &mut Section,
    ) -> Result<Option<Event>, Fault> {
        let Some(stream) = self.streams.get_mut(key) else { return Ok(None) };
        let before = stream.held();
        let lines = &mut stream.trailers;
        lines.clear();
        let sound = ends && message::trailers(section, lines).is_ok();
        section.clear();
        let after = stream.held();
        let complete = stream.expected.is_none_or(|expected| expected == stream.received);
        self.ledger.change(before, after);
        if !sound || !complete {
            return self.stream_error(key, ErrorCode::PROTOCOL_ERROR);
        }
        stream.remote = Remote::Ended;
        self.settle(key);
        if self.ledger.is_spent(self.unowned()) {
            return Err(Fault::Memory);
        }
        Ok(Some(Event::Readable(key)))
    }
}

/// The priority that a request asks for, where it does.
fn priority_of(section: &Section) -> Option<Priority> {
    let found = section.fields.iter().find(|field| field.known == Known::Priority)?;
    Some(Priority::parse(found.value.get(&section.bytes)))
}
