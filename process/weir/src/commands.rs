//! The commands that answer and end: check, diff, print-defaults, schema, reload, upgrade.

use crate::cli::EXIT_REFUSED;
use crate::{client, packet};
use anyhow::Context;
use core_model::{Fault, ListenAddress, Snapshot};
use process_runtime::admin::ReloadOutcome;
use process_runtime::config_file;
use request_proxy::Edge;
use std::path::Path;
use std::process::ExitCode;

/// Prints faults for people, with their number at the end.
pub(crate) fn print_faults(faults: &[Fault]) {
    for fault in faults {
        eprintln!("{fault}");
    }
    let s = if faults.len() == 1 { "" } else { "s" };
    eprintln!("{} fault{s}", faults.len());
}

/// `weir check`.
///
/// # Errors
/// When the answer cannot be printed.
pub(crate) fn check(file: &Path, json: bool) -> anyhow::Result<ExitCode> {
    let (faults, warnings) = match config_file::load(file) {
        Err(faults) => (faults, Vec::new()),
        Ok(loaded) => {
            let tables = loaded.config.packet.as_ref().and_then(packet::check);
            let tls = Edge::check(&Snapshot::first(loaded.config)).err().unwrap_or_default();
            let place =
                core_model::Place { file: file.display().to_string(), ..Default::default() };
            let fault = |what: String| Fault {
                place: place.clone(),
                what,
                valid: String::new(),
                nearest: None,
            };
            let all = tls.iter().map(ToString::to_string).chain(tables);
            (all.map(fault).collect(), loaded.warnings)
        }
    };
    if json {
        println!("{}", serde_json::to_string_pretty(&config_file::render_json(&faults))?);
    } else {
        for warning in &warnings {
            eprintln!("warning: {warning}");
        }
        if faults.is_empty() {
            println!("{}: no faults", file.display());
        } else {
            print_faults(&faults);
        }
    }
    Ok(if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(EXIT_REFUSED) })
}

/// `weir print-defaults`.
///
/// # Errors
/// Never; the form is that of the other commands.
pub(crate) fn print_defaults() -> anyhow::Result<ExitCode> {
    print!("{}", config_file::print_defaults());
    Ok(ExitCode::SUCCESS)
}

/// `weir schema`.
///
/// # Errors
/// When the schema cannot be printed.
pub(crate) fn schema() -> anyhow::Result<ExitCode> {
    println!("{}", serde_json::to_string_pretty(&config_file::json_schema())?);
    Ok(ExitCode::SUCCESS)
}

/// `weir reload`.
///
/// # Errors
/// When no weir answers at the address.
pub(crate) fn reload(admin: &ListenAddress) -> anyhow::Result<ExitCode> {
    let outcome = ask(admin, "/reload")?;
    for note in &outcome.notes {
        println!("{note}");
    }
    for fault in &outcome.faults {
        eprintln!("{fault}");
    }
    if outcome.applied {
        println!("generation {} is in force", outcome.generation);
        Ok(ExitCode::SUCCESS)
    } else {
        eprintln!("refused; generation {} goes on serving", outcome.generation);
        Ok(ExitCode::from(EXIT_REFUSED))
    }
}

/// `weir upgrade`.
///
/// # Errors
/// When no weir answers at the address.
pub(crate) fn upgrade(admin: &ListenAddress) -> anyhow::Result<ExitCode> {
    let outcome = ask(admin, "/upgrade")?;
    outcome.notes.iter().for_each(|note| println!("{note}"));
    outcome.faults.iter().for_each(|fault| eprintln!("{fault}"));
    if outcome.applied {
        Ok(ExitCode::SUCCESS)
    } else {
        eprintln!("refused; the process that served goes on serving");
        Ok(ExitCode::from(EXIT_REFUSED))
    }
}

fn ask(admin: &ListenAddress, path: &str) -> anyhow::Result<ReloadOutcome> {
    let reply = client::post(admin, path)?;
    serde_json::from_slice(&reply.body).with_context(|| format!("the answer of {admin}"))
}

/// `weir diff` of two files.
///
/// # Errors
/// When the answer cannot be printed.
pub(crate) fn diff_files(old: &Path, new: &Path, json: bool) -> anyhow::Result<ExitCode> {
    let mut configs = Vec::new();
    let mut faults = Vec::new();
    for file in [old, new] {
        match config_file::load(file) {
            Ok(loaded) => configs.push(loaded.config),
            Err(more) => faults.extend(more),
        }
    }
    let [old, new] = configs.as_slice() else {
        print_faults(&faults);
        return Ok(ExitCode::from(EXIT_REFUSED));
    };
    let changes = config_file::diff(old, new);
    if json {
        println!("{}", serde_json::to_string_pretty(&config_file::changes_json(&changes))?);
    } else {
        changes.iter().for_each(|change| println!("{change}"));
        println!("{} changes", changes.len());
    }
    Ok(ExitCode::SUCCESS)
}

/// `weir diff` against the running weir.
///
/// # Errors
/// When no weir answers at the address.
pub(crate) fn diff_running(admin: &ListenAddress, json: bool) -> anyhow::Result<ExitCode> {
    let outcome = ask(admin, "/diff")?;
    if json {
        println!("{}", serde_json::to_string_pretty(&outcome)?);
    } else {
        outcome.notes.iter().for_each(|note| println!("{note}"));
        outcome.faults.iter().for_each(|fault| eprintln!("{fault}"));
        println!("{} changes", outcome.notes.len());
    }
    let wrong = !outcome.faults.is_empty();
    Ok(if wrong { ExitCode::from(EXIT_REFUSED) } else { ExitCode::SUCCESS })
}
