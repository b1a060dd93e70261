//! Notifications: where they go (webhooks), and which alerts go there (policies).

use crate::shape::{Default, FREE, Field, Form, Kind, LIST_MAX, Null, Shape, URL_MAX};

const UNSENT: &str = "no notification is sent";

/// A webhook. Its type follows from the URL, and its secret is never returned.
pub static WEBHOOK: Shape = Shape::new(
    "webhook",
    &[
        Field::server("id"),
        Field::server("created_at"),
        Field::server("last_failure"),
        Field::server("last_success"),
        Field::server("type"),
        Field::new("name", Kind::Text { min: 1, max: 255, form: Form::Any }).required(),
        // It goes into a header field.
        Field::new("secret", Kind::Text { min: 0, max: 1_024, form: Form::FieldValue })
            .null(Null::Removes)
            .secret(),
        Field::new("url", Kind::Text { min: 1, max: URL_MAX, form: Form::Url }).required(),
    ],
)
.stored(UNSENT);

static DESTINATION: Kind = Kind::Object(&DESTINATION_SHAPE);
static DESTINATION_SHAPE: Shape = Shape::new(
    "destination",
    &[Field::new("id", Kind::Text { min: 1, max: 32, form: Form::Any }).required()],
);
static MAILBOX: Kind = Kind::Object(&MAILBOX_SHAPE);
static MAILBOX_SHAPE: Shape = Shape::new(
    "mailbox",
    &[Field::new("id", Kind::Text { min: 3, max: 320, form: Form::Email }).required()],
);
static MECHANISMS: Shape = Shape::new(
    "mechanism",
    &[
        Field::new("email", list(&MAILBOX)).null(Null::Removes),
        Field::new("pagerduty", list(&DESTINATION)).null(Null::Removes),
        Field::new("webhooks", list(&DESTINATION)).null(Null::Removes),
    ],
);

const fn list(of: &'static Kind) -> Kind {
    Kind::Array { of, min: 0, max: LIST_MAX, unique: false }
}

static WORD: Kind = Kind::Text { min: 1, max: 1_024, form: Form::Any };
/// A filter whose words are the business of its alert.
const fn filter(name: &'static str) -> Field {
    Field::new(name, list(&WORD))
}

static HEALTH: Kind = Kind::Choice(&["Healthy", "Unhealthy"]);
static SOURCE: Kind = Kind::Choice(&["pool", "origin"]);
static EXCLUSION: Kind = Kind::Choice(&["security_events"]);
static IMPACT: Kind = Kind::Choice(&[
    "INCIDENT_IMPACT_NONE",
    "INCIDENT_IMPACT_MINOR",
    "INCIDENT_IMPACT_MAJOR",
    "INCIDENT_IMPACT_CRITICAL",
]);

/// Filters; which ones an alert heeds depends on its type.
static FILTERS: Shape = Shape::new(
    "filter",
    &[
        filter("actions"),
        filter("affected_asns"),
        filter("affected_components"),
        filter("affected_locations"),
        filter("airport_code"),
        filter("alert_trigger_preferences"),
        filter("alert_trigger_preferences_value"),
        filter("enabled"),
        filter("environment"),
        filter("event"),
        Field::new("event_source", list(&SOURCE)),
        filter("event_type"),
        filter("group_by"),
        filter("health_check_id"),
        Field::new("incident_impact", list(&IMPACT)),
        filter("input_id"),
        filter("insight_class"),
        filter("limit"),
        filter("logo_tag"),
        filter("megabits_per_second"),
        Field::new("new_health", list(&HEALTH)),
        filter("new_status"),
        filter("packets_per_second"),
        filter("pool_id"),
        filter("pop_names"),
        filter("product"),
        filter("project_id"),
        filter("protocol"),
        filter("query_tag"),
        filter("requests_per_second"),
        filter("selectors"),
        filter("services"),
        filter("slo"),
        filter("status"),
        filter("target_hostname"),
        filter("target_ip"),
        filter("target_zone_name"),
        Field::new(
            "traffic_exclusions",
            Kind::Array { of: &EXCLUSION, min: 0, max: 1, unique: true },
        ),
        filter("tunnel_id"),
        filter("tunnel_name"),
        filter("type"),
        filter("where"),
        filter("zones"),
    ],
);

