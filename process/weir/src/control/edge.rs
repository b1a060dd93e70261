//! `weir edge`: join tokens made, listed and taken back; edges listed and shut out; by the control
//! plane that runs or in its store.

use super::token::lasting;
use super::{on, reach, runtime};
use clap::{Subcommand, ValueEnum};
use control_api::publish::Role;
use control_api::time::timestamp;
use control_plane::operate::Request;
use control_plane::publish::join::Invitation;
use control_plane::publish::operator::{EdgeAnswer, EdgeRequest, EdgeShown, Halted, TokenShown};
use control_plane::publish::{EdgeState, EdgesSettings};
use process_runtime::config_file::ControlFile;
use serde_json::json;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// What is asked of edges.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Tokens that edges join with.
    #[command(subcommand)]
    Token(TokenCommand),
    /// List the edges, and how those are doing that are attached to the control plane that runs.
    List {
        /// The file of `weir control`.
        #[arg(long = "control")]
        file: PathBuf,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Shut an edge out: its stream ends at once, and its certificate is not taken any longer.
    Revoke {
        /// Its id or name, as `weir edge list` shows them.
        edge: String,
        /// The file of `weir control`.
        #[arg(long = "control")]
        file: PathBuf,
    },
}

/// What is asked of join tokens.
#[derive(Subcommand, Debug)]
pub(crate) enum TokenCommand {
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
    /// Take a token back. Edges that joined with it stay.
    Revoke {
        /// Its id, as `weir edge token list` shows it.
        id: String,
        /// The file of `weir control`.
        #[arg(long = "control")]
        file: PathBuf,
    },
}

/// What a new join token is to be.
#[derive(clap::Args, Debug)]
pub(crate) struct Create {
    /// The file of `weir control`.
    #[arg(long = "control")]
    file: PathBuf,
    /// What the token is called.
    #[arg(long, default_value = "edge")]
    name: String,
    /// What edges do that join with it, and so what they are given.
    #[arg(long, value_enum, default_value_t = RoleWord::Proxy)]
    role: RoleWord,
    /// How long it lasts, such as 30m or 12h.
    #[arg(long, value_parser = lasting, default_value = "1h")]
    expires: Duration,
    /// How many edges may join with it; 0 is any number.
    #[arg(long, default_value_t = 1)]
    uses: u32,
    /// The token and what it is for as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum RoleWord {
    /// Serves requests.
    Proxy,
    /// Forwards packets; it is given the key that flows are hashed with.
    Packet,
    /// Both.
    Both,
}

impl RoleWord {
    fn roles(self) -> Vec<Role> {
        match self {
            Self::Proxy => vec![Role::Proxy],
            Self::Packet => vec![Role::Packet],
            Self::Both => vec![Role::Proxy, Role::Packet],
        }
    }
}

impl Command {
    /// Does it.
    ///
    /// # Errors
    /// What kept it from its work.
    pub(crate) fn run(&self) -> anyhow::Result<ExitCode> {
        let token = |id: &str| EdgeRequest::RevokeToken { id: id.to_owned() };
        let edge = |edge: &str| EdgeRequest::Revoke { edge: edge.to_owned() };
        match self {
            Self::Token(TokenCommand::Create(wish)) => on(&wish.file, |file| {
                let made = wish.invitation();
                print(&file, EdgeRequest::CreateToken(made), wish.json)
            }),
            Self::Token(TokenCommand::List { file, json }) => {
                on(file, |file| print(&file, EdgeRequest::Tokens, *json))
            }
            Self::Token(TokenCommand::Revoke { id, file }) => {
                on(file, |file| print(&file, token(id), false))
            }
            Self::List { file, json } => on(file, |file| print(&file, EdgeRequest::Edges, *json)),
            Self::Revoke { edge: asked, file } => on(file, |file| print(&file, edge(asked), false)),
        }
    }
}

impl Create {
    fn invitation(&self) -> Invitation {
        Invitation {
            name: self.name.clone(),
            roles: self.role.roles(),
            lasts_ms: u64::try_from(self.expires.as_millis()).unwrap_or(u64::MAX),
            uses: Some(self.uses).filter(|uses| *uses > 0),
        }
    }
}

/// Asks, and shows the answer.
fn print(file: &ControlFile, request: EdgeRequest, as_json: bool) -> anyhow::Result<()> {
    let request = Request::Edge(request);
    let answer = runtime()?
        .block_on(async { Ok::<_, anyhow::Error>(reach(file).await?.ask(&request).await?) })?;
    match answer {
        EdgeAnswer::Created { text, token } => created(file, &text, &token, as_json)?,
        EdgeAnswer::Tokens(tokens) if as_json => println!("{:#}", json!(tokens)),
        EdgeAnswer::Tokens(tokens) => tokens.iter().for_each(|t| println!("{}", token_line(t))),
        EdgeAnswer::Edges { edges, .. } if as_json => println!("{:#}", json!(edges)),
        EdgeAnswer::Edges { edges, halted } => {
            edges.iter().for_each(|edge| println!("{}", edge_line(edge)));
            halted.iter().for_each(|halted| println!("{}", halted_line(halted)));
        }
        EdgeAnswer::TokenRevoked { id } => println!("{id} is revoked; edges that joined stay"),
        EdgeAnswer::Revoked { id, name } => println!("{name} ({id}) is shut out"),
    }
    Ok(())
}

