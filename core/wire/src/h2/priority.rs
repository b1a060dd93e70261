//! Priorities of RFC 9218: the urgency of a reply, out of the `priority` field of its request or
//! of a PRIORITY_UPDATE frame. The tree of RFC 7540 §5.3 is checked for its form and left unused.

/// Urgencies that there are.
pub(crate) const URGENCIES: usize = 8;

/// How soon a reply is wanted (RFC 9218 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Priority {
    /// 0 is the most urgent, 7 the least; 3 where nothing was said.
    pub urgency: u8,
    /// The reply is of use in parts.
    pub incremental: bool,
}

impl Default for Priority {
    fn default() -> Self {
        Self { urgency: 3, incremental: false }
    }
}

impl Priority {
    /// Reads the dictionary of a `priority` field (RFC 9218 §4, RFC 8941 §3.2). What is unknown or
    /// out of range is as if it were not there: a priority is a hint, never a fault.
    #[must_use]
    pub fn parse(value: &[u8]) -> Self {
        let mut priority = Self::default();
        for member in value.split(|&b| b == b',') {
            let member = crate::bytes::trim(member);
            let member = member.split(|&b| b == b';').next().unwrap_or_default();
            match member {
                [b'u', b'=', urgency @ b'0'..=b'7'] => priority.urgency = urgency - b'0',
                b"i" | b"i=?1" => priority.incremental = true,
                b"i=?0" => priority.incremental = false,
                _ => {}
            }
        }
        priority
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_read_leniently() {
        for (value, urgency, incremental) in [
            (&b""[..], 3, false),
            (b"u=0", 0, false),
            (b"u=5, i", 5, true),
            (b"i=?1,u=7", 7, true),
            (b"i, i=?0", 3, false),
            (b"u=8", 3, false),
            (b"u=-1, x, u=2;a=b", 2, false),
            (b"u", 3, false),
        ] {
            assert_eq!(Priority::parse(value), Priority { urgency, incremental }, "{value:?}");
        }
    }
}
