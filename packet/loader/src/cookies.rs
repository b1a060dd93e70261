//! SYN cookies as this host makes and checks them: its listeners take back an answer of the XDP
//! programs only if both choose the same options.

use crate::settings::NO_WINDOW_SCALE;
use std::fs;

/// Where the kernel tells its settings.
const SYSCTLS: &str = "/proc/sys/net";
/// Largest window scale (RFC 7323 section 2.3).
const SCALE_MAX: u32 = 14;
/// Bits of a window without scale that a listener fills before it asks for more.
const WINDOW_BITS: u32 = 15;
/// `net.ipv4.tcp_timestamps`: timestamps without a secret offset, in which cookies carry options.
const PLAIN_TIMESTAMPS: u32 = 2;

/// The window scale that listeners of this network namespace choose, or [`NO_WINDOW_SCALE`] where
/// cookies carry no options: `net.ipv4.tcp_timestamps` is not 2, so that the kernel moves
/// timestamps by a secret.
#[must_use]
pub fn window_scale() -> u32 {
    let number = |name: &str, at: usize| {
        let text = fs::read_to_string(format!("{SYSCTLS}/{name}")).ok()?;
        text.split_whitespace().nth(at)?.parse().ok()
    };
    let all = || {
        let largest: u32 = number("ipv4/tcp_rmem", 2)?;
        // Outside the first namespace the kernel does not show this one.
        let socket = number("core/rmem_max", 0).unwrap_or(0);
        Some(scale(
            number("ipv4/tcp_timestamps", 0)?,
            number("ipv4/tcp_window_scaling", 0)?,
            largest.max(socket),
        ))
    };
    all().unwrap_or(NO_WINDOW_SCALE)
}

/// As `tcp_select_initial_window` of the kernel computes it.
const fn scale(timestamps: u32, scaling: u32, buffer: u32) -> u32 {
    if timestamps != PLAIN_TIMESTAMPS || scaling == 0 || buffer == 0 {
        return NO_WINDOW_SCALE;
    }
    let wanted = buffer.ilog2().saturating_sub(WINDOW_BITS);
    if wanted < SCALE_MAX { wanted } else { SCALE_MAX }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_follows_the_largest_buffer() {
        let rows = [
            ((2, 1, 6_291_456), 7),
            ((2, 1, 33_554_432), 10),
            ((2, 1, u32::MAX), 14),
            ((2, 1, 4096), 0),
            ((1, 1, 6_291_456), NO_WINDOW_SCALE),
            ((2, 0, 6_291_456), NO_WINDOW_SCALE),
        ];
        for ((timestamps, scaling, buffer), expect) in rows {
            assert_eq!(scale(timestamps, scaling, buffer), expect, "{timestamps} {buffer}");
        }
    }
}
