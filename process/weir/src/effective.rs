//! `weir explain FILE HOST[/path]`: what holds for a host and a path, and which layer says so.

use crate::cli::EXIT_REFUSED;
use crate::commands::print_faults;
use anyhow::{Context, bail};
use core_model::config::{Action, Config, Hsts, HttpsRedirect, Listener, PoolId, PoolSteering};
use core_model::effective::{Effective, HeaderChange, effective};
use core_wire::path;
use process_runtime::config_file;
use serde_json::{Value, json};
use std::path::Path;
use std::process::ExitCode;

/// One line of the answer.
struct Line {
    what: String,
    value: Value,
    layer: &'static str,
}

/// Explains a host of a configuration.
///
/// # Errors
/// No load balancer serves the host, or the path has no single meaning.
pub(crate) fn run(file: &Path, target: &str, json: bool) -> anyhow::Result<ExitCode> {
    let loaded = match config_file::load(file) {
        Ok(loaded) => loaded,
        Err(faults) => {
            print_faults(&faults);
            return Ok(ExitCode::from(EXIT_REFUSED));
        }
    };
    let config = &loaded.config;
    let (host, path) = split(target)?;
    let mut answers = Vec::new();
    for listener in &config.listeners {
        if let Some(found) = effective(config, Some(listener), &host, &path) {
            answers.push((listener, found));
        }
    }
    if answers.is_empty() {
        let hosts: Vec<&str> = config.load_balancers.iter().map(|one| &*one.name).collect();
        bail!("no load balancer of {} serves {host}; there are: {}", file.display(), list(&hosts));
    }
    if json {
        let all: Vec<Value> =
            answers.iter().map(|(listener, found)| as_json(config, listener, found)).collect();
        println!("{}", serde_json::to_string_pretty(&all)?);
        return Ok(ExitCode::SUCCESS);
    }
    for (listener, found) in &answers {
        print!("{}", as_text(config, listener, found));
    }
    Ok(ExitCode::SUCCESS)
}

/// Names that are told at most.
const NAMES_MAX: usize = 10;

fn list(names: &[&str]) -> String {
    let more = if names.len() > NAMES_MAX { ", …" } else { "" };
    let names: Vec<&str> = names.iter().take(NAMES_MAX).copied().collect();
    match names.is_empty() {
        true => "none".to_owned(),
        false => format!("{}{more}", names.join(", ")),
    }
}

/// Host in lower case, and path in the form by which requests are matched.
fn split(target: &str) -> anyhow::Result<(String, String)> {
    let (host, path) = match target.find('/') {
        Some(at) => target.split_at(at),
        None => (target, "/"),
    };
    let host = host.to_ascii_lowercase();
    let port = host.rsplit_once(':').is_some_and(|(_, port)| !port.contains(']'));
    if host.is_empty() || port {
        bail!("`{target}` is no host: write example.com or example.com/path, without a port");
    }
    let path = path.split(['?', '#']).next().unwrap_or("/");
    let mut scratch = Vec::new();
    let normal = path::normalize(path.as_bytes(), &mut scratch)
        .with_context(|| format!("no request is matched by the path {path}"))?;
    Ok((host, String::from_utf8_lossy(normal).into_owned()))
}

fn lines(config: &Config, found: &Effective<'_>) -> Vec<Line> {
    let line = |what: &str, value: Value, layer| Line { what: what.to_owned(), value, layer };
    let mut lines = Vec::new();
    let layer = found.action.layer.word();
    match found.action.value {
        Action::Proxy { pools, fallback, steering } => {
            let name = |id: &PoolId| config.pools.get(id.0).map_or("", |pool| &*pool.name);
            let names: Vec<&str> = pools.iter().map(name).collect();
            lines.push(line("default_pools", json!(names), layer));
            lines.push(line("fallback_pool", json!(name(fallback)), layer));
            let policy = match steering {
                PoolSteering::Off => "off",
                PoolSteering::Random(_) => "random",
            };
            lines.push(line("steering_policy", json!(policy), layer));
        }
        Action::Redirect(redirect) => {
            let star = if redirect.append_path { "*" } else { "" };
            let value = format!("{} {}{star}", redirect.status, redirect.location);
            lines.push(line("redirect", json!(value), layer));
        }
    }
    let redirect = match found.redirect_https.value {
        HttpsRedirect::Off => json!(false),
        HttpsRedirect::To(port) => json!(port),
    };
    lines.push(line("redirect_https", redirect, found.redirect_https.layer.word()));
    let hsts = found.hsts.value.as_ref().map(field_of);
    lines.push(line("hsts", json!(hsts), found.hsts.layer.word()));
    lines.extend(headers("request_headers", &found.request_headers));
    lines.extend(headers("response_headers", &found.response_headers));
    lines
}

/// HSTS as its field says it.
fn field_of(hsts: &Hsts) -> String {
    let subdomains = if hsts.include_subdomains { "; includeSubDomains" } else { "" };
    let preload = if hsts.preload { "; preload" } else { "" };
    format!("max-age={}{subdomains}{preload}", hsts.max_age.as_secs())
}

fn headers(key: &str, changes: &[HeaderChange]) -> impl Iterator<Item = Line> {
    changes.iter().map(move |change| Line {
        what: match change.value {
            Some(_) => format!("{key}.set.{}", change.name),
            None => format!("{key}.remove.{}", change.name),
        },
        value: change.value.as_ref().map_or(json!(true), |value| json!(shown(change, value))),
        layer: change.layer.word(),
    })
}

/// A value, unless its name says that it is a secret.
fn shown(change: &HeaderChange, value: &str) -> String {
    match config_file::is_secret(&change.name) {
        true => "(hidden)".to_owned(),
        false => value.to_owned(),
    }
}

fn as_json(config: &Config, listener: &Listener, found: &Effective<'_>) -> Value {
    let values: serde_json::Map<String, Value> = lines(config, found)
        .into_iter()
        .map(|line| (line.what, json!({ "value": line.value, "layer": line.layer })))
        .collect();
    json!({
        "listener": *listener.name,
        "zone": found.zone.map(|zone| &*zone.name),
        "host": *found.host.name,
        "route": found.route.map(|route| &*route.name),
        "values": values,
    })
}

fn as_text(config: &Config, listener: &Listener, found: &Effective<'_>) -> String {
    let mut text = format!("listener {}", listener.name);
    if let Some(zone) = found.zone {
        text += &format!(" > zone {}", zone.name);
    }
    text += &format!(" > host {}", found.host.name);
    if let Some(route) = found.route {
        text += &format!(" > route {}", route.name);
    }
    text.push('\n');
    let lines = lines(config, found);
    let width = lines.iter().map(|line| line.what.len()).max().unwrap_or_default();
    for line in lines {
        let value = if line.value.is_null() { "none".to_owned() } else { line.value.to_string() };
        text += &format!("  {:<width$}  {value}  ({})\n", line.what, line.layer);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_a_host_and_a_path() {
        let check = |target: &str, expect: (&str, &str)| {
            let (host, path) = split(target).unwrap();
            assert_eq!((host.as_str(), path.as_str()), expect, "{target}");
        };
        check("Example.com", ("example.com", "/"));
        check("example.com/v1/../x?q#f", ("example.com", "/x"));
        check("[::1]/a", ("[::1]", "/a"));
        for wrong in ["", "/x", "example.com:80", "example.com:80/x", "[::1]:80"] {
            assert!(split(wrong).is_err(), "{wrong}");
        }
    }
}
