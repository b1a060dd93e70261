//! SYN cookies before the stack: a SYN to a VIP that is served here is answered by a cookie of the
//! kernel's own making (RFC 4987 §3.6), so that its listener accepts the ACK and no request socket
//! is made for a SYN that nobody stands behind.
//!
//! Two programs of their own, entered from the director: for a SYN whose first hop is this server,
//! and for one that another director sent through the tunnel.

use crate::frame::{Frame, Ipv4, Ipv6, Tcp, TcpMss, TcpOptions, fold, ipv4_checksum};
use crate::stage::decap;
use crate::stage::encap::{LinkHeader, overhead_max, words};
use crate::stage::flow;
use crate::stage::parse::{self, Blame, Link, Packet};
use crate::stage::service;
use crate::world::{Constants, Segment, World};
use packet_abi::gue::OUTER_TTL;
use packet_abi::net::{
    ETHERTYPE_IPV4, ETHERTYPE_IPV6, IPV4_DONT_FRAGMENT, IPV4_LEN, IPV6_LEN, PROTOCOL_TCP, TCP_ACK,
    TCP_LEN, TCP_SYN,
};
use packet_abi::verdict::{Reason, Verdict};
use packet_abi::{Family, Trafficset};

/// Options of a SYN that are read: a header has room for 40 octets, and those who send more than a
/// dozen options send nothing of use.
pub const OPTIONS_MAX: usize = 12;
/// Window of an answer: what Linux offers at first, so that its listener never has to take it back.
const WINDOW: u16 = 64_240;
/// MTU of clients' links: announcing larger segments would only have them split.
const CLIENT_MTU: usize = 1500;
/// Bits of a timestamp that carry options, as the kernel reads them (`TSBITS`).
const OPTION_BITS: u32 = 6;
/// Of those: no window scale.
const NO_SCALE: u32 = 15;
/// Of those: selective acknowledgements.
const SACK: u32 = 1 << 4;
/// Largest window scale (RFC 7323 §2.3).
const SCALE_MAX: u32 = 14;

/// Whose lies are reported. A packet that lies within a tunnel is left to the redirector, which
/// counts it; outer headers that lie end here, under the reason that the redirector would give.
const BLAME: Blame = Blame {
    ipv4: Reason::BadIpv4Header,
    ipv6: Reason::BadIpv6Header,
    chain: Reason::ExtensionChain,
};

/// What a SYN offers.
#[derive(Clone, Copy, Debug)]
struct Offer {
    /// Its timestamp.
    timestamp: Option<u32>,
    /// Its window scale.
    scale: Option<u32>,
    /// Selective acknowledgements.
    sack: bool,
}

/// Decides whether a SYN is answered by a cookie. Where it is, under [`Reason::CookieSent`], it has
/// left its tunnel, its cookie is noted, and [`answer`] is to write the reply.
#[inline(always)]
pub fn decide<F: Frame, W: World<F>>(frame: &mut F, world: &W) -> Verdict {
    match stages(frame, world) {
        Ok(verdict) | Err(verdict) => verdict,
    }
}

