//! The file of `weir control`: the API's listener, the store, limits and secrets.

use super::{
    DAY, Default, FILE, FREE, Kind, NET_LIST, SECOND, Section, Text, count, key, switch, table,
};
use std::time::Duration;

/// The whole file of the control plane.
pub(crate) static CONTROL_ROOT: Section = Section {
    doc: "The file of `weir control`.",
    keys: &[
        table("control", &CONTROL),
        table("store", &STORE),
        table("limits", &LIMITS),
        table("secrets", &SECRETS),
        switch("edges", &EDGES, "no edge is served: the API and its store alone"),
        table("publish", &PUBLISH),
        table("logging", &LOGGING),
    ],
    later: &[],
};

static CONTROL: Section = Section {
    doc: "Where the API is served, below /client/v4.",
    keys: &[
        key("address", Kind::Text(Text::Socket), "Where the API listens.").default(
            Default::Text("127.0.0.1:8780"),
            "loopback: whoever holds a token decides over all edges",
        ),
        key(
            "allow_remote",
            Kind::Bool,
            "Whether the address may be one that other machines reach without TLS: \
             tokens then travel in the clear.",
        )
        .default(Default::Bool(false), "a slip of the address must not give tokens away"),
        switch("tls", &TLS, "plain HTTP"),
        key(
            "socket",
            FILE,
            "The Unix socket by which `weir` commands reach the plane that runs; \
             its own user and root may use it.",
        )
        .absent("`weir-control.sock` beside the store, with etcd beside the key file")
        .example("\"/run/weir/control.sock\""),
        key(
            "ips",
            NET_LIST,
            "Addresses that the edges answer on, which `GET /ips` tells everybody.",
        )
        .default(Default::Empty, "nothing is told unasked")
        .example("[\"203.0.113.0/24\", \"2001:db8::/32\"]"),
    ],
    later: &[],
};

static TLS: Section = Section {
    doc: "TLS for the API.",
    keys: &[
        key("certificate", FILE, "Chain, leaf first (PEM).").example("\"tls/control.crt\""),
        key("key", FILE, "Private key (PEM: PKCS#8, PKCS#1 or SEC1, not encrypted).")
            .example("\"tls/control.key\""),
    ],
    later: &[],
};

static STORE: Section = Section {
    doc: "Where objects are kept: a file of this machine, or etcd.",
    keys: &[
        key("path", FILE, "The file, made at the first start.")
            .default(Default::Text("weir-store.redb"), "beside the configuration"),
        switch("etcd", &ETCD, "the file"),
    ],
    later: &[],
};

static ENDPOINTS: Kind = Kind::Text(Text::Location);

static ETCD: Section = Section {
    doc: "An etcd cluster in place of the file.",
    keys: &[
        key(
            "endpoints",
            Kind::List { of: &ENDPOINTS, min: 1 },
            "URLs of the members; any of them answers.",
        )
        .example("[\"https://10.0.0.1:2379\"]"),
        key("ca", FILE, "Authorities of the members' certificates (PEM).")
            .absent("the authorities of the system")
            .example("\"etcd/ca.crt\""),
        key("cert", FILE, "Client certificate (PEM); `key` belongs to it.")
            .absent("none is shown")
            .example("\"etcd/client.crt\""),
        key("key", FILE, "Key of the client certificate (PEM).")
            .absent("none")
            .example("\"etcd/client.key\""),
        key("user", FREE, "User of etcd.").absent("no authentication").example("\"weir\""),
        key("password_file", FILE, "A file with the user's password in its first line.")
            .absent("no password")
            .example("\"etcd/password\""),
        key("prefix", FREE, "What every key of Weir starts with.")
            .default(Default::Text("weir"), "the cluster may hold other things"),
    ],
    later: &[],
};

const HOUR: Duration = Duration::from_secs(3_600);

