//! `weir check --control`: the faults of a control file, and what its objects say and edges do not
//! do.

use super::{reach_there, runtime};
use crate::cli::EXIT_REFUSED;
use crate::commands::print_faults;
use control_plane::operate::{Effects, Remark, Request};
use process_runtime::config_file::{ControlFile, StorePlace, load_control, render_json};
use serde_json::{Value, json};
use std::path::Path;
use std::process::ExitCode;

/// Does it.
///
/// # Errors
/// There is a store, and it cannot be read.
pub(crate) fn check(path: &Path, as_json: bool) -> anyhow::Result<ExitCode> {
    let file = match load_control(path) {
        Ok(file) => file,
        Err(faults) => {
            match as_json {
                true => println!("{:#}", shown(render_json(&faults), None)),
                false => print_faults(&faults),
            }
            return Ok(ExitCode::from(EXIT_REFUSED));
        }
    };
    let effects = effects(&file)?;
    if as_json {
        println!("{:#}", shown(json!([]), effects.as_ref()));
        return Ok(ExitCode::SUCCESS);
    }
    let path = path.display();
    let Some(effects) = effects else {
        println!("{path}: no faults; there is no store yet");
        return Ok(ExitCode::SUCCESS);
    };
    effects.remarks.iter().for_each(|remark| eprintln!("warning: {}", line(remark)));
    let count = effects.remarks.len() + effects.more;
    if effects.more > 0 {
        eprintln!("warning: {} further ones are left out", effects.more);
    }
    let s = if count == 1 { "" } else { "s" };
    println!("{path}: no faults; {count} warning{s} of revision {}", effects.revision);
    Ok(ExitCode::SUCCESS)
}

/// What the objects of the store say and edges do not do; none where there is no store.
fn effects(file: &ControlFile) -> anyhow::Result<Option<Effects>> {
    if let StorePlace::File(store) = &file.store
        && !store.exists()
    {
        return Ok(None);
    }
    runtime()?.block_on(async { Ok(Some(reach_there(file).await?.ask(&Request::Effects).await?)) })
}

fn line(remark: &Remark) -> String {
    let Remark { object, name, pointer, effect, text } = remark;
    let name = name.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
    let place = if pointer.is_empty() { String::new() } else { format!(" {pointer}") };
    let line = format!("{object}{name}{place}: {effect}: {text}");
    // What a client sent does not get to speak to the terminal.
    line.chars().filter(|c| !c.is_control()).collect()
}

fn shown(faults: Value, effects: Option<&Effects>) -> Value {
    let remark = |remark: &Remark| {
        let mut shown = json!(remark);
        shown["id"] = json!(remark.object.id());
        shown
    };
    let remarks: Vec<Value> =
        effects.map(|all| all.remarks.iter().map(remark).collect()).unwrap_or_default();
    json!({
        "faults": faults,
        "revision": effects.map(|all| all.revision),
        "warnings": remarks,
        "further_warnings": effects.map_or(0, |all| all.more),
    })
}
