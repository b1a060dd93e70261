//! What listeners, hosts and routes have in common: redirects, HSTS and header changes.

use super::super::table::Table;
use super::super::text::{OWN_FIELDS, quote};
use super::Builder;
use core_model::config::{HeaderRules, Hsts, HttpsRedirect, RouteRules};
use std::collections::BTreeSet;
use std::time::Duration;

/// What hstspreload.org asks for at least.
const PRELOAD_AGE: Duration = Duration::from_secs(31_536_000);

impl Builder<'_> {
    pub(super) fn rules(&mut self, table: &Table) -> RouteRules {
        RouteRules {
            redirect_https: table.given("redirect_https").then(|| {
                let port = table.port("redirect_https");
                port.map_or(HttpsRedirect::Off, HttpsRedirect::To)
            }),
            hsts: table.table("hsts").map(|hsts| self.hsts(hsts)),
            request_headers: self.headers(table, "request_headers"),
            response_headers: self.headers(table, "response_headers"),
            strip_prefix: None,
            add_prefix: None,
        }
    }

    fn hsts(&mut self, table: &Table) -> Hsts {
        let hsts = Hsts {
            max_age: table.time("max_age"),
            include_subdomains: table.bool("include_subdomains"),
            preload: table.bool("preload"),
        };
        if hsts.max_age.subsec_nanos() != 0 {
            self.fault(table, "max_age", "a part of a second", "whole seconds");
        }
        if hsts.preload && (hsts.max_age < PRELOAD_AGE || !hsts.include_subdomains) {
            let valid = "max_age of \"365d\" or more, and include_subdomains = true";
            self.warn(table, "preload", "preload lists refuse this host", valid);
        }
        hsts
    }

    fn headers(&mut self, table: &Table, key: &str) -> HeaderRules {
        let Some(table) = table.table(key) else { return HeaderRules::default() };
        let mut rules = HeaderRules::default();
        let mut seen = BTreeSet::new();
        for (name, item) in table.map("set") {
            let path = format!("{}.{name}", table.path_of("set"));
            let lower = name.to_ascii_lowercase();
            if OWN_FIELDS.contains(&lower.as_str()) {
                let what = format!("Weir writes {} itself", quote(name));
                let valid = match lower.as_str() {
                    "host" => "header = { Host = [\"…\"] } of an origin",
                    _ => "another field",
                };
                self.report.fault(item.at, &path, what, valid);
            } else if !seen.insert(lower) {
                let what = format!("{} stands here twice", quote(name));
                self.report.fault(item.at, &path, what, "each field once, whatever its case");
            } else if let Some(value) = item.text() {
                rules.set.push((name.clone(), value.to_owned()));
            }
        }
        for (index, item) in table.list("remove").iter().enumerate() {
            let name = item.text().unwrap_or("").to_ascii_lowercase();
            let path = format!("{}[{index}]", table.path_of("remove"));
            if OWN_FIELDS.contains(&name.as_str()) {
                let what = format!("Weir writes {} itself", quote(&name));
                self.report.fault(item.at, &path, what, "another field");
            } else if seen.contains(&name) {
                let what = format!("{} is both set and removed", quote(&name));
                self.report.fault(item.at, &path, what, "`set` alone, which replaces the field");
            } else if !rules.remove.contains(&name) {
                rules.remove.push(name);
            }
        }
        rules
    }
}