static LIMITS: Section = Section {
    doc: "What clients may ask of the API.",
    keys: &[
        key("window", Kind::Time { min: SECOND, max: HOUR }, "The time over which calls count.")
            .default(Default::Time(Duration::from_secs(300)), "the same as Cloudflare's"),
        key("calls_per_token", count(1, 10_000_000, "calls"), "Calls of one token in a window.")
            .default(
                Default::Int(12_000),
                "ten times Cloudflare's: this API serves one operator and its tools",
            ),
        key(
            "calls_per_address",
            count(1, 10_000_000, "calls"),
            "Calls of one source address in a window, with any token or none.",
        )
        .default(Default::Int(24_000), "two busy tokens behind one address"),
        key(
            "denials_per_address",
            count(1, 1_000_000, "calls"),
            "Calls with a wrong token that one address may make in a window; \
             then it waits, and longer each time.",
        )
        .default(Default::Int(20), "a script with an old token is told; a search is stopped"),
        key("connections", count(1, 100_000, "connections"), "Connections served at once.")
            .default(Default::Int(1_024), "edges, tools and people of a large fleet"),
    ],
    later: &[],
};

static SERVER_NAMES: Kind = Kind::Text(Text::ServerName);

static EDGES: Section = Section {
    doc: "Where edges join and follow: TLS 1.3, certificates of an authority of the plane's own.",
    keys: &[
        key("address", Kind::Text(Text::Socket), "Where edges find the control plane.").default(
            Default::Text("127.0.0.1:8781"),
            "the machine itself until edges elsewhere are wanted",
        ),
        key(
            "names",
            Kind::List { of: &SERVER_NAMES, min: 0 },
            "What edges call this control plane in their URLs: DNS names and addresses of its \
             certificate.",
        )
        .default(Default::Empty, "the address, and `localhost` where that is of this machine")
        .example("[\"control.example.com\", \"192.0.2.7\"]"),
        key(
            "certificate_life",
            Kind::Time { min: SHORTEST_LIFE, max: LONGEST_LIFE },
            "How long certificates of edges are valid; they are renewed at two thirds of it.",
        )
        .default(
            Default::Time(Duration::from_secs(7 * 86_400)),
            "an edge lasts two days without any control plane after it should have renewed",
        ),
        key(
            "connections",
            count(1, 100_000, "connections"),
            "Connections of edges served at once.",
        )
        .default(
            Default::Int(12_000),
            "ten thousand edges, and those that came back before their old connection was missed",
        ),
    ],
    later: &[],
};

/// Shorter ones end while they are being renewed.
const SHORTEST_LIFE: Duration = Duration::from_secs(3);
/// Longer ones are as good as for ever: who has the key of a lost edge that nobody revoked is
/// taken for it.
const LONGEST_LIFE: Duration = Duration::from_secs(90 * 86_400);

static PUBLISH: Section = Section {
    doc: "How changes go out to the edges.",
    keys: &[
        key(
            "canary_percent",
            count(0, 100, "percent"),
            "The share of the attached edges, one at least, that get a change before the others; \
             0 sends it to all at once.",
        )
        .default(Default::Int(0), "a small fleet wants its changes everywhere at once"),
        key(
            "canary_hold",
            Kind::Time { min: SECOND, max: DAY },
            "How long these edges must do well before the others get the change.",
        )
        .default(Default::Time(Duration::from_secs(30)), "some reports of each of them"),
        key(
            "report",
            Kind::Time { min: Duration::from_millis(100), max: MINUTE },
            "How often each edge tells how it is doing.",
        )
        .default(Default::Time(Duration::from_secs(2)), "a thousand edges send 500 in a second"),
    ],
    later: &[],
};

const MINUTE: Duration = Duration::from_secs(60);

static SECRETS: Section = Section {
    doc: "The key that encrypts secrets in the store.",
    keys: &[key(
        "key_file",
        FILE,
        "The file with the key; made with mode 0600 at the first start.",
    )
    .default(Default::Text("weir-control.key"), "beside the configuration")],
    later: &[],
};

static LOGGING: Section = Section {
    doc: "The operator log (standard error).",
    keys: &[
        key(
            "level",
            Kind::Choice { values: &["error", "warn", "info", "debug"], later: &[] },
            "Least severe level shown.",
        )
        .default(Default::Text("info"), "the life of the process, and denied calls"),
        key(
            "format",
            Kind::Choice { values: &["text", "json"], later: &[] },
            "Form of the operator log.",
        )
        .default(Default::Text("text"), "people read it first"),
    ],
    later: &[],
};
