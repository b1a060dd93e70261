//! The table of reasons: everything that can become of a packet, by name. Counters, metrics,
//! documents and fixtures take their names from here.

/// Makes the enum, its names, kinds and sentences from one table.
macro_rules! reasons {
    ($($kind:ident { $($name:ident = $word:literal, $says:literal;)+ })+) => {
        /// Why a packet went where it went. The number is the index of its counter.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(u32)]
        pub enum Reason {
            $($(#[doc = $says] $name,)+)+
        }

        impl Reason {
            /// Every reason, in the order of the counters.
            pub const ALL: &'static [Self] = &[$($(Self::$name,)+)+];

            /// The word that metrics and documents use.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self {
                    $($(Self::$name => $word,)+)+
                }
            }

            /// What it means, in a sentence.
            #[must_use]
            pub const fn says(self) -> &'static str {
                match self {
                    $($(Self::$name => $says,)+)+
                }
            }

            /// What becomes of the packet.
            #[must_use]
            pub const fn kind(self) -> Kind {
                match self {
                    $($(Self::$name => Kind::$kind,)+)+
                }
            }
        }
    };
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It goes to the stack untouched, as it is not provably ours.
    Pass,
    /// It is ours and goes to this server's own stack.
    Local,
    /// It goes to another server.
    Send,
    /// It is answered on the spot.
    Reply,
    /// It is ours and bad.
    Drop,
}

impl Kind {
    /// The word that metrics use.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Local => "local",
            Self::Send => "send",
            Self::Reply => "reply",
            Self::Drop => "drop",
        }
    }
}

