//! `weir token`: made, listed and taken back, by the control plane that runs or in its store.

use super::{on, reach, runtime};
use clap::Subcommand;
use control_plane::operate::{NewToken, Request};
use control_plane::rest::operator::{FIRST_EMAIL, Wish};
use core_model::IpNet;
use process_runtime::config_file::ControlFile;
use serde_json::{Value, json};
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

/// A time such as `30d`.
///
/// # Errors
/// It is none.
pub(super) fn lasting(text: &str) -> Result<Duration, String> {
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
    let wish = Wish {
        name: asked.name.clone(),
        email: asked.email.clone(),
        accounts: asked.account.clone(),
        zones: asked.zone.clone(),
        read_only: asked.read_only,
        sources: asked.source.clone(),
        lasts: asked.expires,
    };
    let made = reach(file).await?.ask(&Request::CreateToken(wish)).await?;
    let NewToken { text, mut token } = made;
    if asked.json {
        token["token"] = json!(text);
        println!("{token:#}");
        return Ok(());
    }
    println!("{text}");
    eprintln!("token {} reaches {}; it is not shown again", word(&token, "id"), reached(&token));
    Ok(())
}

async fn list(file: &ControlFile, as_json: bool) -> anyhow::Result<()> {
    let tokens: Vec<Value> = reach(file).await?.ask(&Request::Tokens).await?;
    if as_json {
        println!("{:#}", Value::Array(tokens));
        return Ok(());
    }
    for token in &tokens {
        let ends = token["expires_on"].as_str().unwrap_or("never");
        let may = word(token, "permission");
        let (id, name) = (word(token, "id"), word(token, "name"));
        println!("{id} {name} {may}s {}, ends {ends}", reached(token));
    }
    Ok(())
}

async fn revoke(file: &ControlFile, id: &str) -> anyhow::Result<()> {
    reach(file).await?.ask::<()>(&Request::RevokeToken { id: id.to_owned() }).await?;
    println!("{id} is revoked");
    Ok(())
}

fn word<'a>(token: &'a Value, name: &str) -> &'a str {
    token[name].as_str().unwrap_or_default()
}

fn reached(token: &Value) -> String {
    let kind = if token["zones"] == "all" { "accounts" } else { "zones" };
    match token[kind].as_array() {
        None => format!("all {kind}"),
        Some(ids) => {
            let ids: Vec<_> = ids.iter().filter_map(Value::as_str).collect();
            format!("{kind} {}", ids.join(" "))
        }
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
