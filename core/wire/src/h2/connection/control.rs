//! Frames that carry no message: SETTINGS, PING, GOAWAY, RST_STREAM, WINDOW_UPDATE, priorities.

use super::stop::{GOODBYE_PING, PROBE_PING};
use super::streams::Remote;
use super::{Connection, Event, Fault, Role, StreamEnd, StreamKey};
use crate::h2::frame::{self, ACK, ErrorCode, Header, Kind};
use crate::h2::priority::Priority;

impl Connection {
    pub(crate) fn on_settings(
        &mut self,
        header: Header,
        payload: &[u8],
    ) -> Result<Option<Event>, Fault> {
        if header.stream != 0 {
            return Err(Fault::Stream);
        }
        if header.has(ACK) {
            return if payload.is_empty() { self.settings_acked() } else { Err(Fault::FrameSize) };
        }
        if self.settings_seen {
            self.charge_control()?;
        }
        let before = self.peer;
        let from_server = self.role == Role::Client;
        self.peer.apply(payload, from_server).map_err(|code| match code {
            ErrorCode::FRAME_SIZE_ERROR => Fault::FrameSize,
            ErrorCode::FLOW_CONTROL_ERROR => Fault::SettingWindow,
            _ => Fault::Setting,
        })?;
        if self.peer.header_table != before.header_table {
            self.encoder.set_max_table(self.peer.header_table);
        }
        let by = i64::from(self.peer.initial_window) - i64::from(before.initial_window);
        if by != 0 {
            self.move_send_windows(by)?;
        }
        self.out.reply(Kind::Settings, ACK, 0, &[]);
        let first = !core::mem::replace(&mut self.settings_seen, true);
        Ok((first || self.peer != before).then_some(Event::Settings))
    }

    /// Our SETTINGS are in force from here on: frames behind the ACK follow them.
    fn settings_acked(&mut self) -> Result<Option<Event>, Fault> {
        if core::mem::replace(&mut self.settings_acked, true) {
            self.charge_control()?;
            return Ok(None);
        }
        self.stream_window = self.limits.stream_window;
        for slot in 0..self.streams.slots() {
            let Some(key) = self.streams.at(slot) else { continue };
            if let Some(stream) = self.streams.get_mut(key) {
                stream.recv.resize(self.limits.stream_window);
            }
        }
        Ok(None)
    }

    /// Moves the windows of all streams (RFC 9113 §6.9.2).
    fn move_send_windows(&mut self, by: i64) -> Result<(), Fault> {
        for slot in 0..self.streams.slots() {
            let Some(key) = self.streams.at(slot) else { continue };
            let Some(stream) = self.streams.get_mut(key) else { continue };
            if !stream.send.grow(by) {
                return Err(Fault::SettingWindow);
            }
            self.wake(key);
        }
        Ok(())
    }

    pub(crate) fn on_ping(
        &mut self,
        header: Header,
        payload: &[u8],
    ) -> Result<Option<Event>, Fault> {
        if header.stream != 0 {
            return Err(Fault::Stream);
        }
        if payload.len() != 8 {
            return Err(Fault::FrameSize);
        }
        if !header.has(ACK) {
            self.charge_control()?;
            self.out.reply(Kind::Ping, ACK, 0, payload);
            return Ok(None);
        }
        if payload == GOODBYE_PING && self.goodbye.awaits_ack() {
            self.shut_down_now();
        } else if payload != PROBE_PING || !self.goodbye.take_probe() {
            self.charge_control()?;
            return Ok(None);
        }
        Ok(Some(Event::PingAck))
    }

    pub(crate) fn on_goaway(
        &mut self,
        header: Header,
        payload: &[u8],
    ) -> Result<Option<Event>, Fault> {
        if header.stream != 0 {
            return Err(Fault::Stream);
        }
        let (Some(last), Some(code)) =
            (frame::u31(payload), frame::u32_at(payload.get(4..).unwrap_or_default()))
        else {
            return Err(Fault::FrameSize);
        };
        self.charge_control()?;
        // It must not take back what it has let pass (RFC 9113 §6.8).
        if self.peer_goodbye.is_some_and(|before| last > before) {
            return Err(Fault::Order);
        }
        self.peer_goodbye = Some(last);
        if self.role == Role::Client {
            for slot in 0..self.streams.slots() {
                let Some(key) = self.streams.at(slot).filter(|key| key.id > last) else { continue };
                if self.cut(key, StreamEnd::Unprocessed) {
                    self.pending.push_back(Event::Reset(key));
                }
            }
        }
        Ok(Some(Event::GoAway { last, code: ErrorCode(code) }))
    }

