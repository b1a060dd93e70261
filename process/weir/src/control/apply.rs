//! `weir plan` and `weir apply`: a configuration file declared against the objects of a control
//! plane, by its API or as its operator.

use super::{reach, runtime};
use crate::cli::EXIT_REFUSED;
use crate::commands::print_faults;
use anyhow::{Context, bail};
use clap::Args;
use control_plane::client::Api;
use control_plane::declare::{Action, Declaration, FieldChange, Plan, Planned};
use control_plane::operate::{Operator, Request};
use process_runtime::config_file::{Declared, declared, load_control};
use serde_json::{Value, json};
use std::io::{IsTerminal, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

/// A plan with changes, where the exit code is to tell.
const EXIT_CHANGES: u8 = 2;
/// Characters of a value that a plan shows.
const SHOWN_MAX: usize = 200;
/// The variable with the base URL, as Cloudflare's SDKs have it.
pub(super) const BASE_URL: &str = "CLOUDFLARE_BASE_URL";
/// The variable with the token.
pub(super) const TOKEN: &str = "CLOUDFLARE_API_TOKEN";
/// The variable with the account.
const ACCOUNT: &str = "CLOUDFLARE_ACCOUNT_ID";

/// A configuration, and where it is declared.
#[derive(Args, Debug)]
pub(crate) struct Place {
    /// The configuration of an edge.
    config: PathBuf,
    /// The file of `weir control`: on its store, by the control plane that runs if one does.
    #[arg(long = "control", conflicts_with = "api")]
    control: Option<PathBuf>,
    /// Base URL of the API; that in `CLOUDFLARE_BASE_URL` where neither is given.
    #[arg(long)]
    api: Option<String>,
    /// The variable that holds the token of the API.
    #[arg(long, default_value = TOKEN)]
    token_env: String,
    /// The account, by name or id; that in `CLOUDFLARE_ACCOUNT_ID`, or the only one, where none is
    /// given.
    #[arg(long)]
    account: Option<String>,
    /// Remove objects that were made elsewhere: monitors, pools and load balancers of the account,
    /// and those of the packet path if the file has any.
    #[arg(long)]
    prune: bool,
    /// The plan as JSON.
    #[arg(long)]
    json: bool,
}

/// `weir plan`.
#[derive(Args, Debug)]
pub(crate) struct PlanOptions {
    #[command(flatten)]
    place: Place,
    /// Exit with 2 where there are changes.
    #[arg(long)]
    detailed_exitcode: bool,
}

/// `weir apply`.
#[derive(Args, Debug)]
pub(crate) struct ApplyOptions {
    #[command(flatten)]
    place: Place,
    /// Do it without asking, as where the input is no terminal.
    #[arg(long)]
    yes: bool,
}

impl PlanOptions {
    /// Does it.
    ///
    /// # Errors
    /// What kept it from its work.
    pub(crate) fn run(&self) -> anyhow::Result<ExitCode> {
        let place = &self.place;
        let Some(mut declaration) = place.read()? else { return Ok(ExitCode::from(EXIT_REFUSED)) };
        let plan = runtime()?.block_on(async {
            let mut target = place.target().await?;
            target.declare(&mut declaration.wanted).await
        })?;
        place.show(&plan, &declaration.local)?;
        let tells = self.detailed_exitcode && !plan.changes.is_empty();
        Ok(if tells { ExitCode::from(EXIT_CHANGES) } else { ExitCode::SUCCESS })
    }
}

impl ApplyOptions {
    /// Does it.
    ///
    /// # Errors
    /// What kept it from its work.
    pub(crate) fn run(&self) -> anyhow::Result<ExitCode> {
        let place = &self.place;
        let Some(mut declaration) = place.read()? else { return Ok(ExitCode::from(EXIT_REFUSED)) };
        runtime()?.block_on(async {
            let mut target = place.target().await?;
            let wanted = &mut declaration.wanted;
            let plan = target.declare(wanted).await?;
            if plan.changes.is_empty() || !self.yes {
                place.show(&plan, &declaration.local)?;
            }
            if plan.changes.is_empty() {
                return Ok(ExitCode::SUCCESS);
            }
            if !self.yes && !agreed()? {
                eprintln!("nothing is changed");
                return Ok(ExitCode::from(EXIT_REFUSED));
            }
            (wanted.dry_run, wanted.fingerprint) = (false, Some(plan.fingerprint));
            let done = target.declare(wanted).await?;
            if self.yes {
                place.show(&done, &declaration.local)?;
            }
            if !place.json {
                println!("applied; this is revision {}", done.revision);
            }
            Ok(ExitCode::SUCCESS)
        })
    }
}

/// Asks at the terminal.
fn agreed() -> anyhow::Result<bool> {
    let input = std::io::stdin();
    if !input.is_terminal() {
        bail!("nobody can be asked: the input is no terminal; see the plan and give --yes");
    }
    eprint!("Apply this? Only `yes` does: ");
    std::io::stderr().flush()?;
    let mut answer = String::new();
    input.read_line(&mut answer)?;
    Ok(answer.trim() == "yes")
}

/// A declaration, and the sections of the file that are no part of it.
struct Read {
    wanted: Declaration,
    local: Vec<String>,
}

/// Whoever has the objects.
enum Target {
    Api(Box<Api>),
    Operator(Box<Operator>),
}

impl Target {
    async fn declare(&mut self, wanted: &mut Declaration) -> anyhow::Result<Plan> {
        Ok(match self {
            Self::Api(api) => {
                let plan = api.post_own("/apply", &json!(wanted)).await?;
                serde_json::from_value(plan).context("the answer of the API")?
            }
            Self::Operator(operator) => operator.ask(&Request::Declare(wanted.clone())).await?,
        })
    }
}

impl Place {
    /// Reads the configuration; none where it has faults, which are told.
    fn read(&self) -> anyhow::Result<Option<Read>> {
        let Declared { tables, local } = match declared(&self.config) {
            Ok(declared) => declared,
            Err(faults) => {
                print_faults(&faults);
                return Ok(None);
            }
        };
        let account = self.account.clone().or_else(|| std::env::var(ACCOUNT).ok());
        let account = account.filter(|account| !account.is_empty());
        let wanted =
            Declaration { account, tables, prune: self.prune, dry_run: true, fingerprint: None };
        Ok(Some(Read { wanted, local }))
    }

    async fn target(&self) -> anyhow::Result<Target> {
        if let Some(control) = &self.control {
            let file = load_control(control).map_err(|faults| {
                print_faults(&faults);
                anyhow::anyhow!("{} has faults", control.display())
            })?;
            return Ok(Target::Operator(Box::new(reach(&file).await?)));
        }
        let url = self.api.clone().or_else(|| std::env::var(BASE_URL).ok());
        let url = url.filter(|url| !url.is_empty()).with_context(|| {
            format!("--control FILE, --api URL or {BASE_URL}: whose objects they are")
        })?;
        Ok(Target::Api(Box::new(Api::new(&url, &token(&self.token_env)?)?)))
    }

    fn show(&self, plan: &Plan, local: &[String]) -> anyhow::Result<()> {
        if self.json {
            let mut shown = serde_json::to_value(plan)?;
            shown["local"] = json!(local);
            println!("{shown:#}");
            return Ok(());
        }
        plan.changes.iter().for_each(show_change);
        if !local.is_empty() {
            println!("of the edge alone: {}", local.join(", "));
        }
        for stays in &plan.staying {
            let keys = match stays.keys.is_empty() {
                true => String::new(),
                false => format!(" {}", stays.keys.join(", ")),
            };
            println!("stays on the edge: {} {}{keys}: {}", stays.kind, stays.name, stays.why);
        }
        let count = |action| plan.changes.iter().filter(|change| change.action == action).count();
        let (made, gone) = (count(Action::Create), count(Action::Delete));
        let changed = count(Action::Update) + count(Action::Adopt);
        println!("{made} to create, {changed} to change, {gone} to delete");
        Ok(())
    }
}

/// The token in a variable.
///
/// # Errors
/// It is not set.
pub(super) fn token(variable: &str) -> anyhow::Result<String> {
    let token = std::env::var(variable).ok().filter(|token| !token.is_empty());
    token.with_context(|| format!("{variable} is not set: a token of the API"))
}

fn show_change(change: &Planned) {
    let (sign, more) = match change.action {
        Action::Create => ('+', ""),
        Action::Update => ('~', ""),
        Action::Adopt => ('~', " (made elsewhere, declared from here on)"),
        Action::Delete => ('-', ""),
    };
    println!("{sign} {} {}{more}", change.kind, change.name);
    for FieldChange { field, before, after } in &change.fields {
        match (before, after) {
            (None, Some(after)) => println!("    + {field}: {}", shown(after)),
            (Some(before), None) => println!("    - {field}: {}", shown(before)),
            (Some(before), Some(after)) => {
                println!("    ~ {field}: {} -> {}", shown(before), shown(after));
            }
            (None, None) => {}
        }
    }
}

fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}