#[inline(always)]
fn stages<F: Frame, W: World<F>>(frame: &mut F, world: &W) -> Result<Verdict, Verdict> {
    let link = parse::link(frame)?;
    let fixed = world.fixed();
    let address = parse::destination(frame, link)?;
    let tunnelled = address == fixed.self_address;
    let inner = if tunnelled { decap::tunnel(frame, &fixed, link.l3)?.inner } else { link };
    // Noted and read again, so that the verifier follows one packet from here on, whatever it came
    // in.
    world.note(AT, inner.l3 as u32);
    world.note(FOUND, u32::from(inner.family == Family::V6) | u32::from(tunnelled) << 1);
    let (l3, found) = (world.noted(AT) as usize & 0xff, world.noted(FOUND));
    let tunnelled = found & 2 != 0;
    let family = if found & 1 != 0 { Family::V6 } else { Family::V4 };
    let inner = Link { l3, family };
    let pass =
        if tunnelled { Verdict::Pass(Reason::NotVip) } else { Verdict::Local(Reason::LocalSyn) };
    let packet =
        parse::network(frame, world, inner, BLAME).map_err(|verdict| keep(tunnelled, verdict))?;
    if packet.protocol != PROTOCOL_TCP || packet.fragment {
        return Err(pass);
    }
    let seen = flow::transport(frame, &packet).map_err(|verdict| keep(tunnelled, verdict))?;
    let flags: u8 = frame.load(packet.l4 + 13).ok_or(pass)?;
    if flags & 0x3f != TCP_SYN {
        return Err(pass);
    }
    let leaf = service::vip(world, packet.destination)?;
    let set = service::trafficset(world, leaf, &seen)?;
    let always = set.flags & Trafficset::COOKIES != 0;
    if !always && (set.flags & Trafficset::COOKIES_AUTO == 0 || !world.flooded()) {
        return Err(pass);
    }
    let segment = Segment { l3: packet.l3, l4: packet.l4 };
    let Some(cookie) = world.cookie(frame, &seen.flow, segment) else {
        return Err(if tunnelled { pass } else { Verdict::Local(Reason::LocalUncooked) });
    };
    world.note(COOKIE, cookie);
    if tunnelled {
        let header = LinkHeader::of(frame, link.l3).ok_or(pass)?;
        let ethertype = match packet.family {
            Family::V4 => ETHERTYPE_IPV4,
            Family::V6 => ETHERTYPE_IPV6,
        };
        let failed = Verdict::Drop(Reason::DecapsulationFailed);
        frame.shrink(packet.l3 - link.l3).ok_or(failed)?;
        header.on(frame, ethertype).ok_or(failed)?;
    }
    Ok(Verdict::Reply(Reason::CookieSent))
}

/// Turns a SYN into the SYN-ACK with the cookie that was noted.
#[inline(always)]
pub fn answer<F: Frame, W: World<F>>(frame: &mut F, world: &W) -> Verdict {
    match reply(frame, world) {
        Ok(verdict) | Err(verdict) => verdict,
    }
}

#[inline(always)]
fn reply<F: Frame, W: World<F>>(frame: &mut F, world: &W) -> Result<Verdict, Verdict> {
    let link = parse::link(frame)?;
    let packet = parse::network(frame, world, link, BLAME)?;
    let malformed = Verdict::Drop(Reason::CookieMalformed);
    let header: Tcp = frame.load(packet.l4).ok_or(malformed)?;
    let offer = offer(frame, world, &packet, &header).ok_or(malformed)?;
    let answer = Answer {
        fixed: world.fixed(),
        packet,
        header,
        cookie: world.noted(COOKIE),
        offer,
        link,
        now: world.milliseconds(),
    };
    let told = match offer.timestamp {
        Some(echo) if answer.fixed.cookie_wscale <= SCALE_MAX => answer.with_options(frame, echo),
        _ => answer.plain(frame),
    };
    told.ok_or(Verdict::Drop(Reason::NoHeadroom))?;
    Ok(Verdict::Reply(Reason::CookieSent))
}

/// A lie within a tunnel is the redirector's to count.
#[inline(always)]
fn keep(tunnelled: bool, verdict: Verdict) -> Verdict {
    if tunnelled { Verdict::Pass(Reason::NotVip) } else { verdict }
}

/// Notes: where the next option is; then what was found, each with a mark that it was.
const AT: usize = 0;
const STAMP: usize = 1;
const SCALE: usize = 2;
const FOUND: usize = 3;
/// The cookie, from one program to the next.
const COOKIE: usize = 4;
/// Marks of what was found.
const FOUND_STAMP: u32 = 1;
const FOUND_SCALE: u32 = 2;
const FOUND_SACK: u32 = 4;

