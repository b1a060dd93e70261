//! Monitors: how origins are probed; and groups of monitors that decide together.

use crate::shape::{
    Default, FREE, Faults, Field, Form, ID, Kind, LIST_MAX, Null, Shape, TEXT_MAX, URL_MAX, given,
    text, whole,
};
use serde_json::{Map, Value};

/// Seconds between probes where nothing is said.
pub const INTERVAL_DEFAULT: i64 = 60;
/// Seconds that a probe may take where nothing is said.
pub const TIMEOUT_DEFAULT: i64 = 5;
/// Further tries where nothing is said.
pub const RETRIES_DEFAULT: i64 = 2;

/// Any port; 0 is the one that follows from kind and origin.
pub(crate) const PORT: Kind = Kind::Integer { min: 0, max: 65_535 };
/// Cloudflare's shortest is that of its largest plan; shorter ones depend on the plan there.
pub(crate) const INTERVAL: Kind = Kind::Integer { min: 10, max: 3_600 };
pub(crate) const TIMEOUT: Kind = Kind::Integer { min: 1, max: 10 };
pub(crate) const RETRIES: Kind = Kind::Integer { min: 1, max: 5 };
/// Probes in a row. Cloudflare names no end; this is what an edge takes.
pub(crate) const IN_A_ROW: Kind = Kind::Integer { min: 0, max: 100 };
/// The longest text looked for in a body, in characters: the 10 KiB of it that are looked at.
pub(crate) const EXPECTED_MAX: usize = 10_240;
/// The longest value of a field in a probe, in characters: half of what servers take as a head.
const VALUE_MAX: usize = 4_096;
/// Methods that ask for something and change nothing.
const METHODS: [&str; 3] = ["GET", "HEAD", "OPTIONS"];

static VALUE: Kind = Kind::Text { min: 0, max: VALUE_MAX, form: Form::FieldValue };
static VALUES: Kind = Kind::Array { of: &VALUE, min: 1, max: LIST_MAX, unique: false };
/// Header fields of a probe: names, each with its values.
pub(crate) const HEADER: Kind = Kind::Map { key: Form::Token, of: &VALUES, max: 100 };

const PROBED: &str = "origins are taken to be well without a probe";

/// A monitor. Properties that only HTTP has may be set for any type, as Terraform does.
pub static MONITOR: Shape = Shape::new(
    "monitor",
    &[
        Field::server("id"),
        Field::server("created_on"),
        Field::server("modified_on"),
        Field::new("allow_insecure", Kind::Bool).default(Default::Bool(false)),
        Field::new("consecutive_down", IN_A_ROW).default(Default::Integer(0)),
        Field::new("consecutive_up", IN_A_ROW).default(Default::Integer(0)),
        Field::new("description", FREE).default(Default::Text("")),
        Field::new("expected_body", Kind::Text { min: 0, max: EXPECTED_MAX, form: Form::Any })
            .default(Default::Text("")),
        Field::new("expected_codes", Kind::Text { min: 0, max: TEXT_MAX, form: Form::Codes })
            .default(Default::Text("")),
        Field::new("follow_redirects", Kind::Bool).default(Default::Bool(false)),
        Field::new("header", HEADER).default(Default::Object),
        Field::new("interval", INTERVAL).default(Default::Integer(INTERVAL_DEFAULT)),
        Field::new("method", Kind::Text { min: 0, max: 32, form: Form::Any }),
        Field::new("path", Kind::Text { min: 0, max: URL_MAX, form: Form::Target }),
        Field::new("port", PORT).null(Null::Kept).default(Default::Integer(0)),
        Field::new("probe_zone", Kind::Text { min: 0, max: 253, form: Form::HostOrNone })
            .default(Default::Text(""))
            .stored("probes have the settings of no zone"),
        Field::new("retries", RETRIES).default(Default::Integer(RETRIES_DEFAULT)),
        Field::new("timeout", TIMEOUT).default(Default::Integer(TIMEOUT_DEFAULT)),
        Field::new(
            "type",
            Kind::Choice(&["http", "https", "tcp", "udp_icmp", "icmp_ping", "smtp"]),
        )
        .default(Default::Text("http"))
        .only(&["http", "https", "tcp"], PROBED),
    ],
)
.rules(&[probes_apart, ports_needed, http_method, own_agent]);