/// Every alert that Cloudflare has; those that Weir raises are listed by the API itself.
pub static ALERT_TYPES: &[&str] = &[
    "abuse_report_alert",
    "access_custom_certificate_expiration_type",
    "advanced_ddos_attack_l4_alert",
    "advanced_ddos_attack_l7_alert",
    "advanced_http_alert_error",
    "bgp_hijack_notification",
    "billing_usage_alert",
    "block_notification_block_removed",
    "block_notification_new_block",
    "block_notification_review_rejected",
    "bot_traffic_basic_alert",
    "brand_protection_alert",
    "brand_protection_digest",
    "clickhouse_alert_fw_anomaly",
    "clickhouse_alert_fw_ent_anomaly",
    "cloudforce_one_request_notification",
    "cni_maintenance_notification",
    "custom_analytics",
    "custom_bot_detection_alert",
    "custom_ssl_certificate_event_type",
    "dedicated_ssl_certificate_event_type",
    "device_connectivity_anomaly_alert",
    "dos_attack_l4",
    "dos_attack_l7",
    "expiring_service_token_alert",
    "failing_logpush_job_disabled_alert",
    "fbm_auto_advertisement",
    "fbm_dosd_attack",
    "fbm_volumetric_attack",
    "health_check_status_notification",
    "hostname_aop_custom_certificate_expiration_type",
    "http_alert_edge_error",
    "http_alert_origin_error",
    "image_notification",
    "image_resizing_notification",
    "incident_alert",
    "load_balancing_health_alert",
    "load_balancing_pool_enablement_alert",
    "logo_match_alert",
    "magic_tunnel_health_check_event",
    "magic_wan_tunnel_health",
    "maintenance_event_notification",
    "mtls_certificate_store_certificate_expiration_type",
    "pages_event_alert",
    "radar_notification",
    "real_origin_monitoring",
    "scriptmonitor_alert_new_code_change_detections",
    "scriptmonitor_alert_new_hosts",
    "scriptmonitor_alert_new_malicious_hosts",
    "scriptmonitor_alert_new_malicious_scripts",
    "scriptmonitor_alert_new_malicious_url",
    "scriptmonitor_alert_new_max_length_resource_url",
    "scriptmonitor_alert_new_resources",
    "secondary_dns_all_primaries_failing",
    "secondary_dns_primaries_failing",
    "secondary_dns_warning",
    "secondary_dns_zone_successfully_updated",
    "secondary_dns_zone_validation_warning",
    "security_insights_alert",
    "sentinel_alert",
    "stream_live_notifications",
    "synthetic_test_latency_alert",
    "synthetic_test_low_availability_alert",
    "traffic_anomalies_alert",
    "tunnel_health_event",
    "tunnel_update_event",
    "universal_ssl_event_type",
    "web_analytics_metrics_update",
    "zone_aop_custom_certificate_expiration_type",
];

/// A notification policy. PUT leaves what is not sent, since it requires nothing.
pub static POLICY: Shape = Shape::new(
    "notification policy",
    &[
        Field::server("id"),
        Field::server("created"),
        Field::server("modified"),
        Field::new("alert_interval", Kind::Text { min: 0, max: 32, form: Form::Any }),
        Field::new("alert_type", Kind::Choice(ALERT_TYPES)).required(),
        Field::new("description", FREE),
        Field::new("enabled", Kind::Bool).required().default(Default::Bool(true)),
        Field::new("filters", Kind::Object(&FILTERS)).null(Null::Removes),
        Field::new("mechanisms", Kind::Object(&MECHANISMS)).required(),
        Field::new("name", Kind::Text { min: 1, max: 255, form: Form::Any }).required(),
    ],
)
.put_merges()
.stored(UNSENT);
