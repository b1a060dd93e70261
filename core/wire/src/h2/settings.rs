//! SETTINGS (RFC 9113 §6.5, RFC 8441 §3, RFC 9218 §2.1): what the peer announced, checked, and
//! what is announced to it.

use super::frame::{self, ErrorCode, Kind, U31_MAX};

/// SETTINGS_HEADER_TABLE_SIZE
pub(crate) const HEADER_TABLE_SIZE: u16 = 0x1;
/// SETTINGS_ENABLE_PUSH
pub(crate) const ENABLE_PUSH: u16 = 0x2;
/// SETTINGS_MAX_CONCURRENT_STREAMS
pub(crate) const MAX_CONCURRENT_STREAMS: u16 = 0x3;
/// SETTINGS_INITIAL_WINDOW_SIZE
pub(crate) const INITIAL_WINDOW_SIZE: u16 = 0x4;
/// SETTINGS_MAX_FRAME_SIZE
pub(crate) const MAX_FRAME_SIZE: u16 = 0x5;
/// SETTINGS_MAX_HEADER_LIST_SIZE
pub(crate) const MAX_HEADER_LIST_SIZE: u16 = 0x6;
/// SETTINGS_ENABLE_CONNECT_PROTOCOL
pub(crate) const ENABLE_CONNECT_PROTOCOL: u16 = 0x8;
/// SETTINGS_NO_RFC7540_PRIORITIES
pub(crate) const NO_RFC7540_PRIORITIES: u16 = 0x9;

/// Length of one parameter on the wire.
const PARAMETER_BYTES: usize = 6;

/// SETTINGS_INITIAL_WINDOW_SIZE before anything was said.
pub(crate) const INITIAL_WINDOW: u32 = 65_535;

/// What the peer announced; the initial values of RFC 9113 §6.5.2 before it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) header_table: u32,
    pub(crate) max_streams: u32,
    pub(crate) initial_window: u32,
    pub(crate) max_frame: u32,
    pub(crate) connect: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            header_table: 4096,
            max_streams: u32::MAX,
            initial_window: INITIAL_WINDOW,
            max_frame: frame::PAYLOAD_MAX as u32,
            connect: false,
        }
    }
}

impl Settings {
    /// Takes in the payload of a SETTINGS frame; `from_server` says who sent it. Later parameters
    /// replace earlier ones, unknown ones are ignored.
    ///
    /// # Errors
    /// The code with which the connection ends: a length that is no multiple of six, or a value
    /// that the parameter must not have.
    pub(crate) fn apply(&mut self, payload: &[u8], from_server: bool) -> Result<(), ErrorCode> {
        let parameters = payload.chunks_exact(PARAMETER_BYTES);
        if !parameters.remainder().is_empty() {
            return Err(ErrorCode::FRAME_SIZE_ERROR);
        }
        for parameter in parameters {
            let Some((&name, value)) = parameter.split_first_chunk::<2>() else { continue };
            let value = frame::u32_at(value).unwrap_or_default();
            match u16::from_be_bytes(name) {
                HEADER_TABLE_SIZE => self.header_table = value,
                // A server must not ask for pushes (RFC 9113 §6.5.2).
                ENABLE_PUSH if value > 1 || (from_server && value == 1) => {
                    return Err(ErrorCode::PROTOCOL_ERROR);
                }
                MAX_CONCURRENT_STREAMS => self.max_streams = value,
                INITIAL_WINDOW_SIZE if value > U31_MAX => {
                    return Err(ErrorCode::FLOW_CONTROL_ERROR);
                }
                INITIAL_WINDOW_SIZE => self.initial_window = value,
                MAX_FRAME_SIZE => match value {
                    0x4000..=0xff_ffff => self.max_frame = value,
                    _ => return Err(ErrorCode::PROTOCOL_ERROR),
                },
                // Once it is on it stays on (RFC 8441 §3).
                ENABLE_CONNECT_PROTOCOL if value > 1 || (self.connect && value == 0) => {
                    return Err(ErrorCode::PROTOCOL_ERROR);
                }
                ENABLE_CONNECT_PROTOCOL => self.connect = value == 1,
                NO_RFC7540_PRIORITIES if value > 1 => return Err(ErrorCode::PROTOCOL_ERROR),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Appends a SETTINGS frame with these parameters.
pub(crate) fn write(out: &mut Vec<u8>, parameters: &[(u16, u32)]) {
    let mut payload = Vec::with_capacity(parameters.len() * PARAMETER_BYTES);
    for (name, value) in parameters {
        payload.extend_from_slice(&name.to_be_bytes());
        payload.extend_from_slice(&value.to_be_bytes());
    }
    frame::write(out, Kind::Settings, 0, 0, &payload);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: u16, value: u32, from_server: bool, expect: Result<(), ErrorCode>) {
        let mut payload = name.to_be_bytes().to_vec();
        payload.extend_from_slice(&value.to_be_bytes());
        assert_eq!(Settings::default().apply(&payload, from_server), expect);
    }

    #[test]
    fn values_have_their_ranges() {
        let protocol = Err(ErrorCode::PROTOCOL_ERROR);
        check(HEADER_TABLE_SIZE, u32::MAX, false, Ok(()));
        check(ENABLE_PUSH, 0, true, Ok(()));
        check(ENABLE_PUSH, 1, false, Ok(()));
        check(ENABLE_PUSH, 1, true, protocol);
        check(ENABLE_PUSH, 2, false, protocol);
        check(INITIAL_WINDOW_SIZE, U31_MAX, false, Ok(()));
        check(INITIAL_WINDOW_SIZE, U31_MAX + 1, false, Err(ErrorCode::FLOW_CONTROL_ERROR));
        check(MAX_FRAME_SIZE, 16_383, false, protocol);
        check(MAX_FRAME_SIZE, 16_384, false, Ok(()));
        check(MAX_FRAME_SIZE, 0xff_ffff, false, Ok(()));
        check(MAX_FRAME_SIZE, 0x100_0000, false, protocol);
        check(ENABLE_CONNECT_PROTOCOL, 2, true, protocol);
        check(NO_RFC7540_PRIORITIES, 2, false, protocol);
        check(0xaaaa, u32::MAX, false, Ok(()));
    }

    #[test]
    fn a_torn_parameter_has_the_wrong_size() {
        let got = Settings::default().apply(&[0; 7], false);
        assert_eq!(got, Err(ErrorCode::FRAME_SIZE_ERROR));
    }

    #[test]
    fn extended_connect_is_not_taken_back() {
        let mut settings = Settings::default();
        settings.apply(&[0, 8, 0, 0, 0, 1], true).unwrap();
        let got = settings.apply(&[0, 8, 0, 0, 0, 0], true);
        assert_eq!(got, Err(ErrorCode::PROTOCOL_ERROR));
    }
}