/// A probe with all its retries ends before the next one begins.
pub(crate) fn probes_apart(object: &Map<String, Value>, faults: &mut Faults) {
    let interval = whole(object, "interval", INTERVAL_DEFAULT);
    let timeout = whole(object, "timeout", TIMEOUT_DEFAULT);
    let retries = whole(object, "retries", RETRIES_DEFAULT);
    let (Some(interval), Some(timeout), Some(retries)) = (interval, timeout, retries) else {
        return;
    };
    let longest = retries.saturating_add(1).saturating_mul(timeout);
    if interval <= longest {
        let name = ["interval", "timeout", "retries"].into_iter().find(|n| object.contains_key(*n));
        let what = format!(
            "makes probes overlap: the interval ({interval} s) must be longer than \
             (retries + 1) * timeout ({longest} s)"
        );
        faults.add_at(name.unwrap_or("interval"), what);
    }
}

/// There is no usual port for UDP.
fn ports_needed(object: &Map<String, Value>, faults: &mut Faults) {
    let needs = matches!(text(object, "type"), Some("udp_icmp"));
    if needs && whole(object, "port", 0) == Some(0) {
        faults.add_at(
            "port",
            "is required for type \"udp_icmp\": a whole number in range [1, 65535]",
        );
    }
}

/// What a method may be depends on the type: other types have words of their own for it.
fn http_method(object: &Map<String, Value>, faults: &mut Faults) {
    let http = matches!(text(object, "type").unwrap_or("http"), "http" | "https");
    let Some(method) = text(object, "method") else { return };
    if http && !METHODS.contains(&method) {
        faults.add_at("method", "must be one of \"GET\", \"HEAD\", \"OPTIONS\" for this type");
    }
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if !http && !method.bytes().all(word) {
        faults.add_at("method", "must be a word, as \"connection_established\"");
    }
}

/// Origins know probes by their User-Agent.
pub(crate) fn own_agent(object: &Map<String, Value>, faults: &mut Faults) {
    let header = given(object, "header").and_then(Value::as_object);
    for name in header.into_iter().flat_map(Map::keys) {
        if name.eq_ignore_ascii_case("user-agent") {
            faults.within("header", |faults| {
                faults.add_at(name, "cannot be set: probes have a User-Agent of their own");
            });
        }
    }
}

static MEMBER: Kind = Kind::Object(&MONITOR_GROUP_MEMBER);
/// One monitor of a group.
static MONITOR_GROUP_MEMBER: Shape = Shape::new(
    "monitor group member",
    &[
        Field::server("created_at"),
        Field::server("updated_at"),
        Field::new("enabled", Kind::Bool).required(),
        Field::new("monitor_id", ID).required(),
        Field::new("monitoring_only", Kind::Bool).required(),
        Field::new("must_be_healthy", Kind::Bool).required(),
    ],
);

/// A group of monitors that decide together.
pub static MONITOR_GROUP: Shape = Shape::new(
    "monitor group",
    &[
        Field::server("id"),
        Field::server("created_on"),
        Field::server("modified_on"),
        Field::new("description", FREE).required(),
        Field::new("members", Kind::Array { of: &MEMBER, min: 1, max: LIST_MAX, unique: false })
            .required(),
    ],
)
.rules(&[members_differ])
.stored("pools with a group are probed by none of its monitors");

fn members_differ(object: &Map<String, Value>, faults: &mut Faults) {
    unique_in(object, "members", "monitor_id", faults);
}

/// No two elements of a list have the same text in a property. Elements beyond [`LIST_MAX`] are
/// not looked at: the list is refused for its length.
pub(crate) fn unique_in(
    object: &Map<String, Value>,
    list: &str,
    property: &str,
    faults: &mut Faults,
) {
    let mut seen = std::collections::BTreeSet::new();
    let elements = given(object, list).and_then(Value::as_array);
    for (index, element) in elements.into_iter().flatten().take(LIST_MAX).enumerate() {
        let Some(text) = element.get(property).and_then(Value::as_str) else { continue };
        if !seen.insert(text.to_ascii_lowercase()) {
            let what = "is that of an earlier element: value not unique";
            faults.within(list, |f| f.within(index, |f| f.add_at(property, what)));
        }
    }
}
