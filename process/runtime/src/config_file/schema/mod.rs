//! The one table of the configuration file: every key with its kind, range, default and reason.
//!
//! Checking, `weir print-defaults`, the JSON schema and the faults' "valid" lines all come from
//! here; a key that does not stand here does not exist.

mod control;
mod layer;
mod listener;
mod origin;
mod packet;
mod process;
mod route;

pub(crate) use control::CONTROL_ROOT;
pub(crate) use layer::{ACCOUNT, ZONE};
pub(crate) use listener::LISTENER;
pub(crate) use origin::{MONITOR, POOL, PUBLISHED};
pub(crate) use packet::{PACKET, SERVER, SHIELD_RULE, TRAFFICSET};
pub(crate) use process::{ADMIN, FOLLOWED, LOGGING, RUNTIME};
pub(crate) use route::LOAD_BALANCER;

use std::time::Duration;

/// Listeners of one configuration: each costs a socket per worker.
pub const LISTENERS_MAX: usize = 1_000;
/// Monitors of one configuration; Cloudflare allows one and a half times as many as pools.
pub const MONITORS_MAX: usize = 15_000;
/// Pools of one configuration; each origin costs some kilobytes of live state.
pub const POOLS_MAX: usize = 10_000;
/// Origins of one pool; picking one looks at all of them.
pub const ORIGINS_MAX: usize = 1_000;
/// Hosts of one configuration; a larger list belongs behind the API.
pub const LOAD_BALANCERS_MAX: usize = 100_000;
/// Zones of one configuration; each host looks at all of them when it is made ready.
pub const ZONES_MAX: usize = 10_000;
/// Routes of one host; they are tried in order.
pub const ROUTES_MAX: usize = 1_000;
/// Servers of one fleet: as many as there are ids.
pub const SERVERS_MAX: usize = core_model::config::packet::ServerId::MAX as usize;
/// Trafficsets of one configuration: places in the kernel's array of them.
pub const TRAFFICSETS_MAX: usize = 1_024;
/// Rules of the shield: what programs of the kernel's greatest size hold.
pub const SHIELD_RULES_MAX: usize = 10_000;
/// Entries of any other list.
pub const LIST_MAX: usize = 10_000;
/// Longest text value in bytes; a longer one is a file in the wrong place.
pub const TEXT_MAX: usize = 64 * 1024;

/// What a text must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Text {
    /// Anything without control characters.
    Free,
    /// The name of an object.
    Name,
    /// The name of a monitor, pool or listener that stands elsewhere.
    Reference(&'static str),
    /// Address and port.
    Socket,
    /// Address and port, `unix:/path`, or `none`.
    Listen,
    /// An IP address.
    Ip,
    /// An IP address or prefix.
    Net,
    /// An IP address or a DNS name.
    Origin,
    /// A host pattern.
    Host,
    /// A domain.
    Domain,
    /// A DNS name or address to verify.
    ServerName,
    /// A file, relative to the file that names it.
    File,
    /// `stdout` or a file.
    Target,
    /// A path of a URL.
    UrlPath,
    /// A path of a URL which may have a query.
    RequestTarget,
    /// A field name (RFC 9110 §5.1).
    HeaderName,
    /// A field value (RFC 9110 §5.5).
    HeaderValue,
    /// Status codes as Cloudflare writes them.
    Codes,
    /// Where a redirect goes.
    Location,
    /// A user or group name.
    Account,
    /// A glob of files to include.
    Glob,
    /// The name of a network interface.
    Interface,
    /// The name of a folder of pins.
    PinFolder,
    /// 32 hexadecimal digits, which are a secret.
    HashKey,
    /// An Ethernet address.
    LinkAddress,
    /// A port or a range of ports.
    Ports,
    /// Octets of an IP packet, or a range of them.
    Lengths,
    /// A time to live, or a range of them.
    Ttls,
    /// A protocol in IP by name or number.
    IpProtocol,
    /// Octets in hexadecimal digits.
    Hex,
}

