//! `weir demo`: three origins, a Weir before them, and a stream of requests, in one process.
//!
//! Weir itself is the one that `weir run` starts, from a configuration that is printed on demand.

mod chaos;
mod client;
mod config;
mod fleet;
mod load;
mod origins;
mod tally;

use crate::cli::EXIT_REFUSED;
use crate::server;
use anyhow::{Context, bail};
use client::Door;
use config::{Addresses, Folder};
use core_model::defaults;
use load::{CLIENTS, Load, Plan, RATE};
use origins::{NAMES, Origins, SLOW};
use process_runtime::config_file;
use process_runtime::service::Activated;
use process_runtime::sockets::{self, BACKLOG_DEFAULT, BindError};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tally::{Second, Tally, say};

/// The longest `--for`: a forgotten demo ends within a day.
const FOR_MAX: Duration = Duration::from_secs(86_400);

/// What can be typed after `weir demo`.
#[derive(clap::Args, Debug)]
pub(crate) struct Options {
    /// End after this time, such as 20s or 5m; until Ctrl-C without it.
    #[arg(long = "for", value_name = "TIME", value_parser = time)]
    time: Option<Duration>,
    /// Kill origins with requests in flight, in turn, and bring them back.
    #[arg(long)]
    chaos: bool,
    /// Send no requests; yours are the only ones.
    #[arg(long)]
    no_load: bool,
    /// Print the configuration that the demo runs on.
    #[arg(long)]
    print_config: bool,
    /// Where plain HTTP is served.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    http: SocketAddr,
    /// Where HTTPS is served.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8443")]
    https: SocketAddr,
    /// Where the status page is served.
    #[arg(long, value_name = "ADDR", default_value = defaults::ADMIN_ADDRESS)]
    admin: SocketAddr,
    /// Run a control plane and three edges as processes of their own: the edges on the port of
    /// --http and the two after it, their status pages likewise from --admin on.
    #[arg(long, conflicts_with_all = ["chaos", "https"])]
    fleet: bool,
    #[command(flatten)]
    of_fleet: fleet::OfFleet,
}

/// A time such as `20s`, `500ms`, `5m` or `1h`.
fn time(text: &str) -> Result<Duration, String> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let unit = match unit {
        "ms" => Some(1),
        "s" => Some(1_000),
        "m" => Some(60_000),
        "h" => Some(3_600_000),
        _ => None,
    };
    let ms = number.parse().ok().zip(unit).and_then(|(n, unit): (u64, u64)| n.checked_mul(unit));
    let time = ms.map(Duration::from_millis).filter(|time| !time.is_zero() && *time <= FOR_MAX);
    time.ok_or_else(|| "a time up to a day with its unit, such as 20s, 500ms or 5m".to_owned())
}

/// Runs the demo to its end.
///
/// # Errors
/// An address that cannot be had, with the flag that names another; no room for the certificate.
pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    if options.fleet {
        return fleet::run(options);
    }
    let at = free_addresses(options)?;
    let origins = Origins::start().context("starting the origins")?;
    let folder = Folder::new().context("making a folder for the certificate")?;
    let trust = config::certificate(&folder)?;
    let text = config::text(at, folder.path(), &origins.all);
    let loaded = config_file::load_text("weir-demo.toml", &text).map_err(|faults| {
        let faults: Vec<_> = faults.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("{}", faults.join("\n"))
    })?;
    if options.print_config {
        say(&text);
    }
    let ready = server::bind(loaded.config, Activated::default(), None)?;
    let door = |address, tls| Door { address, tls, host: "localhost" };
    let doors = vec![door(at.http, None), door(at.https, Some(trust))];
    let upload = if options.chaos { "PUT" } else { "POST" };
    let tally = Arc::new(Tally::new());
    let load = Mutex::new(None);
    let take = || load.lock().unwrap_or_else(PoisonError::into_inner).take();
    let stop = async {
        announce(options, at);
        if !options.no_load {
            match Load::start(&Plan { doors, upload }, &tally, Second::by_origins) {
                Ok(running) => {
                    *load.lock().unwrap_or_else(PoisonError::into_inner) = Some(running);
                }
                Err(error) => tally.failed(&format!("the clients cannot start: {error}")),
            }
        }
        if options.chaos {
            origins.handle.spawn(chaos::run(origins.all.clone()));
        }
        match options.time {
            Some(time) => tokio::time::sleep(time).await,
            None => std::future::pending().await,
        }
    };
    // Before connections end, by the time or by a signal, so that no request is cut.
    let last = async {
        if let Some(running) = take() {
            let _ = tokio::task::spawn_blocking(move || running.finish()).await;
        }
    };
    ready.serve(None, stop, last)?;
    drop(origins);
    drop(folder);
    let (requests, failed) = tally.totals();
    let (line, code) = summary(requests, failed);
    say(&line);
    Ok(ExitCode::from(code))
}

