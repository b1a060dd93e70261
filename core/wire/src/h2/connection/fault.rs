//! Why a connection ends by the peer's fault.

use crate::faults::faults;
use crate::h2::frame::ErrorCode;

faults! {
    /// A connection error (RFC 9113 §5.4.1). What the RFC calls a stream error is one too where an
    /// honest peer has no reason for it, so that it cannot be used to make us reset streams.
    Fault {
        Preface, "h2_preface", "the connection does not start with the preface of HTTP/2";
        NoSettings, "h2_no_settings", "the first frame is not SETTINGS";
        FrameSize, "h2_frame_size", "a frame has a length that it must not have";
        Stream, "h2_stream", "a frame stands on a stream where it must not stand";
        Idle, "h2_idle_stream", "a frame stands on a stream that was never opened";
        Order, "h2_stream_order", "a stream was opened out of order";
        Closed, "h2_closed_stream", "a frame stands on a stream that its sender has ended";
        Padding, "h2_padding", "padding is longer than its frame";
        Setting, "h2_setting", "a setting has a value that it must not have";
        SettingWindow, "h2_setting_window", "the initial window is past 2^31-1";
        Window, "h2_window", "more data came than the window allowed, or a window went past 2^31-1";
        ZeroIncrement, "h2_zero_increment", "a window was opened by nothing";
        Dependency, "h2_dependency", "a stream depends on itself";
        Push, "h2_push", "a push was promised";
        Continuation, "h2_continuation", "a field block is interrupted, or continued where none is";
        ContinuationFlood, "h2_continuation_flood", "a field block has too many frames";
        BlockBytes, "h2_block_bytes", "a compressed field block is too long";
        Compression, "h2_compression", "a field block cannot be decoded";
        SectionFlood, "h2_section_flood", "a field section decodes to twice its limit";
        ResetFlood, "h2_reset_flood", "more streams were reset than allowed";
        ControlFlood, "h2_control_flood", "more control frames came than allowed";
        TinyFlood, "h2_tiny_flood", "more tiny pieces of data came than allowed";
        Memory, "h2_memory", "the connection holds more memory than allowed";
        Ended, "h2_ended", "the connection was ended from this side";
    }
}

impl Fault {
    /// The code of the GOAWAY.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::FrameSize => ErrorCode::FRAME_SIZE_ERROR,
            Self::Closed => ErrorCode::STREAM_CLOSED,
            Self::SettingWindow | Self::Window => ErrorCode::FLOW_CONTROL_ERROR,
            Self::Compression => ErrorCode::COMPRESSION_ERROR,
            Self::ContinuationFlood
            | Self::BlockBytes
            | Self::SectionFlood
            | Self::ResetFlood
            | Self::ControlFlood
            | Self::TinyFlood
            | Self::Memory => ErrorCode::ENHANCE_YOUR_CALM,
            _ => ErrorCode::PROTOCOL_ERROR,
        }
    }

    /// True where the peer broke no rule of the protocol but a limit.
    #[must_use]
    pub fn is_flood(&self) -> bool {
        self.code() == ErrorCode::ENHANCE_YOUR_CALM
    }
}
