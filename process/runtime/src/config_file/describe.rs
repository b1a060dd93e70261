//! Each object of a configuration as a list of fields, in the file's words: what `diff` compares.
//! Fields are made where somebody asks for them: most objects of two configurations are the same.

mod packet;

use super::text::{show_size, show_time};
use core_model::Config;
use core_model::config::{
    Action, Certificate, ClientAuth, Control, HeaderRules, HttpsRedirect, List, Listener,
    LoadBalancer, LogTarget, Monitor, Origin, PathMatch, PinnedBytes, Pool, PoolId, PoolSteering,
    RouteRules, Tls,
};
use std::fmt::Debug;
use std::sync::Arc;

/// Hexadecimal digits of a fingerprint that people compare.
const FINGERPRINT_DIGITS: usize = 12;
/// Parts of field names whose values are secrets.
const SECRET: [&str; 6] = ["authorization", "cookie", "key", "password", "secret", "token"];

/// One field: path, and value as people read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Field {
    /// Path within the object.
    pub(crate) path: String,
    /// Value as it is shown.
    pub(crate) shown: String,
}

/// One object: kind and name, and what its fields are made of.
pub(crate) struct Object<'c> {
    /// `pool api`, or `runtime`.
    pub(crate) name: String,
    config: &'c Config,
    what: What<'c>,
}

