//! Accounts, zones and users: who owns what.

use crate::shape::{Default, Field, Form, ID, Kind, LIST_MAX, Null, Shape, TEXT_MAX};

static UNIT: Shape = Shape::new("unit", &[Field::new("id", SHORT)]);
static SETTINGS: Shape = Shape::new(
    "account settings",
    &[
        Field::new("abuse_contact_email", Kind::Text { min: 0, max: TEXT_MAX, form: Form::Emails })
            .stored("no report is sent"),
        Field::new("enforce_twofactor", Kind::Bool)
            .default(Default::Bool(false))
            .stored("calls are authenticated by tokens, which have one factor"),
    ],
);
const SHORT: Kind = Kind::Text { min: 0, max: 100, form: Form::Any };

/// An account. `type` is returned where it was not sent: every client expects it.
pub static ACCOUNT: Shape = Shape::new(
    "account",
    &[
        Field::server("id"),
        Field::server("created_on"),
        Field::server("managed_by"),
        Field::new("name", Kind::Text { min: 1, max: 100, form: Form::Any }).required(),
        Field::new("settings", Kind::Object(&SETTINGS)),
        Field::new("type", Kind::Choice(&["standard", "enterprise"]))
            .shown(Default::Text("standard")),
        Field::new("unit", Kind::Object(&UNIT)).forgotten("accounts stand beside each other"),
    ],
);

static OWNER: Shape =
    Shape::new("owner", &[Field::new("id", ID).required(), Field::server("name")]);
/// Cloudflare's Rust client sends the id alone.
static OWNER_OBJECT: Kind = Kind::Object(&OWNER);
static OWNER_ID: Kind = ID;
static NAME_SERVER: Kind = Kind::Text { min: 1, max: 253, form: Form::Host };

/// A zone. What Cloudflare tells of registrars, plans and name servers is the server's.
pub static ZONE: Shape = Shape::new(
    "zone",
    &[
        Field::server("id"),
        Field::server("activated_on"),
        Field::server("cname_suffix"),
        Field::server("created_on"),
        Field::server("development_mode"),
        Field::server("meta"),
        Field::server("modified_on"),
        Field::server("name_servers"),
        Field::server("original_dnshost"),
        Field::server("original_name_servers"),
        Field::server("original_registrar"),
        Field::server("owner"),
        Field::server("permissions"),
        Field::server("plan"),
        Field::server("status"),
        Field::server("tenant"),
        Field::server("tenant_unit"),
        Field::server("verification_key"),
        Field::new("account", Kind::Either(&OWNER_OBJECT, &OWNER_ID)).required().fixed(),
        Field::new("jump_start", Kind::Bool)
            .null(Null::Removes)
            .forgotten("there is no DNS to look for records in"),
        Field::new("name", Kind::Text { min: 1, max: 253, form: Form::Host }).required().fixed(),
        Field::new("paused", Kind::Bool)
            .shown(Default::Bool(false))
            .stored("the zone is served as if it were false"),
        Field::new("type", Kind::Choice(&["full", "partial", "secondary", "internal"]))
            .null(Null::Removes)
            .shown(Default::Text("full"))
            .ignored("zones differ in how DNS answers, which is not built"),
        Field::new(
            "vanity_name_servers",
            Kind::Array { of: &NAME_SERVER, min: 0, max: LIST_MAX, unique: true },
        )
        .default(Default::Array)
        .stored("DNS is answered elsewhere"),
    ],
);

const fn words(max: usize) -> Kind {
    Kind::Text { min: 0, max, form: Form::Any }
}

/// Whoever asks.
pub static USER: Shape = Shape::new(
    "user",
    &[
        Field::server("id"),
        Field::server("betas"),
        Field::server("email"),
        Field::server("has_business_zones"),
        Field::server("has_enterprise_zones"),
        Field::server("has_pro_zones"),
        Field::server("organizations"),
        Field::server("suspended"),
        Field::server("two_factor_authentication_enabled"),
        Field::server("two_factor_authentication_locked"),
        Field::new("country", words(30)).null(Null::Kept),
        Field::new("first_name", words(60)).null(Null::Kept),
        Field::new("last_name", words(60)).null(Null::Kept),
        Field::new("telephone", words(20)).null(Null::Kept),
        Field::new("zipcode", words(20)).null(Null::Kept),
    ],
);