reasons! {
    Pass {
        NotIp = "not_ip", "neither IPv4 nor IPv6, so not for the director";
        ShortFrame = "short_frame", "too short for its own headers, and no VIP was seen in it";
        NotVip = "not_vip", "its destination is no VIP";
        NoService = "no_service", "its destination is a VIP, but no trafficset has this port";
        NotAFlow = "not_a_flow", "for a VIP, but neither TCP, UDP nor an ICMP message about them";
        NoGeneration = "no_generation", "no tables have been published yet";
        NotTunnel = "not_tunnel", "at the redirector, and no tunnel packet for this server";
    }
    Local {
        LocalOnlyHop = "local_only_hop", "this server owns the bucket alone";
        LocalSyn = "local_syn", "a new TCP connection, and this server is the first hop";
        LocalSocket = "local_socket", "this server has the socket of the flow";
        LocalCookie = "local_cookie", "a valid SYN cookie of a local listener, or right behind one";
        LocalUncooked = "local_uncooked", "a SYN for a cookie, but the kernel gave none";
        LocalId = "local_id", "its connection id names this server";
        TunnelSyn = "tunnel_syn", "from the tunnel: a new TCP connection";
        TunnelSocket = "tunnel_socket", "from the tunnel: this server has the socket of the flow";
        TunnelTimeWait = "tunnel_time_wait", "from the tunnel: the flow's socket is in TIME_WAIT";
        TunnelCookie = "tunnel_cookie", "from the tunnel: a valid SYN cookie, or right behind one";
        TunnelLastHop = "tunnel_last_hop", "from the tunnel: no hop is left, so it stays here";
        TunnelEcho = "tunnel_echo", "from the tunnel: an ICMP echo request";
        TunnelPlain = "tunnel_plain", "from a tunnel without hops (FOU or IP in IP)";
    }
    Send {
        SentFirst = "sent_first", "sent to the first hop of its bucket";
        SentSecond = "sent_second", "no socket here, so sent to the second hop of its bucket";
        SentId = "sent_id", "sent to the server that its connection id names";
        SentError = "sent_error", "an ICMP error, sent to the owner of the flow it is about";
        SentFragment = "sent_fragment", "a fragment, sent by its addresses alone";
        TunnelForwarded = "tunnel_forwarded", "no socket here, so sent on to the next hop";
    }
    Reply {
        EchoAnswered = "echo_answered", "an ICMP echo request to a VIP, answered at once";
        TooBigSent = "too_big_sent", "too big for the tunnel: the sender was told the right size";
        CookieSent = "cookie_sent", "a SYN answered with a SYN cookie, before any socket";
    }
    Drop {
        BadIpv4Header = "bad_ipv4_header", "for a VIP, with lengths in its IPv4 header that lie";
        BadIpv6Header = "bad_ipv6_header", "for a VIP, with lengths in its IPv6 headers that lie";
        ExtensionChain = "extension_chain", "for a VIP, with more IPv6 extension headers than six";
        Fragment = "fragment", "a fragment for a VIP whose trafficset does not take fragments";
        ShortTcp = "short_tcp", "for a VIP, cut off within its TCP header";
        ShortUdp = "short_udp", "for a VIP, cut off within its UDP header";
        ShortIcmp = "short_icmp", "for a VIP, cut off within its ICMP message";
        ShortInner = "short_inner", "an ICMP error to a VIP that holds too little of its packet";
        ForeignError = "foreign_error", "an ICMP error to a VIP about a packet the VIP never sent";
        UnwantedIcmp = "unwanted_icmp", "an ICMP message that no VIP has use for";
        NoServer = "no_server", "no living server stands in its bucket";
        BadTable = "bad_table", "an index that the tables of this generation do not have";
        TooBigUnfragmented = "too_big_unfragmented", "too big for the tunnel, without the DF bit";
        TooBigError = "too_big_error", "too big for the tunnel, and ICMP or from no host's address";
        TooBigLimited = "too_big_limited", "too big for the tunnel, and no reply is left";
        NoHeadroom = "no_headroom", "the driver left no room for the outer headers";
        HopIsSelf = "hop_is_self", "the next hop is this server, so forwarding would loop";
        TunnelShort = "tunnel_short", "a tunnel packet for this server, cut off within its headers";
        TunnelFragment = "tunnel_fragment", "a tunnel packet for this server that is a fragment";
        GueVersion = "gue_version", "a GUE version or control message that is not spoken here";
        GueFlags = "gue_flags", "GUE flags that stand for fields which are not spoken here";
        GueProtocol = "gue_protocol", "a GUE packet that carries neither IPv4 nor IPv6";
        GueLength = "gue_length", "a GUE header whose length does not fit its hops";
        GuePrivateVersion = "gue_private_version", "private data of a version not spoken here";
        GueReserved = "gue_reserved", "private data with reserved bits set";
        GueHops = "gue_hops", "more hops than two, or a hop index past them";
        OuterExpired = "outer_expired", "the outer TTL is used up, so servers send in a circle";
        InnerMalformed = "inner_malformed", "the tunnelled packet's own IP header lies";
        InnerFragment = "inner_fragment", "the tunnelled packet is a fragment";
        InnerExtensionChain = "inner_extension_chain", "over six extension headers in the tunnel";
        InnerShort = "inner_short", "the tunnelled packet is cut off within its transport header";
        InnerEchoReply = "inner_echo_reply", "the tunnelled packet is an ICMP echo reply";
        DecapsulationFailed = "decapsulation_failed", "the kernel kept the outer headers";
        ForwardFailed = "forward_failed", "the kernel refused a change that forwarding needs";
        ShieldRule = "shield_rule", "a shield rule said so";
        ShieldLimit = "shield_limit", "a shield rule's rate was used up";
        ShieldSpoofed = "shield_spoofed", "its source is not reached by the way it came";
        CookieMalformed = "cookie_malformed", "a SYN for a cookie whose options cannot be read";
    }
}

/// Counters there are: one for each reason.
pub const REASONS: u32 = Reason::ALL.len() as u32;

/// What a program decided. The one `match` at a program's end turns it into an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// To the stack, untouched.
    Pass(Reason),
    /// Ours: to this server's stack.
    Local(Reason),
    /// Rewritten, and out by the interface it came from.
    Send(Reason),
    /// Turned into an answer, and out by the interface it came from.
    Reply(Reason),
    /// Gone.
    Drop(Reason),
}

impl Verdict {
    /// Why.
    #[must_use]
    #[inline(always)]
    pub const fn reason(self) -> Reason {
        match self {
            Self::Pass(reason)
            | Self::Local(reason)
            | Self::Send(reason)
            | Self::Reply(reason)
            | Self::Drop(reason) => reason,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_unique_and_fit_metrics() {
        for (at, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, at);
            let fits = reason
                .word()
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b == b'_' || b == b'6' || b == b'4');
            assert!(fits, "{}", reason.word());
            let twin = Reason::ALL.iter().skip(at + 1).find(|other| other.word() == reason.word());
            assert_eq!(twin, None);
        }
    }
}
