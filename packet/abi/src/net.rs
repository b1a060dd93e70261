//! Numbers of Ethernet, IP, TCP, UDP and ICMP that the programs use, by their names in the RFCs.

/// EtherType of IPv4.
pub const ETHERTYPE_IPV4: u16 = 0x0800;
/// EtherType of IPv6.
pub const ETHERTYPE_IPV6: u16 = 0x86dd;
/// EtherType of an IEEE 802.1Q tag.
pub const ETHERTYPE_VLAN: u16 = 0x8100;
/// EtherType of an IEEE 802.1ad (outer) tag.
pub const ETHERTYPE_QINQ: u16 = 0x88a8;
/// Octets of an Ethernet header without tags.
pub const ETHERNET_LEN: usize = 14;
/// Octets of one VLAN tag.
pub const VLAN_LEN: usize = 4;
/// VLAN tags that are looked past: an outer and an inner one (IEEE 802.1ad); more pass.
pub const VLAN_TAGS_MAX: usize = 2;

/// Octets of an IPv4 header without options (RFC 791).
pub const IPV4_LEN: usize = 20;
/// Octets of an IPv6 header (RFC 8200 §3).
pub const IPV6_LEN: usize = 40;
/// Octets of a UDP header (RFC 768).
pub const UDP_LEN: usize = 8;
/// Octets of a TCP header without options (RFC 9293 §3.1).
pub const TCP_LEN: usize = 20;
/// Octets of the fixed part of an ICMP message (RFC 792, RFC 4443).
pub const ICMP_LEN: usize = 8;
/// IPv6 extension headers that are walked: RFC 8200 §4.1 names five, of which one may come twice;
/// a longer chain is a mistake or an attack.
pub const IPV6_EXTENSIONS_MAX: usize = 6;

/// ICMP for IPv4.
pub const PROTOCOL_ICMP: u8 = 1;
/// IPv4 in IP (RFC 2003).
pub const PROTOCOL_IPV4: u8 = 4;
/// TCP.
pub const PROTOCOL_TCP: u8 = 6;
/// UDP.
pub const PROTOCOL_UDP: u8 = 17;
/// IPv6 in IP (RFC 2473).
pub const PROTOCOL_IPV6: u8 = 41;
/// ICMP for IPv6.
pub const PROTOCOL_ICMPV6: u8 = 58;
/// Extension header: hop-by-hop options.
pub const EXTENSION_HOP_BY_HOP: u8 = 0;
/// Extension header: routing.
pub const EXTENSION_ROUTING: u8 = 43;
/// Extension header: fragment.
pub const EXTENSION_FRAGMENT: u8 = 44;
/// Extension header: destination options.
pub const EXTENSION_DESTINATION: u8 = 60;
/// Extension header: mobility (RFC 6275).
pub const EXTENSION_MOBILITY: u8 = 135;

/// The DF bit of an IPv4 header's flags and offset.
pub const IPV4_DONT_FRAGMENT: u16 = 0x4000;
/// More fragments, or an offset: the packet is a fragment.
pub const IPV4_FRAGMENT_MASK: u16 = 0x3fff;
/// The offset alone: not the first fragment.
pub const IPV4_OFFSET_MASK: u16 = 0x1fff;

/// TCP flag SYN, in octet 13.
pub const TCP_SYN: u8 = 0x02;
/// TCP flag RST, in octet 13.
pub const TCP_RST: u8 = 0x04;
/// TCP flag ACK, in octet 13.
pub const TCP_ACK: u8 = 0x10;

/// ICMPv4 echo reply.
pub const ICMP_ECHO_REPLY: u8 = 0;
/// ICMPv4 destination unreachable.
pub const ICMP_UNREACHABLE: u8 = 3;
/// Code of it: fragmentation needed and DF set.
pub const ICMP_FRAGMENTATION_NEEDED: u8 = 4;
/// ICMPv4 echo request.
pub const ICMP_ECHO: u8 = 8;
/// ICMPv4 time exceeded.
pub const ICMP_TIME_EXCEEDED: u8 = 11;
/// ICMPv4 parameter problem.
pub const ICMP_PARAMETER_PROBLEM: u8 = 12;
/// ICMPv6 destination unreachable.
pub const ICMPV6_UNREACHABLE: u8 = 1;
/// ICMPv6 packet too big.
pub const ICMPV6_TOO_BIG: u8 = 2;
/// ICMPv6 time exceeded.
pub const ICMPV6_TIME_EXCEEDED: u8 = 3;
/// ICMPv6 parameter problem.
pub const ICMPV6_PARAMETER_PROBLEM: u8 = 4;
/// ICMPv6 echo request.
pub const ICMPV6_ECHO: u8 = 128;
/// ICMPv6 echo reply.
pub const ICMPV6_ECHO_REPLY: u8 = 129;