    pub(crate) fn on_rst_stream(
        &mut self,
        header: Header,
        payload: &[u8],
    ) -> Result<Option<Event>, Fault> {
        let id = header.stream;
        let Some(code) = frame::u32_at(payload).filter(|_| payload.len() == 4) else {
            return Err(Fault::FrameSize);
        };
        if self.is_idle_stream(id) {
            return Err(if id == 0 { Fault::Stream } else { Fault::Idle });
        }
        self.counters.resets_peer += 1;
        let code = ErrorCode(code);
        let alive = |key: &StreamKey| self.streams.get(*key).is_some_and(|s| !s.is_over());
        let Some(key) = self.streams.find(id).filter(alive) else {
            return self.charge_control().map(|()| None);
        };
        match self.role {
            Role::Server if !self.budgets.reset(self.tick) => return Err(Fault::ResetFlood),
            Role::Server => {}
            // A client's streams are opened by us: their number bounds the resets.
            Role::Client => self.budgets.earn(1),
        }
        let answered = self.streams.get(key).is_some_and(|s| s.remote == Remote::Ended);
        // A whole reply stands, whatever code its server gives for not reading the rest of the
        // request (RFC 9113 §8.1 has NO_ERROR, HAProxy sends CANCEL).
        if answered && self.role == Role::Client {
            self.stop(key);
            return Ok(Some(Event::Readable(key)));
        }
        let end = match code {
            ErrorCode::REFUSED_STREAM => StreamEnd::Refused,
            code => StreamEnd::Reset { code },
        };
        self.cut(key, end);
        if let Some(stream) = self.streams.get_mut(key) {
            // Nothing may come behind its reset, which makes no message whole.
            stream.remote = if answered { Remote::Ended } else { Remote::Reset };
        }
        Ok(Some(Event::Reset(key)))
    }

    pub(crate) fn on_window_update(
        &mut self,
        header: Header,
        payload: &[u8],
    ) -> Result<Option<Event>, Fault> {
        let id = header.stream;
        let Some(by) = frame::u31(payload).filter(|_| payload.len() == 4) else {
            return Err(Fault::FrameSize);
        };
        if id != 0 && self.is_idle_stream(id) {
            return Err(Fault::Idle);
        }
        self.charge_control()?;
        if by == 0 {
            return Err(Fault::ZeroIncrement);
        }
        if id == 0 {
            return if self.send.grow(i64::from(by)) { Ok(None) } else { Err(Fault::Window) };
        }
        let Some(key) = self.streams.find(id) else { return Ok(None) };
        let Some(stream) = self.streams.get_mut(key) else { return Ok(None) };
        if !stream.is_alive() {
            return Ok(None);
        }
        if !stream.send.grow(i64::from(by)) {
            return Err(Fault::Window);
        }
        self.wake(key);
        Ok(None)
    }

    /// PRIORITY of RFC 7540: checked, charged and left unused.
    pub(crate) fn on_priority(
        &mut self,
        header: Header,
        payload: &[u8],
    ) -> Result<Option<Event>, Fault> {
        if header.stream == 0 {
            return Err(Fault::Stream);
        }
        let Some(on) = frame::u31(payload).filter(|_| payload.len() == 5) else {
            return Err(Fault::FrameSize);
        };
        if on == header.stream {
            return Err(Fault::Dependency);
        }
        self.charge_control().map(|()| None)
    }

    /// PRIORITY_UPDATE (RFC 9218 §7.1). One that comes before its request waits for it, and is
    /// preferred to what the request says.
    pub(crate) fn on_priority_update(
        &mut self,
        header: Header,
        payload: &[u8],
    ) -> Result<Option<Event>, Fault> {
        if header.stream != 0 || self.role == Role::Client {
            return Err(Fault::Stream);
        }
        let (Some(id), Some(value)) = (frame::u31(payload), payload.get(4..)) else {
            return Err(Fault::FrameSize);
        };
        if id.is_multiple_of(2) {
            return Err(Fault::Stream);
        }
        self.charge_control()?;
        let priority = Priority::parse(value);
        if self.is_idle_stream(id) {
            self.early.put(id, priority);
        } else if let Some(key) = self.streams.find(id) {
            self.set_priority(key, priority);
        }
        Ok(None)
    }
}
