//! `[runtime]`, `[admin]`, `[logging]` and `[control]`.

use super::{
    DAY, Default, FILE, FREE, Kind, MILLISECOND, NAME, SOCKETS, Section, Text, count, key, switch,
};
use core_model::defaults::{self, reasons};

/// `[runtime]`.
pub(crate) static RUNTIME: Section = Section {
    doc: "Threads, user, DNS and the end of the process. Workers, user and group need a restart.",
    keys: &[
        key("workers", count(1, 256, "threads"), "Worker threads.")
            .absent("one for each usable core")
            .example("4"),
        key(
            "user",
            Kind::Text(Text::Account),
            "User to become once the sockets are bound, when started as root.",
        )
        .absent("the user who starts it")
        .example("\"weir\""),
        key("group", Kind::Text(Text::Account), "Group to become.")
            .absent("the user's own group")
            .example("\"weir\""),
        key(
            "drain_timeout",
            Kind::Time { min: MILLISECOND, max: DAY },
            "How long connections may finish after TERM, or after their listener is removed.",
        )
        .default(Default::Time(defaults::DRAIN_TIMEOUT), reasons::DRAIN_TIMEOUT),
        key(
            "dns_min_ttl",
            Kind::Time { min: MILLISECOND, max: DAY },
            "Shortest time for which an answer for an origin's name is used.",
        )
        .default(Default::Time(defaults::DNS_MIN_TTL), reasons::DNS_MIN_TTL),
        key(
            "dns_max_ttl",
            Kind::Time { min: MILLISECOND, max: DAY },
            "Longest time for which an answer for an origin's name is used.",
        )
        .default(Default::Time(defaults::DNS_MAX_TTL), reasons::DNS_MAX_TTL),
        key("dns_servers", Kind::List { of: &SOCKETS, min: 0 }, "DNS servers.")
            .default(Default::Empty, "empty: the servers of /etc/resolv.conf")
            .example("[\"127.0.0.1:53\"]"),
    ],
    later: &[],
};

/// `[admin]`.
pub(crate) static ADMIN: Section = Section {
    doc: "Metrics, status page and `weir reload`.",
    keys: &[
        key("address", Kind::Text(Text::Listen), "Where it listens; \"none\" switches it off.")
            .default(Default::Text(defaults::ADMIN_ADDRESS), reasons::ADMIN_ADDRESS)
            .example("\"unix:/run/weir/admin.sock\""),
        key(
            "allow_remote",
            Kind::Bool,
            "Whether the address may be one that other machines reach. \
             Whoever reaches it can reload and read everything.",
        )
        .default(Default::Bool(false), "a slip of the address must not open the door"),
    ],
    later: &[],
};

static PLANES: Kind = FREE;

/// `[control]` of an edge.
pub(crate) static FOLLOWED: Section = Section {
    doc: "The control planes that this edge follows; what they publish stands beside this file. \
          A restart is needed for all of it.",
    keys: &[
        key(
            "urls",
            Kind::List { of: &PLANES, min: 1 },
            "Where they listen for edges (`[edges]` of their file): any of one store.",
        )
        .example("[\"https://plane-1.example:8781\", \"https://plane-2.example:8781\"]"),
        key(
            "join_token_file",
            FILE,
            "A file with the token of `weir edge token create`, for the first start; \
             another token makes the next start join anew.",
        )
        .absent("`weir run --join TOKEN`")
        .example("\"join-token\""),
        key(
            "state",
            FILE,
            "Folder of this edge's identity and of the last snapshot; the service user's own.",
        )
        .absent("$STATE_DIRECTORY, else /var/lib/weir")
        .example("\"/var/lib/weir\""),
        key("name", NAME, "What this edge is called at the control planes.")
            .absent("the name of the machine")
            .example("\"edge-1\""),
    ],
    later: &[],
};

/// `[logging]`.
pub(crate) static LOGGING: Section = Section {
    doc: "The operator log (standard error) and the access log.",
    keys: &[
        key(
            "level",
            Kind::Choice { values: &["error", "warn", "info", "debug"], later: &[] },
            "Least severe level shown.",
        )
        .default(Default::Text("info"), "the life of the process, and no line per request"),
        key(
            "format",
            Kind::Choice { values: &["text", "json"], later: &[] },
            "Form of the operator log.",
        )
        .default(Default::Text("text"), "people read it first"),
        switch("access", &ACCESS, "no access log"),
    ],
    later: &[],
};

static ACCESS: Section = Section {
    doc: "One line for each request.",
    keys: &[
        key("path", Kind::Text(Text::Target), "\"stdout\" or a file, reopened on reload.")
            .default(Default::Text("stdout"), "a container's log collector takes it from there"),
        key(
            "format",
            Kind::Choice { values: &["json", "combined"], later: &[] },
            "Form of a line.",
        )
        .default(Default::Text("combined"), "every log reader knows it"),
        key(
            "buffer_lines",
            count(1, 1 << 24, "lines"),
            "Lines of one worker that wait for the writer; further ones are dropped and counted.",
        )
        .default(Default::Int(defaults::ACCESS_BUFFER_LINES as u64), reasons::ACCESS_BUFFER_LINES),
    ],
    later: &[],
};