/// What an object is.
enum What<'c> {
    /// A table of which there is one.
    Process(&'static str),
    Control(&'c Control),
    Listener(&'c Listener),
    Monitor(&'c Arc<Monitor>),
    Pool(&'c Arc<Pool>),
    Rules(&'c RouteRules),
    LoadBalancer(&'c Arc<LoadBalancer>),
    /// Of the packet path.
    Packet(Vec<Field>),
}

impl<'c> Object<'c> {
    /// Whether both are the same object, or certainly equal.
    pub(crate) fn is(&self, other: &Self) -> bool {
        match (&self.what, &other.what) {
            (What::Monitor(one), What::Monitor(other)) => Arc::ptr_eq(one, other),
            (What::Pool(one), What::Pool(other)) => Arc::ptr_eq(one, other),
            (What::LoadBalancer(one), What::LoadBalancer(other)) => Arc::ptr_eq(one, other),
            (What::Listener(one), What::Listener(other)) => one == other,
            (What::Rules(one), What::Rules(other)) => one == other,
            _ => false,
        }
    }

    /// Its fields.
    pub(crate) fn fields(&self) -> Vec<Field> {
        let described = match &self.what {
            What::Process(which) => process(self.config, which),
            What::Control(one) => control(one),
            What::Listener(one) => listener(one),
            What::Monitor(one) => monitor(one),
            What::Pool(one) => pool(self.config, one),
            What::Rules(rules) => layer(rules),
            What::LoadBalancer(one) => load_balancer(self.config, one),
            What::Packet(fields) => return fields.clone(),
        };
        described.0
    }
}

/// The objects of `config`, in the order of the file's kinds, without those that `other` has at the
/// same place.
pub(crate) fn objects<'c>(config: &'c Config, other: &Config) -> Vec<Object<'c>> {
    let object = |name: String, what: What<'c>| Object { name, config, what };
    let mut all: Vec<Object<'c>> = Vec::new();
    for which in ["runtime", "admin", "logging"] {
        all.push(object(which.to_owned(), What::Process(which)));
    }
    if let Some(one) = &config.control {
        all.push(object("control".to_owned(), What::Control(one)));
    }
    for one in &config.listeners {
        all.push(object(format!("listener {}", one.name), What::Listener(one)));
    }
    for one in others(&config.monitors, &other.monitors) {
        all.push(object(format!("monitor {}", one.name), What::Monitor(one)));
    }
    for one in others(&config.pools, &other.pools) {
        all.push(object(format!("pool {}", one.name), What::Pool(one)));
    }
    all.push(object("account".to_owned(), What::Rules(&config.account.rules)));
    for one in others(&config.zones, &other.zones) {
        all.push(object(format!("zone {}", one.name), What::Rules(&one.rules)));
    }
    for one in others(&config.load_balancers, &other.load_balancers) {
        all.push(object(format!("load_balancer {}", one.name), What::LoadBalancer(one)));
    }
    if config.packet != other.packet {
        for described in config.packet.iter().flat_map(packet::objects) {
            all.push(object(described.name, What::Packet(described.fields)));
        }
    }
    all
}

/// Objects of a list that do not stand at the same place of another one.
fn others<'c, T>(list: &'c List<T>, other: &List<T>) -> impl Iterator<Item = &'c Arc<T>> {
    let shared = if Arc::ptr_eq(list, other) { list.len() } else { 0 };
    let all = list.iter().enumerate().skip(shared);
    let same = |at: usize, one: &Arc<T>| other.get(at).is_some_and(|other| Arc::ptr_eq(one, other));
    all.filter(move |(at, one)| !same(*at, one)).map(|(_, one)| one)
}

/// An object of the packet path.
struct Described {
    name: String,
    fields: Vec<Field>,
}

struct Fields(Vec<Field>);

impl Fields {
    fn add(&mut self, path: &str, shown: impl ToString) -> &mut Self {
        self.0.push(Field { path: path.to_owned(), shown: shown.to_string() });
        self
    }

    fn word(&mut self, path: &str, value: impl Debug) -> &mut Self {
        self.add(path, format!("{value:?}"))
    }

    fn maybe(&mut self, path: &str, value: Option<impl ToString>) -> &mut Self {
        let shown = value.map_or_else(|| "none".to_owned(), |value| value.to_string());
        self.add(path, shown)
    }

    fn all<T: ToString>(&mut self, path: &str, values: &[T]) -> &mut Self {
        let values: Vec<String> = values.iter().map(T::to_string).collect();
        self.add(path, format!("[{}]", values.join(", ")))
    }

    fn named(self, name: String) -> Described {
        Described { name, fields: self.0 }
    }
}

fn process(config: &Config, which: &str) -> Fields {
    let mut fields = Fields(Vec::new());
    let (runtime, logging) = (&config.runtime, &config.logging);
    match which {
        "runtime" => fields
            .add("workers", runtime.workers)
            .maybe("user", runtime.user.as_ref())
            .maybe("group", runtime.group.as_ref())
            .add("drain_timeout", show_time(runtime.drain_timeout))
            .add("dns_min_ttl", show_time(runtime.dns_min_ttl))
            .add("dns_max_ttl", show_time(runtime.dns_max_ttl))
            .all("dns_servers", &runtime.dns_servers),
        "admin" => fields.maybe("address", config.admin.address.as_ref()),
        _ => {
            let access = logging.access.as_ref();
            let target = access.map(|access| match &access.target {
                LogTarget::Stdout => "stdout".to_owned(),
                LogTarget::File(file) => file.display().to_string(),
            });
            let format = access.map(|access| format!("{:?}", access.format));
            fields
                .word("level", logging.level)
                .word("format", logging.format)
                .maybe("access.path", target)
                .maybe("access.format", format)
                .maybe("access.buffer_lines", access.map(|access| access.buffer_lines))
        }
    };
    fields
}

fn control(control: &Control) -> Fields {
    let mut fields = Fields(Vec::new());
    let file = |path: &Option<std::path::PathBuf>| path.as_ref().map(|p| p.display().to_string());
    fields
        .all("urls", &control.urls)
        .maybe("join_token_file", file(&control.join_token_file))
        .maybe("state", file(&control.state))
        .maybe("name", control.name.as_ref());
    fields
}

fn listener(listener: &Listener) -> Fields {
    let mut fields = Fields(Vec::new());
    let (limits, timeouts) = (&listener.limits, &listener.timeouts);
    fields
        .add("address", listener.address)
        .word("protocols", &listener.protocols)
        .add("backlog", listener.backlog)
        .all("trusted_proxies", &listener.trusted_proxies)
        .word("header_names", listener.header_names)
        .add("limits.header_bytes", show_size(limits.header_bytes as u64))
        .add("limits.header_count", limits.header_count)
        .add("limits.uri_bytes", show_size(limits.uri_bytes as u64))
        .add("limits.body_bytes", show_size(limits.body_bytes))
        .add("limits.requests_per_connection", limits.requests_per_connection)
        .add("limits.streams_per_connection", limits.streams_per_connection)
        .add("limits.connections", limits.connections)
        .add("limits.connections_per_source", limits.connections_per_source)
        .add("limits.body_min_rate", limits.body_min_rate)
        .add("timeouts.handshake", show_time(timeouts.handshake))
        .add("timeouts.first_byte", show_time(timeouts.first_byte))
        .add("timeouts.head", show_time(timeouts.head))
        .add("timeouts.body_idle", show_time(timeouts.body_idle))
        .add("timeouts.keepalive", show_time(timeouts.keepalive))
        .add("timeouts.tunnel_idle", show_time(timeouts.tunnel_idle));
    let proxy = listener.proxy_protocol.as_ref();
    fields.add("proxy_protocol", proxy.is_some());
    if let Some(proxy) = proxy {
        fields
            .all("proxy_protocol.trusted", &proxy.trusted)
            .add("proxy_protocol.timeout", show_time(proxy.timeout));
    }
    fields.add("tls", listener.tls.is_some());
    if let Some(tls) = &listener.tls {
        self::tls(&mut fields, tls);
    }
    rules(&mut fields, "", &listener.rules);
    fields
}

fn tls(fields: &mut Fields, tls: &Tls) {
    for (index, one) in tls.certificates.iter().enumerate() {
        certificate(fields, &format!("tls.certificates[{index}]"), one);
    }
    let (word, authorities) = match &tls.client_auth {
        ClientAuth::None => ("none", None),
        ClientAuth::Optional { authorities, file } => ("optional", Some((authorities, file))),
        ClientAuth::Required { authorities, file } => ("required", Some((authorities, file))),
    };
    let keys: Vec<String> = tls.ticket_keys.iter().map(fingerprint).collect();
    let crls =
        tls.crls.iter().map(|one| format!("{} {}", one.file.display(), together(&one.lists)));
    let crls: Vec<String> = crls.collect();
    fields
        .add("tls.client_auth", word)
        .maybe(
            "tls.client_ca",
            authorities.map(|(all, file)| format!("{} {}", file.display(), together(all))),
        )
        .all("tls.crls", &crls)
        .word("tls.min_version", tls.min_version)
        .add("tls.strict_sni", tls.strict_sni)
        .all("tls.ticket_keys", &keys)
        .add("tls.ticket_rotation", show_time(tls.ticket_rotation));
}

fn certificate(fields: &mut Fields, path: &str, one: &Certificate) {
    let (file, key) = (one.certificate_file.display(), one.key_file.display());
    fields
        .add(&format!("{path}.certificate"), format!("{file} {}", together(&one.chain)))
        .add(&format!("{path}.key"), format!("{key} {}", fingerprint(&one.key)))
        .maybe(&format!("{path}.ocsp"), one.ocsp.as_ref().map(fingerprint));
}

fn monitor(monitor: &Monitor) -> Fields {
    let mut fields = Fields(Vec::new());
    fields
        .word("type", monitor.kind)
        .add("method", &monitor.method)
        .add("path", &monitor.path)
        .maybe("port", monitor.port)
        .add("interval", show_time(monitor.interval))
        .add("timeout", show_time(monitor.timeout))
        .add("retries", monitor.retries)
        .add("consecutive_up", monitor.consecutive_up)
        .add("consecutive_down", monitor.consecutive_down)
        .all("expected_codes", &monitor.expected_codes.iter().map(codes).collect::<Vec<_>>())
        .word("expected_body", &monitor.expected_body)
        .add("follow_redirects", monitor.follow_redirects)
        .add("allow_insecure", monitor.allow_insecure);
    for (name, values) in &monitor.header {
        fields.add(&format!("header.{name}"), secret(name, &values.join(", ")));
    }
    fields
}

fn codes(range: &core_model::config::CodeRange) -> String {
    match range.first == range.last {
        true => range.first.to_string(),
        false => format!("{}-{}", range.first, range.last),
    }
}

fn pool(config: &Config, pool: &Pool) -> Fields {
    let mut fields = Fields(Vec::new());
    let monitor = pool.monitor.and_then(|id| config.monitors.get(id.0));
    let (breakers, outlier) = (&pool.circuit_breakers, &pool.outlier_ejection);
    fields
        .add("enabled", pool.enabled)
        .word("description", &pool.description)
        .maybe("monitor", monitor.map(|monitor| monitor.name.as_ref()))
        .add("minimum_origins", pool.minimum_origins)
        .word("origin_steering.policy", pool.origin_steering)
        .word("protocols", pool.protocols)
        .maybe("proxy_protocol", pool.proxy_protocol.map(|version| format!("{version:?}")))
        .maybe("source_address", pool.source_address)
        .add("keepalive.connections", pool.keepalive.connections)
        .add("keepalive.idle", show_time(pool.keepalive.idle))
        .add("keepalive.requests", pool.keepalive.requests)
        .add("timeouts.connect", show_time(pool.timeouts.connect))
        .add("timeouts.handshake", show_time(pool.timeouts.handshake))
        .add("timeouts.reply", show_time(pool.timeouts.reply))
        .add("timeouts.idle", show_time(pool.timeouts.idle))
        .add("retries.attempts", pool.retries.attempts)
        .add("retries.budget_percent", pool.retries.budget_percent)
        .add("retries.budget_min", pool.retries.budget_min)
        .add("circuit_breakers.connections", breakers.connections)
        .add("circuit_breakers.pending", breakers.pending)
        .add("circuit_breakers.requests", breakers.requests)
        .add("outlier_ejection.consecutive_failures", outlier.consecutive_failures)
        .add("outlier_ejection.base_time", show_time(outlier.base_time))
        .add("outlier_ejection.max_time", show_time(outlier.max_time))
        .add("outlier_ejection.max_percent", outlier.max_percent)
        .add("slow_start", show_time(pool.slow_start))
        .all("deny_addresses", &pool.deny_addresses)
        .add("tls", pool.tls.is_some());
    if let Some(tls) = &pool.tls {
        let ca = tls.ca_file.as_ref();
        fields
            .maybe("tls.server_name", tls.server_name.as_ref())
            .add("tls.verify", tls.verify)
            .all("tls.ports", &tls.ports)
            .maybe(
                "tls.ca",
                ca.map(|ca| format!("{} {}", ca.display(), together(&tls.authorities))),
            );
        if let Some(client) = &tls.client_certificate {
            certificate(&mut fields, "tls", client);
        }
    }
    for origin in &pool.origins {
        self::origin(&mut fields, origin);
    }
    fields
}

fn origin(fields: &mut Fields, origin: &Origin) {
    let path = |key: &str| format!("origins.{}.{key}", origin.name);
    fields
        .add(&path("address"), format!("{}:{}", origin.address, origin.port))
        .add(&path("weight"), f64::from(origin.weight) / 100.0)
        .add(&path("enabled"), origin.enabled)
        .maybe(&path("header.Host"), origin.host_header.as_ref());
}

fn load_balancer(config: &Config, balancer: &LoadBalancer) -> Fields {
    let mut fields = Fields(Vec::new());
    let listeners = balancer.listeners.iter().filter_map(|id| config.listeners.get(id.0));
    let listeners: Vec<&str> = listeners.map(|listener| listener.name.as_ref()).collect();
    fields
        .add("enabled", balancer.enabled)
        .word("description", &balancer.description)
        .all("listeners", &listeners)
        .add("tls.require_client_certificate", balancer.require_client_certificate);
    action(&mut fields, config, "", &balancer.default);
    rules(&mut fields, "", &balancer.rules);
    for route in &balancer.routes {
        let path = match &route.path {
            PathMatch::Exact(path) => format!("routes[path {path}]."),
            PathMatch::Prefix(path) => format!("routes[path_prefix {path}]."),
        };
        action(&mut fields, config, &path, &route.action);
        rules(&mut fields, &path, &route.rules);
    }
    fields
}

fn action(fields: &mut Fields, config: &Config, path: &str, action: &Action) {
    let name = |id: &PoolId| config.pools.get(id.0).map_or("?", |pool| pool.name.as_ref());
    match action {
        Action::Proxy { pools, fallback, steering } => {
            let names: Vec<&str> = pools.iter().map(name).collect();
            fields
                .all(&format!("{path}default_pools"), &names)
                .add(&format!("{path}fallback_pool"), name(fallback));
            let steering = match steering {
                PoolSteering::Off => "off".to_owned(),
                PoolSteering::Random(tenths) => {
                    let weights = tenths.iter().map(|tenths| f64::from(*tenths) / 10.0);
                    format!("random {:?}", weights.collect::<Vec<f64>>())
                }
            };
            fields.add(&format!("{path}steering_policy"), steering);
        }
        Action::Redirect(redirect) => {
            let star = if redirect.append_path { "*" } else { "" };
            let shown = format!("{} {}{star}", redirect.status, redirect.location);
            fields.add(&format!("{path}redirect"), shown);
        }
    }
}

fn rules(fields: &mut Fields, path: &str, rules: &RouteRules) {
    let hsts = rules.hsts.as_ref().map(|hsts| {
        let age = show_time(hsts.max_age);
        let subdomains = if hsts.include_subdomains { " include_subdomains" } else { "" };
        format!("{age}{subdomains}{}", if hsts.preload { " preload" } else { "" })
    });
    let redirect = rules.redirect_https.map(|redirect| match redirect {
        HttpsRedirect::Off => "false".to_owned(),
        HttpsRedirect::To(port) => port.to_string(),
    });
    fields
        .maybe(&format!("{path}redirect_https"), redirect)
        .maybe(&format!("{path}hsts"), hsts)
        .maybe(&format!("{path}strip_prefix"), rules.strip_prefix.as_ref())
        .maybe(&format!("{path}add_prefix"), rules.add_prefix.as_ref());
    headers(fields, &format!("{path}request_headers"), &rules.request_headers);
    headers(fields, &format!("{path}response_headers"), &rules.response_headers);
}

fn layer(rules: &RouteRules) -> Fields {
    let mut fields = Fields(Vec::new());
    self::rules(&mut fields, "", rules);
    fields
}

fn headers(fields: &mut Fields, path: &str, rules: &HeaderRules) {
    for (name, value) in &rules.set {
        fields.add(&format!("{path}.set.{name}"), secret(name, value));
    }
    fields.all(&format!("{path}.remove"), &rules.remove);
}

/// Whether a header's name says that its value is a secret.
#[must_use]
pub fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET.iter().any(|part| name.contains(part))
}

/// A field value, or its fingerprint where the name says that it is a secret.
fn secret(name: &str, value: &str) -> String {
    match is_secret(name) {
        true => format!("(hidden, {})", digest([value.as_bytes()].into_iter())),
        false => format!("{value:?}"),
    }
}

fn fingerprint(bytes: &PinnedBytes) -> String {
    together(std::slice::from_ref(bytes))
}

fn together(all: &[PinnedBytes]) -> String {
    digest(all.iter().map(|bytes| bytes.0.as_ref()))
}

fn digest<'b>(parts: impl Iterator<Item = &'b [u8]>) -> String {
    let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    parts.for_each(|part| context.update(part));
    let hex: String = context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256 {}", hex.get(..FINGERPRINT_DIGITS).unwrap_or(&hex))
}
