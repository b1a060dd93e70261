//! `weir token`: made, listed and taken back in the store of a control file, while no control
//! plane has it open.

use super::{on, open, operator, runtime};
use clap::Subcommand;
use control_api::time;
use control_plane::rest::operator::{self as api, FIRST_EMAIL, Wish};
use control_plane::rest::token::{Reach, Token};
use core_model::IpNet;
use process_runtime::config_file::ControlFile;
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// What is asked of tokens.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Make a token and print it: the first and only time that it can be seen.
    Create(Create),
    /// List the tokens, without what would let anybody use them.
    List {
        /// The file of `weir control`.
        #[arg(long = "control")]
        file: PathBuf,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Take a token back: from then on it is as unknown as one that never was.
    Revoke {
        /// Its id, as `weir token list` shows it.
        id: String,
        /// The file of `weir control`.
        #[arg(long = "control")]
        file: PathBuf,
    },
}

/// What a new token is to be.
#[derive(clap::Args, Debug)]
pub(crate) struct Create {
    /// The file of `weir control`.
    #[arg(long = "control")]
    file: PathBuf,
    /// What the token is called.
    #[arg(long, default_value = "token")]
    name: String,
    /// An account that it reaches, by name or id; all of them where none is given.
    #[arg(long)]
    account: Vec<String>,
    /// A zone that it reaches, by name or id, and nothing else of the account.
    #[arg(long)]
    zone: Vec<String>,
    /// Let it read, and change nothing.
    #[arg(long)]
    read_only: bool,
    /// How long it lasts, such as 30d or 12h; until it is revoked where nothing is given.
    #[arg(long, value_parser = lasting)]
    expires: Option<Duration>,
    /// An address or prefix that it is taken from; everywhere where none is given.
    #[arg(long)]
    source: Vec<IpNet>,
    /// The address that goes with it, for clients that send X-Auth-Email and X-Auth-Key.
    #[arg(long, default_value = FIRST_EMAIL)]
    email: String,
    /// The token and what it reaches as JSON.
    #[arg(long)]
    json: bool,
}

fn lasting(text: &str) -> Result<Duration, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits).unwrap_or_default();
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => 0,
    };
    let number = number.parse::<u64>().ok().filter(|number| *number > 0 && seconds > 0);
    let lasts = number.and_then(|number| number.checked_mul(seconds)).map(Duration::from_secs);
    lasts.ok_or_else(|| "a time such as 30d, 12h or 90m".to_owned())
}

impl Command {
    /// Does it.
    ///
    /// # Errors
    /// What kept it from its work.
    pub(crate) fn run(&self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Create(wish) => on(&wish.file, |file| runtime()?.block_on(create(&file, wish))),
            Self::List { file, json } => on(file, |file| runtime()?.block_on(list(&file, *json))),
            Self::Revoke { id, file } => on(file, |file| runtime()?.block_on(revoke(&file, id))),
        }
    }
}

async fn create(file: &ControlFile, asked: &Create) -> anyhow::Result<()> {
    let keeper = open(file).await?;
    api::first_account(&keeper, &operator()).await?;
    let wish = Wish {
        name: asked.name.clone(),
        email: asked.email.clone(),
        accounts: asked.account.clone(),
        zones: asked.zone.clone(),
        read_only: asked.read_only,
        sources: asked.source.clone(),
        lasts: asked.expires,
    };
    let fresh = api::create_token(&keeper, &operator(), &wish).await?;
    let token = &fresh.token;
    if asked.json {
        let mut shown = shown(token);
        shown["token"] = json!(fresh.text);
        println!("{shown:#}");
        return Ok(());
    }
    println!("{}", fresh.text);
    eprintln!("token {} reaches {}; it is not shown again", token.id, reached(token));
    Ok(())
}

async fn list(file: &ControlFile, as_json: bool) -> anyhow::Result<()> {
    let keeper = open(file).await?;
    let tokens = api::tokens(&keeper.state())?;
    if as_json {
        println!("{:#}", serde_json::Value::Array(tokens.iter().map(shown).collect()));
        return Ok(());
    }
    for token in &tokens {
        let ends = token.expires_us.map_or("never".to_owned(), time::timestamp);
        let may = if token.edit { "edits" } else { "reads" };
        println!("{} {} {may} {}, ends {ends}", token.id, token.name, reached(token));
    }
    Ok(())
}

async fn revoke(file: &ControlFile, id: &str) -> anyhow::Result<()> {
    let keeper = open(file).await?;
    api::revoke_token(&keeper, &operator(), id).await?;
    println!("{id} is revoked");
    Ok(())
}

fn shown(token: &Token) -> serde_json::Value {
    let sources: Vec<String> = token.sources.iter().map(ToString::to_string).collect();
    let ids = |reach: &Reach| match reach {
        Reach::All => json!("all"),
        Reach::Only(ids) => json!(ids),
    };
    json!({
        "id": token.id,
        "name": token.name,
        "email": token.email,
        "accounts": ids(&token.accounts),
        "zones": ids(&token.zones),
        "permission": if token.edit { "edit" } else { "read" },
        "sources": sources,
        "created_on": time::timestamp(token.created_us),
        "expires_on": token.expires_us.map(time::timestamp),
    })
}

fn reached(token: &Token) -> String {
    let all = |reach: &Reach, kind: &str| match reach {
        Reach::All => format!("all {kind}"),
        Reach::Only(ids) => format!("{kind} {}", ids.join(" ")),
    };
    match &token.zones {
        Reach::All => all(&token.accounts, "accounts"),
        zones => all(zones, "zones"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_number_with_its_unit() {
        for (text, expect) in [
            ("30d", Some(2_592_000)),
            ("12h", Some(43_200)),
            ("90m", Some(5_400)),
            ("1s", Some(1)),
            ("0d", None),
            ("d", None),
            ("5", None),
            ("-5d", None),
            ("99999999999999999999d", None),
        ] {
            assert_eq!(lasting(text).ok(), expect.map(Duration::from_secs), "{text}");
        }
    }
}