/// Reads the options of a SYN; `None` where they lie.
#[inline(always)]
fn offer<F: Frame, W: World<F>>(
    frame: &F,
    world: &W,
    packet: &Packet,
    header: &Tcp,
) -> Option<Offer> {
    let len = u32::from(header.offset >> 4) * 4;
    if len < TCP_LEN as u32 || packet.l4 + len as usize > packet.l3 + packet.length {
        return None;
    }
    world.note(AT, TCP_LEN as u32);
    world.note(FOUND, 0);
    for _ in 0..OPTIONS_MAX {
        let at = world.noted(AT) & 0x3f;
        if at >= len {
            break;
        }
        let place = packet.l4 + at as usize;
        let kind: u8 = frame.load(place)?;
        if kind == 0 {
            break;
        }
        if kind == 1 {
            world.note(AT, at + 1);
            continue;
        }
        let octets: u8 = frame.load(place + 1)?;
        if octets < 2 || at + u32::from(octets) > len {
            return None;
        }
        if kind == 3 && octets == 3 {
            world.note(SCALE, u32::from(frame.load::<u8>(place + 2)?));
            world.note(FOUND, world.noted(FOUND) | FOUND_SCALE);
        }
        if kind == 4 {
            world.note(FOUND, world.noted(FOUND) | FOUND_SACK);
        }
        if kind == 8 && octets == 10 {
            world.note(STAMP, frame.load(place + 2)?);
            world.note(FOUND, world.noted(FOUND) | FOUND_STAMP);
        }
        world.note(AT, at + u32::from(octets));
    }
    let found = world.noted(FOUND);
    Some(Offer {
        timestamp: if found & FOUND_STAMP != 0 { Some(world.noted(STAMP)) } else { None },
        scale: if found & FOUND_SCALE != 0 {
            Some(world.noted(SCALE).min(SCALE_MAX))
        } else {
            None
        },
        sack: found & FOUND_SACK != 0,
    })
}

/// A SYN-ACK to be.
struct Answer {
    fixed: Constants,
    packet: Packet,
    header: Tcp,
    cookie: u32,
    offer: Offer,
    link: Link,
    now: u32,
}

impl Answer {
    /// Without timestamps the cookie holds the segment size alone.
    #[inline(always)]
    fn plain<F: Frame>(&self, frame: &mut F) -> Option<()> {
        const LEN: usize = TCP_LEN + size_of::<TcpMss>();
        let at = self.front(frame, LEN)?;
        frame.store(at, self.tcp(LEN))?;
        frame.store(at + TCP_LEN, TcpMss { mss: self.mss() })?;
        self.seal::<F, LEN>(frame, at)
    }

    /// With timestamps the low bits of ours, which come back, hold the other options.
    #[inline(always)]
    fn with_options<F: Frame>(&self, frame: &mut F, echo: u32) -> Option<()> {
        const LEN: usize = TCP_LEN + size_of::<TcpOptions>();
        let at = self.front(frame, LEN)?;
        frame.store(at, self.tcp(LEN))?;
        let shift = self.fixed.cookie_wscale as u8;
        let options = TcpOptions {
            mss: self.mss(),
            sack_timestamps: if self.offer.sack {
                u32::from_ne_bytes([4, 2, 8, 10])
            } else {
                u32::from_ne_bytes([1, 1, 8, 10])
            },
            value: self.timestamp().to_be(),
            echo,
            scale: match self.offer.scale {
                Some(_) => u32::from_ne_bytes([1, 3, 3, shift]),
                None => u32::from_ne_bytes([1, 1, 1, 1]),
            },
        };
        frame.store(at + TCP_LEN, options)?;
        self.seal::<F, LEN>(frame, at)
    }

