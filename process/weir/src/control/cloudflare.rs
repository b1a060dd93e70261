//! `weir import cloudflare`: the objects of an account, read from its API or from files, into the
//! store.

use super::apply::{BASE_URL, TOKEN, token};
use super::{on, reach, runtime};
use clap::Args;
use control_plane::client::Api;
use control_plane::import::{Bringing, Brought, Gathered, from_api, from_files};
use control_plane::operate::Request;
use std::path::PathBuf;
use std::process::ExitCode;

/// Where Cloudflare serves its API.
const CLOUDFLARE: &str = "https://api.cloudflare.com/client/v4";

/// What is read, and where it goes.
#[derive(Args, Debug)]
pub(crate) struct Cloudflare {
    /// The id of the account that is read.
    #[arg(long, required_unless_present = "from")]
    account: Option<String>,
    /// A zone that is read, by name or id; all of the account where none is given.
    #[arg(long, conflicts_with = "from")]
    zone: Vec<String>,
    /// The variable that holds a token of the account.
    #[arg(long, default_value = TOKEN)]
    token_env: String,
    /// Base URL of the API; that in `CLOUDFLARE_BASE_URL`, or Cloudflare's, where none is given.
    #[arg(long)]
    base_url: Option<String>,
    /// A folder or file with replies of the API in place of the API: `pools.json`, `zones.json`,
    /// `zones/ID/load_balancers.json`.
    #[arg(long, conflicts_with = "base_url")]
    from: Option<PathBuf>,
    /// The account here, by name or id; that of the same id, or a new one, where none is given.
    #[arg(long)]
    into: Option<String>,
    /// The file of `weir control`.
    #[arg(long = "control")]
    file: PathBuf,
    /// Tell what would change, and change nothing.
    #[arg(long)]
    dry_run: bool,
}

impl Cloudflare {
    /// Does it.
    ///
    /// # Errors
    /// What kept it from its work.
    pub(crate) fn run(&self) -> anyhow::Result<ExitCode> {
        on(&self.file, |file| {
            runtime()?.block_on(async {
                let gathered = self.gather().await?;
                for unread in &gathered.unread {
                    eprintln!("not read: {unread}");
                }
                let (into, dry_run) = (self.into.clone(), self.dry_run);
                let bringing = Bringing { gathered, into, dry_run };
                let brought = reach(&file).await?.ask(&Request::Bring(bringing)).await?;
                show(&brought);
                Ok(())
            })
        })
    }

    async fn gather(&self) -> anyhow::Result<Gathered> {
        if let Some(path) = &self.from {
            return Ok(from_files(path)?);
        }
        let url = self.base_url.clone().or_else(|| std::env::var(BASE_URL).ok());
        let url = url.filter(|url| !url.is_empty());
        let url = url.as_deref().unwrap_or(CLOUDFLARE);
        let mut api = Api::new(url, &token(&self.token_env)?)?;
        let account = self.account.as_deref().unwrap_or_default();
        Ok(from_api(&mut api, account, &self.zone).await?)
    }
}

fn show(brought: &Brought) {
    brought.changes.iter().for_each(|change| println!("{change}"));
    for place in &brought.left_out {
        println!("left out, since Weir does not know it: {place}");
    }
    for (there, here) in &brought.renamed {
        println!("another id, since it is not free: {there} is {here}");
    }
    let (read, places) = (brought.read, brought.changes.len());
    match brought.applied {
        true => println!(
            "{read} objects read, {places} places changed; this is revision {}",
            brought.revision
        ),
        false => println!("{read} objects read, {places} places would change"),
    }
}