/// What a value must be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// `true` or `false`.
    Bool,
    /// A switch of which this version knows one position only.
    Fixed {
        /// The position it has.
        only: bool,
        /// What is said of the other one.
        why: &'static str,
    },
    /// A whole number.
    Int {
        /// Least.
        min: u64,
        /// Greatest.
        max: u64,
        /// What is counted.
        unit: &'static str,
    },
    /// One of these numbers.
    OneOf(&'static [u64]),
    /// A number from 0 to 1 in steps of `1 / steps`.
    Share {
        /// Steps from 0 to 1.
        steps: u32,
    },
    /// A time: `"500ms"`, `"10s"`, `"5m"`, `"1h"`, `"30d"`.
    Time {
        /// Shortest.
        min: Duration,
        /// Longest.
        max: Duration,
    },
    /// Bytes: a number, or `"32KiB"`, `"10MiB"`, `"1GiB"`.
    Size {
        /// Least.
        min: u64,
        /// Greatest.
        max: u64,
    },
    /// A text.
    Text(Text),
    /// One of a few words.
    Choice {
        /// Accepted ones.
        values: &'static [&'static str],
        /// What Cloudflare or a later version has and this one does not.
        later: &'static [&'static str],
    },
    /// `true` (the usual port), `false`, or a port.
    SwitchOrPort,
    /// A list.
    List {
        /// What each entry is.
        of: &'static Kind,
        /// Least number of entries.
        min: usize,
    },
    /// Free keys.
    Map {
        /// What each key is.
        key: Text,
        /// What each value is.
        of: &'static Kind,
    },
    /// A table which is always there.
    Table(&'static Section),
    /// A table that switches something on.
    Switch(&'static Section),
    /// A list of tables.
    Tables {
        /// What each one is.
        of: &'static Section,
        /// Least number.
        min: usize,
        /// Greatest number.
        max: usize,
    },
}

/// What holds where a key is not given.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Default {
    /// The key must be given.
    Required,
    /// Nothing, and what that means.
    Absent(&'static str),
    /// Nothing; the key or the one that stands in its place must be given.
    Needed(&'static str),
    /// Nothing; the key stands in place of another one.
    Instead(&'static str),
    /// A switch.
    Bool(bool),
    /// A number, a size, or the steps of a share.
    Int(u64),
    /// A time.
    Time(Duration),
    /// A text or word.
    Text(&'static str),
    /// A list of one word.
    Words(&'static [&'static str]),
    /// An empty list, map or table.
    Empty,
}

/// One key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key {
    /// How it is written.
    pub(crate) name: &'static str,
    /// What it must be.
    pub(crate) kind: Kind,
    /// What it does.
    pub(crate) doc: &'static str,
    /// What holds without it.
    pub(crate) default: Default,
    /// Why the default is what it is.
    pub(crate) why: &'static str,
    /// An example in TOML.
    pub(crate) example: &'static str,
}

impl Key {
    /// This key with a default and its reason.
    pub(crate) const fn default(mut self, default: Default, why: &'static str) -> Self {
        self.default = default;
        self.why = why;
        self
    }

    /// This key without a default; `absent` says what holds where it is not given.
    pub(crate) const fn absent(mut self, absent: &'static str) -> Self {
        self.default = Default::Absent(absent);
        self
    }

    /// This key without a default, which is needed unless another one is given.
    pub(crate) const fn needed(mut self, unless: &'static str) -> Self {
        self.default = Default::Needed(unless);
        self
    }

    /// This key, which excludes another one.
    pub(crate) const fn instead(mut self, of: &'static str) -> Self {
        self.default = Default::Instead(of);
        self
    }

    /// This key with an example in TOML.
    pub(crate) const fn example(mut self, example: &'static str) -> Self {
        self.example = example;
        self
    }
}

/// A required key.
pub(crate) const fn key(name: &'static str, kind: Kind, doc: &'static str) -> Key {
    Key { name, kind, doc, default: Default::Required, why: "", example: "" }
}

/// A table that is always there.
pub(crate) const fn table(name: &'static str, section: &'static Section) -> Key {
    let mut table = key(name, Kind::Table(section), section.doc);
    table.default = Default::Empty;
    table
}

/// A table that switches something on.
pub(crate) const fn switch(
    name: &'static str,
    section: &'static Section,
    absent: &'static str,
) -> Key {
    key(name, Kind::Switch(section), section.doc).absent(absent)
}

/// A list of tables which may be empty.
pub(crate) const fn tables(name: &'static str, of: &'static Section, max: usize) -> Key {
    let mut tables = key(name, Kind::Tables { of, min: 0, max }, of.doc);
    tables.default = Default::Empty;
    tables
}

/// A list of tables which is off unless it is written, and what that means.
pub(crate) const fn extra_tables(
    name: &'static str,
    of: &'static Section,
    max: usize,
    absent: &'static str,
) -> Key {
    tables(name, of, max).absent(absent)
}

/// A key that Cloudflare (or a later version) has and this version does not.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Later {
    /// How it is written.
    pub(crate) name: &'static str,
    /// What to do today.
    pub(crate) today: &'static str,
}

/// A later key without advice.
pub(crate) const fn later(name: &'static str) -> Later {
    Later { name, today: "remove the key" }
}

/// A later key with advice.
pub(crate) const fn later_use(name: &'static str, today: &'static str) -> Later {
    Later { name, today }
}

/// A table of keys.
#[derive(Debug)]
pub(crate) struct Section {
    /// What it is for.
    pub(crate) doc: &'static str,
    /// Its keys, in the order in which they are shown.
    pub(crate) keys: &'static [Key],
    /// Keys that are refused as not there yet.
    pub(crate) later: &'static [Later],
}

impl Section {
    /// The key of this name.
    pub(crate) fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }
}

