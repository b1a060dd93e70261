//! What can be wrong with a head, and the reply each fault asks for.

use crate::faults::faults;

faults! {
    /// A broken rule in the head of a message. [`HeadError::status`] answers for a request; a
    /// fault in a reply of an origin is always a 502 towards the client.
    HeadError {
        TlsOnPlain, "tls_on_plain", "the peer speaks TLS on a plain-text port";
        Http2Preface, "http2_preface", "the peer speaks HTTP/2 with prior knowledge";
        BareLf, "bare_lf", "a line ends with LF alone";
        BareCr, "bare_cr", "a CR is not followed by LF";
        EmptyLines, "empty_lines", "more than one empty line stands before the start line";
        LineTooLong, "line_too_long", "the start line is longer than its limit";
        SectionTooLarge, "section_too_large", "the field section is larger than its limit";
        TooManyFields, "too_many_fields", "there are more fields than the limit";
        BadMethod, "bad_method", "the method is no upper-case token";
        BadSpace, "bad_space", "the parts of the start line are not separated by one space";
        BadTargetChar, "bad_target_char", "the target has a byte which no URI may have";
        BadTargetForm, "bad_target_form", "the target has no form that its method allows";
        MissingVersion, "missing_version", "the request line has no version (HTTP/0.9)";
        BadVersion, "bad_version", "the version is not HTTP/digit.digit";
        Version505, "version_505", "the major version is not 1";
        BadStatus, "bad_status", "the status is not three digits from 100 on";
        BadReason, "bad_reason", "the reason phrase has a control character";
        LeadingSpace, "leading_space", "white space stands before the first field";
        ObsFold, "obs_fold", "a field goes on in the next line (obs-fold)";
        EmptyName, "empty_name", "a field has no name";
        MissingColon, "missing_colon", "a field line has no colon";
        SpaceBeforeColon, "space_before_colon", "white space stands before a colon";
        FieldNameToken, "field_name_token", "a field name is no token";
        NulInValue, "nul_in_value", "a field value has a NUL";
        ControlInValue, "control_in_value", "a field value has a control character";
        BadConnection, "bad_connection", "Connection is no list of tokens";
        TooManyOptions, "too_many_options", "Connection names more options than the limit";
        NominatedFraming, "nominated_framing",
            "Connection names Transfer-Encoding, Content-Length or Host";
        BadLength, "bad_length", "Content-Length is not a decimal number below 2^64";
        RepeatedLength, "repeated_length", "Content-Length is repeated or a list";
        LengthAndCoding, "length_and_coding", "both Content-Length and Transfer-Encoding are there";
        CodingOn10, "coding_on_1_0", "Transfer-Encoding in an HTTP/1.0 message";
        BadCoding, "bad_coding", "Transfer-Encoding is malformed, or chunked is not once and last";
        UnknownCoding, "unknown_coding", "Transfer-Encoding names another coding than chunked";
        Expectation, "expectation", "Expect asks for something else than 100-continue";
        MissingHost, "missing_host", "an HTTP/1.1 request has no Host";
        RepeatedHost, "repeated_host", "Host is repeated";
        BadHost, "bad_host", "the authority is no host with an optional port";
        HostMismatch, "host_mismatch", "the authority of the target is not the one of Host";
        ConnectRefused, "connect_refused", "CONNECT is not served";
        ConnectWithBody, "connect_with_body", "CONNECT with a body";
        TraceRefused, "trace_refused", "TRACE is not served";
        TraceWithBody, "trace_with_body", "TRACE with a body";
        InterimWithBody, "interim_with_body", "an interim reply announces a body";
    }
}

impl HeadError {
    /// The status of the reply to a request with this fault.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::LineTooLong => 414,
            Self::SectionTooLarge | Self::TooManyFields => 431,
            Self::Version505 => 505,
            Self::UnknownCoding => 501,
            Self::Expectation => 417,
            Self::ConnectRefused | Self::TraceRefused => 405,
            Self::BadStatus | Self::BadReason | Self::InterimWithBody => 502,
            _ => 400,
        }
    }

    /// True where the connection is closed without a reply, because the peer would not read one.
    #[must_use]
    pub fn silent(&self) -> bool {
        matches!(self, Self::TlsOnPlain)
    }

    /// False where the next request on the connection may be read after the reply, provided that
    /// [`super::super::request::keep_alive`] allows it. Every other fault puts the place where
    /// the next message starts in doubt.
    #[must_use]
    pub fn closes(&self) -> bool {
        !matches!(self, Self::ConnectRefused | Self::TraceRefused)
    }
}
