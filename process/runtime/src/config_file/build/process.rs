//! `[runtime]`, `[admin]`, `[logging]` and `[control]`.

use super::super::table::Table;
use super::super::text::{quote, show_time};
use super::{Builder, parsed};
use crate::accounts::{AccountError, ServiceUser};
use crate::fleet::PlaneUrl;
use core_model::ListenAddress;
use core_model::config::{
    AccessLog, Admin, Control, LogFormat, LogLevel, LogTarget, Logging, Runtime,
};
use std::thread::available_parallelism;

/// Worker threads where nothing is said and the machine has more cores than this.
const WORKERS_MAX: usize = 256;

impl Builder<'_> {
    pub(super) fn runtime(&mut self, table: &Table) -> Runtime {
        let usable = available_parallelism().map_or(1, |cores| cores.get().min(WORKERS_MAX));
        let workers = if table.given("workers") { table.size("workers") } else { usable };
        let runtime = Runtime {
            workers,
            user: table.text("user").map(str::to_owned),
            group: table.text("group").map(str::to_owned),
            drain_timeout: table.time("drain_timeout"),
            dns_min_ttl: table.time("dns_min_ttl"),
            dns_max_ttl: table.time("dns_max_ttl"),
            dns_servers: parsed(table.list("dns_servers")),
        };
        if runtime.dns_min_ttl > runtime.dns_max_ttl {
            let max = show_time(runtime.dns_max_ttl);
            let what = format!("`{}` exceeds dns_max_ttl", show_time(runtime.dns_min_ttl));
            self.fault(table, "dns_min_ttl", what, format!("at most {max}"));
        }
        if runtime.group.is_some() && runtime.user.is_none() && !table.refused("user") {
            self.fault(table, "group", "`group` without `user`", "both, or `user` alone");
        }
        self.find_account(table);
        runtime
    }

    /// Looks the user up where Weir runs as root and so becomes that user.
    pub(super) fn find_account(&mut self, table: &Table) {
        let Some(user) = table.text("user").filter(|_| self.world.root && self.world.files) else {
            return;
        };
        match ServiceUser::find(user, table.text("group")) {
            Ok(account) => self.account = Some(account),
            Err(error) => {
                let group = matches!(&error, AccountError::NoGroup(_));
                let key = if group { "group" } else { "user" };
                self.fault(table, key, error.to_string(), "an account of this machine");
            }
        }
    }

    pub(super) fn admin(&mut self, table: &Table) -> Admin {
        let address: Option<ListenAddress> =
            table.text("address").and_then(|address| address.parse().ok());
        let remote = match &address {
            Some(ListenAddress::Tcp(address)) => !address.ip().to_canonical().is_loopback(),
            _ => false,
        };
        if remote && !table.bool("allow_remote") {
            let shown = quote(table.text("address").unwrap_or(""));
            let what = format!("{shown} is reached by other machines");
            let valid = "127.0.0.1, ::1 or unix:/path; or allow_remote = true as well";
            self.fault(table, "address", what, valid);
        }
        Admin { address }
    }

    pub(super) fn control_planes(&mut self, table: &Table) -> Control {
        for (index, item) in table.list("urls").iter().enumerate() {
            let text = item.text().unwrap_or("");
            if let Err(error) = text.parse::<PlaneUrl>() {
                let path = format!("{}[{index}]", table.path_of("urls"));
                let what = format!("{} is {error}", quote(text));
                self.report.fault(item.at, &path, what, "such as https://plane.example:8781");
            }
        }
        let file = |key: &str| table.text(key).map(|path| self.file_of(table.at_of(key), path));
        let urls = table.list("urls").iter().filter_map(|item| item.text());
        Control {
            urls: urls.map(str::to_owned).collect(),
            join_token_file: file("join_token_file"),
            state: file("state"),
            name: table.text("name").map(str::to_owned),
        }
    }

    pub(super) fn logging(&mut self, table: &Table) -> Logging {
        let level = level_of(table.text("level"));
        let access = table.table("access").map(|access| {
            let target = match access.text("path") {
                Some("stdout") | None => LogTarget::Stdout,
                Some(path) => LogTarget::File(self.file_of(access.at_of("path"), path)),
            };
            let buffer_lines = access.size("buffer_lines");
            AccessLog { target, format: format_of(access.text("format")), buffer_lines }
        });
        Logging { level, format: format_of(table.text("format")), access }
    }
}

/// The level of a word that the schema has checked.
pub(in super::super) fn level_of(word: Option<&str>) -> LogLevel {
    match word {
        Some("error") => LogLevel::Error,
        Some("warn") => LogLevel::Warn,
        Some("debug") => LogLevel::Debug,
        _ => LogLevel::Info,
    }
}

/// The form of a word that the schema has checked.
pub(in super::super) fn format_of(word: Option<&str>) -> LogFormat {
    if word == Some("json") { LogFormat::Json } else { LogFormat::Text }
}
