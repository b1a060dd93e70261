//! Health checks of zones: probes of one address that serve nothing.

use crate::monitor::{
    EXPECTED_MAX, HEADER, IN_A_ROW, INTERVAL, INTERVAL_DEFAULT, PORT, RETRIES, RETRIES_DEFAULT,
    TIMEOUT, TIMEOUT_DEFAULT, own_agent, probes_apart,
};
use crate::shape::{Default, FREE, Field, Form, Kind, Null, Shape, URL_MAX};

static CODE: Kind = Kind::Text { min: 3, max: 3, form: Form::Code };
static HTTP_CONFIG: Shape = Shape::new(
    "http configuration",
    &[
        Field::new("allow_insecure", Kind::Bool).default(Default::Bool(false)),
        Field::new("expected_body", Kind::Text { min: 0, max: EXPECTED_MAX, form: Form::Any })
            .default(Default::Text("")),
        Field::new("expected_codes", Kind::Array { of: &CODE, min: 0, max: 100, unique: false })
            .null(Null::Kept),
        Field::new("follow_redirects", Kind::Bool).default(Default::Bool(false)),
        Field::new("header", HEADER).null(Null::Kept),
        Field::new("method", Kind::Choice(&["GET", "HEAD"])).default(Default::Text("GET")),
        Field::new("path", Kind::Text { min: 0, max: URL_MAX, form: Form::Target })
            .default(Default::Text("/")),
        Field::new("port", PORT),
    ],
)
.rules(&[own_agent]);

static TCP_CONFIG: Shape = Shape::new(
    "tcp configuration",
    &[
        Field::new("method", Kind::Choice(&["connection_established"]))
            .default(Default::Text("connection_established")),
        Field::new("port", PORT),
    ],
);

static REGION: Kind = Kind::Choice(&[
    "WNAM",
    "ENAM",
    "WEU",
    "EEU",
    "NSAM",
    "SSAM",
    "OC",
    "ME",
    "NAF",
    "SAF",
    "IN",
    "SEAS",
    "NEAS",
    "ALL_REGIONS",
]);

/// A health check.
pub static HEALTHCHECK: Shape = Shape::new(
    "health check",
    &[
        Field::server("id"),
        Field::server("created_on"),
        Field::server("modified_on"),
        Field::server("failure_reason"),
        Field::server("status"),
        Field::new("address", Kind::Text { min: 1, max: 253, form: Form::Address }).required(),
        Field::new("check_regions", Kind::Array { of: &REGION, min: 0, max: 14, unique: true })
            .null(Null::Kept),
        Field::new("consecutive_fails", IN_A_ROW).default(Default::Integer(1)),
        Field::new("consecutive_successes", IN_A_ROW).default(Default::Integer(1)),
        Field::new("description", FREE).default(Default::Text("")),
        Field::new("http_config", Kind::Object(&HTTP_CONFIG)).null(Null::Kept),
        Field::new("interval", INTERVAL).default(Default::Integer(INTERVAL_DEFAULT)),
        Field::new("name", Kind::Text { min: 1, max: 255, form: Form::Name }).required(),
        Field::new("retries", RETRIES).default(Default::Integer(RETRIES_DEFAULT)),
        Field::new("suspended", Kind::Bool).default(Default::Bool(false)),
        Field::new("tcp_config", Kind::Object(&TCP_CONFIG)).null(Null::Kept),
        Field::new("timeout", TIMEOUT).default(Default::Integer(TIMEOUT_DEFAULT)),
        Field::new("type", Kind::Choice(&["HTTP", "HTTPS", "TCP"])).default(Default::Text("HTTP")),
    ],
)
.rules(&[probes_apart])
.stored("nothing is probed for it, and its status is unknown");
