//! `[[load_balancer]]` and its routes.

use super::super::Root;
use super::super::table::{Item, Table, Value};
use super::super::text::{parse_host, quote};
use super::{Builder, name_of};
use core_model::config::{
    Action, LoadBalancer, Name, PathMatch, PoolId, PoolSteering, Redirect, Route, RouteRules,
};
use core_wire::path;
use std::cmp::Reverse;
use std::collections::BTreeMap;

impl Builder<'_> {
    pub(crate) fn load_balancer(&mut self, table: &Table) -> Option<LoadBalancer> {
        let default = self.action(table);
        let mut rules = self.rules(table);
        rules.strip_prefix = None;
        let mut listeners = Vec::new();
        for (index, item) in table.list("listeners").iter().enumerate() {
            let path = format!("{}[{index}]", table.path_of("listeners"));
            let id = self.listener_id(item.text()?, item.at, &path);
            listeners.extend(id);
        }
        let mut routes = Some(Vec::new());
        let mut paths = BTreeMap::new();
        for route in table.tables("routes") {
            let built = self.route(route, &mut paths);
            match (built, routes.as_mut()) {
                (Some(route), Some(routes)) => routes.push(route),
                _ => routes = None,
            }
        }
        let mut routes = routes?;
        routes.sort_by_key(|route| match &route.path {
            PathMatch::Exact(path) => (0, Reverse(path.len())),
            PathMatch::Prefix(path) => (1, Reverse(path.len())),
        });
        Some(LoadBalancer {
            name: name_of(table)?,
            host: parse_host(table.text("name")?)?,
            enabled: table.bool("enabled"),
            description: table.text("description")?.to_owned(),
            listeners,
            require_client_certificate: table
                .table("tls")
                .is_some_and(|tls| tls.bool("require_client_certificate")),
            default: default?,
            routes,
            rules,
        })
    }

    /// No two load balancers have the same host.
    pub(super) fn compare_hosts(&mut self, roots: &[Root]) {
        let mut seen = BTreeMap::new();
        for table in roots.iter().flat_map(|root| root.table.tables("load_balancer")) {
            let Some(name) = table.text("name") else { continue };
            let at = table.at_of("name");
            let Some(host) = parse_host(name).map(|host| format!("{host:?}")) else { continue };
            if let Some(first) = seen.insert(host, at) {
                let first = self.report.point(first);
                let what = format!("the host {} stands at {first} already", quote(name));
                self.fault(table, "name", what, "each host once; routes for its paths");
            }
        }
    }

    /// A host that needs client certificates has a listener that asks for them.
    pub(super) fn compare_client_auth(&mut self, roots: &[Root]) {
        let listeners: Vec<&Table> =
            roots.iter().flat_map(|root| root.table.tables("listener")).collect();
        for table in roots.iter().flat_map(|root| root.table.tables("load_balancer")) {
            let Some(tls) = table.table("tls") else { continue };
            if !tls.bool("require_client_certificate") {
                continue;
            }
            let names: Vec<&str> = table.list("listeners").iter().filter_map(Item::text).collect();
            let asks = |listener: &&Table| {
                let here =
                    names.is_empty() || listener.text("name").is_some_and(|n| names.contains(&n));
                let word = listener.table("tls").and_then(|tls| tls.text("client_auth"));
                here && word.is_some_and(|word| word != "none")
            };
            if !listeners.iter().any(asks) {
                let what = "no listener of this host asks for client certificates";
                let valid = "client_auth = \"optional\" in [listener.tls] of one of them";
                self.fault(tls, "require_client_certificate", what, valid);
            }
        }
    }

    fn action(&mut self, table: &Table) -> Option<Action> {
        let pools = table.list("default_pools");
        if let Some(redirect) = table.table("redirect") {
            for key in ["default_pools", "fallback_pool"] {
                if table.given(key) {
                    let what = format!("`{key}` has no effect beside `redirect`");
                    self.fault(table, key, what, "one of the two");
                }
            }
            return redirection(redirect).map(Action::Redirect);
        }
        let unsaid = !table.given("default_pools") && !table.given("redirect");
        if unsaid && !self.report.source_broken(table.at.source) {
            let what = "it says nothing about where requests go";
            let valid = "default_pools = [\"…\"], or redirect = { location = \"…\" }";
            self.report.fault(table.at, &table.path, what, valid);
        }
        let mut ids: Vec<(PoolId, &str)> = Vec::new();
        for (index, item) in pools.iter().enumerate() {
            let name = item.text()?;
            let path = format!("{}[{index}]", table.path_of("default_pools"));
            let Some(id) = self.pool_id(name, item.at, &path) else { continue };
            if ids.iter().any(|(other, _)| *other == id) {
                let what = format!("{} stands in the list twice", quote(name));
                self.report.fault(item.at, &path, what, "each pool once");
            }
            ids.push((id, name));
        }
        let fallback = match table.text("fallback_pool") {
            Some(name) => {
                let (at, path) = (table.at_of("fallback_pool"), table.path_of("fallback_pool"));
                self.pool_id(name, at, &path)
            }
            None => ids.last().map(|(id, _)| *id),
        };
        let steering = self.steering(table, &ids);
        let pools: Vec<PoolId> = ids.into_iter().map(|(id, _)| id).collect();
        Some(Action::Proxy { pools, fallback: fallback?, steering })
    }

    fn steering(&mut self, table: &Table, pools: &[(PoolId, &str)]) -> PoolSteering {
        let Some(random) = table.table("random_steering") else { return PoolSteering::Off };
        let weights = random.map("pool_weights");
        for (name, item) in weights {
            let path = format!("{}.{name}", random.path_of("pool_weights"));
            let id = self.pool_id(name, item.at, &path);
            let listed = id.is_none_or(|id| pools.iter().any(|(listed, _)| *listed == id));
            if !listed {
                let what = format!("{} is not one of default_pools", quote(name));
                let names: Vec<&str> = pools.iter().map(|(_, name)| *name).collect();
                self.report.fault(item.at, &path, what, names.join(", "));
            }
        }
        if table.text("steering_policy") != Some("random") {
            if table.given("random_steering") && !table.refused("steering_policy") {
                let what = "it has no effect without steering_policy = \"random\"";
                self.warn(table, "random_steering", what, "add the policy, or remove it");
            }
            return PoolSteering::Off;
        }
        let tenths = |value: u64| u8::try_from(value).unwrap_or(10);
        let weight = |name: &str| {
            let own = weights.iter().find(|(pool, _)| pool == name).map(|(_, item)| &item.value);
            match own {
                Some(Value::Int(weight)) => tenths(*weight),
                _ => tenths(random.int("default_weight")),
            }
        };
        let weights: Vec<u8> = pools.iter().map(|(_, name)| weight(name)).collect();
        if !weights.is_empty() && weights.iter().all(|weight| *weight == 0) {
            let what = "every pool has weight 0";
            self.fault(table, "random_steering", what, "a weight above 0 for one of them");
        }
        PoolSteering::Random(weights)
    }

    fn route<'t>(
        &mut self,
        table: &'t Table,
        seen: &mut BTreeMap<(bool, &'t str), super::At>,
    ) -> Option<Route> {
        let action = self.action(table);
        let rules = self.route_rules(table);
        let (key, text) = match (table.text("path"), table.text("path_prefix")) {
            (Some(_), Some(_)) => {
                let what = "`path` and `path_prefix` exclude each other";
                self.fault(table, "path", what, "one of the two");
                return None;
            }
            (Some(path), None) => ("path", path),
            (None, Some(prefix)) => ("path_prefix", trim(prefix)),
            (None, None) => {
                let given = table.given("path") || table.given("path_prefix");
                if !given && !self.report.source_broken(table.at.source) {
                    let what = "it says nothing about which paths it is for";
                    let valid = "path = \"/exact\" or path_prefix = \"/below\"";
                    self.report.fault(table.at, &table.path, what, valid);
                }
                return None;
            }
        };
        self.normal_path(table, key, text);
        let at = table.at_of(key);
        if let Some(first) = seen.insert((key == "path", text), at) {
            let what = format!("{} stands at {} already", quote(text), self.report.point(first));
            self.fault(table, key, what, "each path once");
        }
        let path = match key {
            "path" => PathMatch::Exact(text.to_owned()),
            _ => PathMatch::Prefix(text.to_owned()),
        };
        Some(Route { name: Name::from(text), path, action: action?, rules })
    }

    /// Requests are matched by the normal form of their paths, so no other form ever matches.
    fn normal_path(&mut self, table: &Table, key: &str, text: &str) {
        let mut scratch = Vec::new();
        match path::normalize(text.as_bytes(), &mut scratch) {
            Ok(normal) if normal == text.as_bytes() => {}
            Ok(normal) => {
                let normal = String::from_utf8_lossy(normal);
                let what = format!("no request matches {}", quote(text));
                self.fault(table, key, what, format!("its normal form {}", quote(&normal)));
            }
            Err(ambiguous) => {
                let what = format!("no request matches {}: {ambiguous}", quote(text));
                self.fault(table, key, what, "a path that can be read in one way only");
            }
        }
    }

    fn route_rules(&mut self, table: &Table) -> RouteRules {
        let mut rules = self.rules(table);
        let path = table.text("path").or(table.text("path_prefix")).unwrap_or("/");
        if let Some(strip) = table.text("strip_prefix") {
            let rest = path.strip_prefix(trim(strip));
            if !rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || strip == "/") {
                let what = format!("no path of this route starts with {}", quote(strip));
                self.fault(
                    table,
                    "strip_prefix",
                    what,
                    format!("{} or a start of it", quote(path)),
                );
            }
            rules.strip_prefix = Some(trim(strip).to_owned());
        }
        rules.add_prefix = table.text("add_prefix").map(|prefix| trim(prefix).to_owned());
        if table.given("redirect") {
            for key in ["strip_prefix", "add_prefix"].iter().filter(|key| table.given(key)) {
                let what = format!("`{key}` has no effect beside `redirect`");
                self.fault(table, key, what, "one of the two");
            }
        }
        rules
    }
}

fn redirection(table: &Table) -> Option<Redirect> {
    let location = table.text("location")?;
    let (location, append_path) = match location.strip_suffix('*') {
        Some(location) => (location, true),
        None => (location, false),
    };
    let status = u16::try_from(table.int("status")).ok()?;
    Some(Redirect { status, location: location.to_owned(), append_path })
}

/// A prefix without the slash at its end; `/` stays.
fn trim(path: &str) -> &str {
    match path.trim_end_matches('/') {
        "" => "/",
        trimmed => trimmed,
    }
}