/// The last line and the exit code.
fn summary(requests: u64, failed: u64) -> (String, u8) {
    let code = if failed == 0 { 0 } else { EXIT_REFUSED };
    (format!("{requests} requests, {failed} failed"), code)
}

/// The addresses of the demo without a fleet.
fn free_addresses(options: &Options) -> anyhow::Result<Addresses> {
    let asked = [("http", options.http), ("https", options.https), ("admin", options.admin)];
    let found = free(&asked)?;
    let [http, https, admin] = found[..] else { bail!("three addresses are needed") };
    Ok(Addresses { http, https, admin })
}

/// The addresses, with the flags that name them, when nobody has them: told before anything
/// starts. Ports are given for those that are 0.
fn free(asked: &[(&str, SocketAddr)]) -> anyhow::Result<Vec<SocketAddr>> {
    let mut found = Vec::new();
    // Held until all are tried, so that two flags with one address are noticed.
    let mut held = Vec::new();
    for &(flag, address) in asked {
        match sockets::bind(address, 1, BACKLOG_DEFAULT) {
            Ok(sockets) => {
                let exact = sockets.first().map(|socket| socket.local_addr()).transpose()?;
                found.push(exact.unwrap_or(address));
                held.extend(sockets);
            }
            Err(BindError::InUse { holder, .. }) => {
                let (holder, stop) = match holder {
                    Some(holder) if holder.pid == std::process::id() => {
                        ("another address of this demo".to_owned(), "")
                    }
                    Some(holder) => {
                        let name = holder.name.escape_debug();
                        (format!("{name} (pid {})", holder.pid), "stop it or ")
                    }
                    None => ("another process".to_owned(), "stop it or "),
                };
                bail!("{address} is in use by {holder}: {stop}choose another with --{flag} ADDR");
            }
            Err(error) => {
                let what = format!("choose another address with --{flag} ADDR");
                return Err(anyhow::Error::new(error).context(what));
            }
        }
    }
    Ok(found)
}

/// Says what runs and what to try.
fn announce(options: &Options, at: Addresses) {
    let Addresses { http, https, admin } = at;
    let slow = SLOW.as_millis();
    say(&format!(
        "Weir is ready before three origins ({}), whose health it checks every 2 s.\n\n\
         \x20 http://{admin}/   in a browser: requests move between the origins\n\
         \x20 curl http://{http}/\n\
         \x20 curl -k https://{https}/any/path   (-k: the certificate is self-signed)\n\
         \x20 curl http://{http}/slow   ({slow} ms)\n\
         \x20 curl -d 'some text' http://{http}/upload\n\
         \x20 curl http://{admin}/status   (as JSON; /metrics for Prometheus)\n",
        NAMES.join(", "),
    ));
    if !options.no_load {
        let methods = if options.chaos { "GET, HEAD, PUT" } else { "GET, HEAD, POST" };
        say(&format!(
            "Load: {RATE} requests/s ({methods}) by {CLIENTS} clients, half of them over TLS."
        ));
    }
    if options.chaos {
        say(&format!(
            "Chaos: one origin after the other dies with its requests in flight, for {} s; Weir \
             sends them to\nanother one. A POST that an origin may have seen is never sent again \
             (RFC 9110 §9.2.2), so uploads\nare PUT, and a POST of yours may get 502.",
            chaos::DEAD.as_secs_f32(),
        ));
    }
    say(match options.time {
        Some(_) => "",
        None => "Ctrl-C ends it.\n",
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_failed_request_fails_the_demo() {
        assert_eq!(summary(0, 0), ("0 requests, 0 failed".to_owned(), 0));
        assert_eq!(summary(4000, 0), ("4000 requests, 0 failed".to_owned(), 0));
        assert_eq!(summary(4000, 1), ("4000 requests, 1 failed".to_owned(), 1));
    }

    #[test]
    fn times_have_a_unit() {
        for (text, expect) in [
            ("20s", Some(Duration::from_secs(20))),
            ("500ms", Some(Duration::from_millis(500))),
            ("5m", Some(Duration::from_secs(300))),
            ("24h", Some(FOR_MAX)),
            ("25h", None),
            ("0s", None),
            ("20", None),
            ("s", None),
            ("", None),
            ("-1s", None),
            ("1.5s", None),
            ("99999999999999999999s", None),
            ("9999999999999999999h", None),
        ] {
            assert_eq!(time(text).ok(), expect, "{text}");
        }
    }
}