pub(crate) const PORT: Kind = Kind::Int { min: 0, max: 65_535, unit: "port" };
pub(crate) const FREE: Kind = Kind::Text(Text::Free);
pub(crate) const FILE: Kind = Kind::Text(Text::File);
pub(crate) const NAME: Kind = Kind::Text(Text::Name);
pub(crate) const KIB: u64 = 1024;
pub(crate) const GIB: u64 = 1024 * 1024 * 1024;
pub(crate) const MILLISECOND: Duration = Duration::from_millis(1);
pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const DAY: Duration = Duration::from_secs(86_400);

/// A time from a millisecond to a day.
pub(crate) const TIME: Kind = Kind::Time { min: MILLISECOND, max: DAY };

/// A count.
pub(crate) const fn count(min: u64, max: u64, unit: &'static str) -> Kind {
    Kind::Int { min, max, unit }
}

static NETS: Kind = Kind::Text(Text::Net);
static SOCKETS: Kind = Kind::Text(Text::Socket);
static GLOBS: Kind = Kind::Text(Text::Glob);
static VALUES: Kind = Kind::Text(Text::HeaderValue);
static NAMES: Kind = Kind::Text(Text::HeaderName);
static POOLS: Kind = Kind::Text(Text::Reference("pool"));
static LISTENERS: Kind = Kind::Text(Text::Reference("listener"));
static FILES: Kind = Kind::Text(Text::File);

/// A list of prefixes.
pub(crate) const NET_LIST: Kind = Kind::List { of: &NETS, min: 0 };

/// The whole file.
pub(crate) static ROOT: Section = Section {
    doc: "Weir's configuration.",
    keys: &[
        key(
            "include",
            Kind::List { of: &GLOBS, min: 0 },
            "Further files, relative to this one; `*` and `?` stand in the file name only. \
             Read in the order of their names. An included file includes no others.",
        )
        .default(Default::Empty, "one file is enough for most")
        .example("[\"conf.d/*.toml\"]"),
        table("runtime", &RUNTIME),
        table("admin", &ADMIN),
        table("logging", &LOGGING),
        switch("control", &FOLLOWED, "this file is all there is"),
        tables("listener", &LISTENER, LISTENERS_MAX),
        tables("monitor", &MONITOR, MONITORS_MAX),
        tables("pool", &POOL, POOLS_MAX),
        table("account", &ACCOUNT),
        extra_tables("zone", &ZONE, ZONES_MAX, "no domain has rules of its own"),
        tables("load_balancer", &LOAD_BALANCER, LOAD_BALANCERS_MAX),
        switch("published", &PUBLISHED, "published objects have the defaults of those in files"),
        switch("packet", &PACKET, "packets are left to the kernel"),
        extra_tables("server", &SERVER, SERVERS_MAX, "no fleet"),
        extra_tables("trafficset", &TRAFFICSET, TRAFFICSETS_MAX, "no address is a VIP"),
        extra_tables("shield_rule", &SHIELD_RULE, SHIELD_RULES_MAX, "every packet passes"),
    ],
    later: &[
        later("monitor_group"),
        later("waiting_room"),
        later("spectrum"),
        later("tunnel"),
        later("keyless"),
        later("healthcheck"),
        later("ruleset"),
    ],
};