fn created(
    file: &ControlFile,
    text: &str,
    token: &TokenShown,
    as_json: bool,
) -> anyhow::Result<()> {
    let url = file.edges.as_ref().map(url);
    if as_json {
        let mut shown = json!(token);
        shown["token"] = json!(text);
        shown["url"] = json!(url);
        println!("{shown:#}");
        return Ok(());
    }
    println!("{text}");
    eprintln!("join token {}; it is not shown again", token_line(token));
    match url {
        Some(url) => eprintln!("on the edge: weir run weir.toml --control {url} --join TOKEN"),
        None => eprintln!("no edge can join yet: the control file has no [edges]"),
    }
    Ok(())
}

/// Where edges find the control plane, by the name that reaches furthest.
fn url(edges: &EdgesSettings) -> String {
    let local = |name: &&String| match name.parse::<IpAddr>() {
        Ok(address) => address.is_loopback(),
        Err(_) => *name == "localhost",
    };
    let name = edges.names.iter().find(|name| !local(name)).or(edges.names.first());
    let host = match name.map(|name| (name, name.parse::<IpAddr>())) {
        Some((_, Ok(IpAddr::V6(address)))) => format!("[{address}]"),
        Some((name, _)) => name.clone(),
        None => edges.address.ip().to_string(),
    };
    match edges.address.port() {
        0 => format!("https://{host}:PORT"),
        port => format!("https://{host}:{port}"),
    }
}

fn token_line(token: &TokenShown) -> String {
    let TokenShown { id, name, roles, ends_ms, uses, .. } = token;
    let uses = uses.map_or("any number of uses".to_owned(), |uses| match uses {
        1 => "1 use".to_owned(),
        uses => format!("{uses} uses"),
    });
    format!("{id} {name} {}, {uses} left, ends {}", roles_word(roles), time(*ends_ms))
}

fn edge_line(edge: &EdgeShown) -> String {
    let record = &edge.record;
    let who = format!("{} {} {}", record.name, record.id, roles_word(&record.roles));
    if let Some(revoked) = record.revoked_ms {
        return format!("{who} revoked {}", time(revoked));
    }
    let Some(status) = &edge.status else {
        return format!("{who} away, joined {}", time(record.joined_ms));
    };
    let state = match status.state {
        EdgeState::Away => "away",
        EdgeState::Current => "current",
        EdgeState::Behind => "behind",
        EdgeState::Refusing => "refusing",
    };
    let canary = if status.canary { ", canary" } else { "" };
    let has = status.has.as_ref().map_or("none".to_owned(), |has| has.generation.to_string());
    let (version, meant, lag) = (printable(&status.version), status.meant, status.lag_ms);
    let mut line = format!(
        "{who} {state}{canary}, version {version}, generation {has} of {meant}, lag {}.{:03} s",
        lag / 1_000,
        lag % 1_000
    );
    for fault in &status.faults {
        line += &format!("\n  {}", printable(fault));
    }
    line
}

fn halted_line(halted: &Halted) -> String {
    let Halted { generation, at_ms, why } = halted;
    format!("generation {generation} was halted {}: {}", time(*at_ms), printable(why))
}

/// What an edge said does not get to speak to the terminal.
fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

fn roles_word(roles: &[Role]) -> String {
    let word = |role: &Role| match role {
        Role::Proxy => "proxy",
        Role::Packet => "packet",
    };
    roles.iter().map(word).collect::<Vec<_>>().join("+")
}

fn time(ms: u64) -> String {
    timestamp(ms.saturating_mul(1_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_for_edges_has_the_name_that_reaches_furthest() {
        for (address, names, expect) in [
            ("127.0.0.1:8781", &["127.0.0.1", "localhost"][..], "https://127.0.0.1:8781"),
            ("0.0.0.0:8781", &["localhost", "c.example"][..], "https://c.example:8781"),
            ("[::]:1", &["::1", "2001:db8::1"][..], "https://[2001:db8::1]:1"),
            ("192.0.2.1:0", &["192.0.2.1"][..], "https://192.0.2.1:PORT"),
        ] {
            let edges = EdgesSettings {
                address: address.parse().unwrap(),
                names: names.iter().map(|name| (*name).to_owned()).collect(),
                certificate_life: Duration::from_secs(1),
                connections: 1,
            };
            assert_eq!(url(&edges), expect, "{address}");
        }
    }
}
