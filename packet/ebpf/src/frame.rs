//! A frame as the stages see it: bounded loads and stores, room in front, a cut at the end. No
//! stage touches a pointer.

use packet_abi::Address;

/// Values that may be read from any octets: no padding, no invalid bit pattern.
///
/// # Safety
/// Every sequence of octets of the type's size must be a valid value of it.
pub unsafe trait Plain: Copy {}

// SAFETY: integers have no invalid bit patterns.
unsafe impl Plain for u8 {}
// SAFETY: as above.
unsafe impl Plain for u16 {}
// SAFETY: as above.
unsafe impl Plain for u32 {}
// SAFETY: as above.
unsafe impl Plain for u64 {}
// SAFETY: as above.
unsafe impl<const N: usize> Plain for [u32; N] {}

/// Defines a header: fields in wire order, as a load gives them, without padding.
macro_rules! header {
    ($(#[$doc:meta])* $name:ident, $len:expr, {
        $($(#[$says:meta])* $field:ident: $type:ty,)+
    }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        #[repr(C)]
        pub struct $name {
            $($(#[$says])* pub $field: $type,)+
        }
        // SAFETY: integers and arrays of them only, and the size below leaves no padding.
        unsafe impl Plain for $name {}
        const _: () = assert!(size_of::<$name>() == $len);
    };
}

header!(
    /// An Ethernet header.
    Ethernet, 14, {
        /// To whom.
        destination: [u8; 6],
        /// From whom.
        source: [u8; 6],
        /// What is inside.
        ethertype: u16,
    }
);

header!(
    /// An IPv4 header without options (RFC 791).
    Ipv4, 20, {
        /// Version and header length in words.
        version_ihl: u8,
        /// DSCP and ECN.
        tos: u8,
        /// Octets of the packet.
        length: u16,
        /// Identification.
        id: u16,
        /// Flags and fragment offset.
        fragment: u16,
        /// Hops left.
        ttl: u8,
        /// What is inside.
        protocol: u8,
        /// Of the header.
        checksum: u16,
        /// From whom.
        source: u32,
        /// To whom.
        destination: u32,
    }
);

header!(
    /// An IPv6 header (RFC 8200 §3).
    Ipv6, 40, {
        /// Version, traffic class, flow label.
        version_class_label: u32,
        /// Octets behind this header.
        payload: u16,
        /// What follows.
        next: u8,
        /// Hops left.
        hops: u8,
        /// From whom.
        source: Address,
        /// To whom.
        destination: Address,
    }
);

header!(
    /// A UDP header, and the first half of TCP's: ports come first in both.
    Udp, 8, {
        /// Source port.
        source: u16,
        /// Destination port.
        destination: u16,
        /// Octets with this header.
        length: u16,
        /// Over pseudo header and payload; 0 is none.
        checksum: u16,
    }
);

header!(
    /// The fixed part of an ICMP message.
    Icmp, 8, {
        /// Type.
        kind: u8,
        /// Code.
        code: u8,
        /// Over the message.
        checksum: u16,
        /// Meaning by type: identifier and sequence, or unused and MTU.
        rest: u32,
    }
);

/// The outer headers of GUE in words, the IP header of `N`: IP, UDP, GUE and the private data
/// before the hops. One store, where fields would be twenty.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Outer<const N: usize> {
    /// IP.
    pub ip: [u32; N],
    /// UDP.
    pub udp: [u32; 2],
    /// GUE.
    pub gue: [u32; 2],
}

// SAFETY: words only, so that there is no padding and no invalid bit pattern.
unsafe impl<const N: usize> Plain for Outer<N> {}

/// IP and UDP in words, of FOU.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Foo<const N: usize> {
    /// IP.
    pub ip: [u32; N],
    /// UDP.
    pub udp: [u32; 2],
}

// SAFETY: as above.
unsafe impl<const N: usize> Plain for Foo<N> {}

header!(
    /// A TCP header without options (RFC 9293 §3.1).
    Tcp, 20, {
        /// Source port.
        source: u16,
        /// Destination port.
        destination: u16,
        /// Sequence number.
        sequence: u32,
        /// Acknowledged sequence number.
        acknowledged: u32,
        /// Length of the header in words, in the high four bits.
        offset: u8,
        /// Flags.
        flags: u8,
        /// Window.
        window: u16,
        /// Over pseudo header and segment.
        checksum: u16,
        /// Urgent pointer.
        urgent: u16,
    }
);

header!(
    /// The one option of a segment without timestamps: the largest segment.
    TcpMss, 4, {
        /// Kind 2, length 4, octets.
        mss: u32,
    }
);

header!(
    /// Options of a SYN-ACK with timestamps, padded to words.
    TcpOptions, 20, {
        /// Kind 2, length 4, octets.
        mss: u32,
        /// Selective acknowledgements permitted, or nothing twice; then kind 8, length 10.
        sack_timestamps: u32,
        /// Our timestamp.
        value: u32,
        /// Theirs.
        echo: u32,
        /// Nothing, then kind 3, length 3 and the shift; or nothing four times.
        scale: u32,
    }
);

header!(
    /// GUE's own header and the private data before the hops.
    Gue, 8, {
        /// Version, control bit, length in words.
        version_length: u8,
        /// What is inside.
        protocol: u8,
        /// Flags; any stands for a field.
        flags: u16,
        /// Private version and flags.
        private: u8,
        /// Zero.
        reserved: u8,
        /// Index of the hop after the outer destination.
        next: u8,
        /// Hops.
        count: u8,
    }
);

/// A frame. Offsets count from its first octet.
pub trait Frame {
    /// Octets of the whole frame, also of those that no load reaches.
    fn octets(&self) -> usize;

    /// A value at an offset, as the machine loads it; `None` past the end.
    fn load<T: Plain>(&self, at: usize) -> Option<T>;

    /// Writes a value. `None` past the end, with nothing written.
    fn store<T: Plain>(&mut self, at: usize, value: T) -> Option<()>;

    /// Makes room for `octets` in front; what was at 0 is at `octets` then. `None` where the driver
    /// left no room.
    fn grow(&mut self, octets: usize) -> Option<()>;

    /// Takes `octets` off the front. `None` where the frame has no more than that.
    fn shrink(&mut self, octets: usize) -> Option<()>;

    /// Makes the frame `octets` long, by a cut or by a few octets more. `None` where it cannot.
    fn cut(&mut self, octets: usize) -> Option<()>;

    /// Makes loads up to `octets` possible, where a frame lies in pieces.
    fn reach(&mut self, octets: usize);

    /// The one's complement sum, not folded, of `N` octets from `at` on, added to `sum`. `N` is a
    /// multiple of four and at most [`SUM_MAX`].
    fn sum<const N: usize>(&self, at: usize, sum: u32) -> Option<u32>;
}

/// Octets that one [`Frame::sum`] adds: the kernel's helper has a buffer of 512.
pub const SUM_MAX: usize = 512;

/// Folds a sum to sixteen bits. Two folds are enough: the first leaves at most 0x1fffe.
#[must_use]
#[inline(always)]
pub const fn fold(sum: u32) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    ((sum & 0xffff) + (sum >> 16)) as u16
}

/// A checksum after one word under it has changed (RFC 1624, equation 3), all in wire order.
#[must_use]
#[inline(always)]
pub const fn update(checksum: u16, old: u16, new: u16) -> u16 {
    !fold(!checksum as u32 + !old as u32 + new as u32)
}

/// The checksum of an IPv4 header without options whose checksum field is zero.
#[must_use]
#[inline(always)]
pub const fn ipv4_checksum(header: &Ipv4) -> u16 {
    let sum = u16::from_ne_bytes([header.version_ihl, header.tos]) as u32
        + header.length as u32
        + header.id as u32
        + header.fragment as u32
        + u16::from_ne_bytes([header.ttl, header.protocol]) as u32
        + (header.source & 0xffff)
        + (header.source >> 16)
        + (header.destination & 0xffff)
        + (header.destination >> 16);
    !fold(sum)
}

/// The same value, of which the compiler does not know what it is made of.
#[must_use]
#[inline(always)]
pub fn hidden(value: usize) -> usize {
    #[cfg(target_arch = "bpf")]
    {
        let mut value = value;
        // SAFETY: no instruction.
        unsafe { core::arch::asm!("/* {0} */", inout(reg) value, options(pure, nomem, nostack)) };
        value
    }
    #[cfg(not(target_arch = "bpf"))]
    core::hint::black_box(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_update_carries_around_the_end() {
        // Every checksum an echo reply can meet: type 8 becomes 0, 128 becomes 129.
        for checksum in 0..=u16::MAX {
            let (old, new) = (0x0800_u16.to_be(), 0_u16);
            let rest = fold(u32::from(!checksum) + u32::from(!old));
            assert_eq!(update(checksum, old, new), !fold(u32::from(rest) + u32::from(new)));
        }
    }

    #[test]
    fn the_checksum_of_a_known_header() {
        let header = Ipv4 {
            version_ihl: 0x45,
            tos: 0,
            length: 0x0073_u16.to_be(),
            id: 0,
            fragment: 0x4000_u16.to_be(),
            ttl: 64,
            protocol: 17,
            checksum: 0,
            source: u32::from_ne_bytes([192, 168, 0, 1]),
            destination: u32::from_ne_bytes([192, 168, 0, 199]),
        };
        assert_eq!(u16::from_be(ipv4_checksum(&header)), 0xb861);
    }
}