    /// A timestamp of the past whose low bits are the options, as the kernel makes them.
    #[inline(always)]
    fn timestamp(&self) -> u32 {
        let options = self.offer.scale.unwrap_or(NO_SCALE) | if self.offer.sack { SACK } else { 0 };
        let stamp = self.now >> OPTION_BITS << OPTION_BITS | options;
        if stamp > self.now { stamp.wrapping_sub(1 << OPTION_BITS) } else { stamp }
    }

    /// The option of the largest segment: what fits into the tunnel and a client's link.
    #[inline(always)]
    fn mss(&self) -> u32 {
        let ip = match self.packet.family {
            Family::V4 => IPV4_LEN,
            Family::V6 => IPV6_LEN,
        };
        let inside = self.fixed.mtu as usize - overhead_max(self.fixed.outer_v6);
        let mss = inside.min(CLIENT_MTU) - ip - TCP_LEN;
        (0x0204_0000 | mss as u32 & 0xffff).to_be()
    }

    /// Makes the frame as long as the answer and writes what stands before TCP. Gives the offset of
    /// the TCP header.
    #[inline(always)]
    fn front<F: Frame>(&self, frame: &mut F, tcp: usize) -> Option<usize> {
        let header = LinkHeader::of(frame, self.link.l3)?;
        let l3 = self.link.l3;
        match self.packet.family {
            Family::V4 => {
                frame.cut(l3 + IPV4_LEN + tcp)?;
                header.back(frame, ETHERTYPE_IPV4, None)?;
                let mut ip = Ipv4 {
                    version_ihl: 0x45,
                    tos: 0,
                    length: ((IPV4_LEN + tcp) as u16).to_be(),
                    id: 0,
                    fragment: IPV4_DONT_FRAGMENT.to_be(),
                    ttl: OUTER_TTL,
                    protocol: PROTOCOL_TCP,
                    checksum: 0,
                    source: self.packet.destination.as_v4(),
                    destination: self.packet.source.as_v4(),
                };
                ip.checksum = ipv4_checksum(&ip);
                frame.store(l3, ip)?;
                Some(l3 + IPV4_LEN)
            }
            Family::V6 => {
                frame.cut(l3 + IPV6_LEN + tcp)?;
                header.back(frame, ETHERTYPE_IPV6, None)?;
                let ip = Ipv6 {
                    version_class_label: (6_u32 << 28).to_be(),
                    payload: (tcp as u16).to_be(),
                    next: PROTOCOL_TCP,
                    hops: OUTER_TTL,
                    source: self.packet.destination,
                    destination: self.packet.source,
                };
                frame.store(l3, ip)?;
                Some(l3 + IPV6_LEN)
            }
        }
    }

    #[inline(always)]
    fn tcp(&self, len: usize) -> Tcp {
        Tcp {
            source: self.header.destination,
            destination: self.header.source,
            sequence: self.cookie.to_be(),
            acknowledged: u32::from_be(self.header.sequence).wrapping_add(1).to_be(),
            offset: (len as u8 / 4) << 4,
            flags: TCP_SYN | TCP_ACK,
            window: WINDOW.to_be(),
            checksum: 0,
            urgent: 0,
        }
    }

    /// Writes the checksum over the segment and its pseudo header.
    #[inline(always)]
    fn seal<F: Frame, const LEN: usize>(&self, frame: &mut F, at: usize) -> Option<()> {
        let mut sum = u32::from((LEN as u16).to_be()) + u32::from(u16::from(PROTOCOL_TCP).to_be());
        match self.packet.family {
            Family::V4 => {
                for word in [self.packet.source.as_v4(), self.packet.destination.as_v4()] {
                    sum += (word & 0xffff) + (word >> 16);
                }
            }
            Family::V6 => {
                for address in [self.packet.source, self.packet.destination] {
                    for word in words(address) {
                        sum += (word & 0xffff) + (word >> 16);
                    }
                }
            }
        }
        let sum = frame.sum::<LEN>(at, sum)?;
        frame.store(at + 16, !fold((sum & 0xffff) + (sum >> 16)))
    }
}
