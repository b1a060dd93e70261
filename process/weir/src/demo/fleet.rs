//! `weir demo --fleet`: control planes and three edges as processes of their own, three origins
//! before which they stand, and requests through every edge.
//!
//! Everything is done as an operator would do it: files, `weir token create`, calls of the API,
//! `weir edge token create`, `weir run`. What it does by itself is in `show`.

mod api;
mod children;
mod edge;
mod place;
mod show;

use super::client::Door;
use super::load::{CLIENTS, Load, Plan, RATE};
use super::origins::{NAMES, Origins};
use super::tally::{Tally, say};
use anyhow::{Context, bail};
use api::{Api, Objects};
use children::{Children, Program};
use place::{EdgeAt, Place, PlaneAt};
use process_runtime::signals::Signals;
use serde_json::Value;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::Duration;

/// Edges.
const EDGES: u16 = 3;
/// The host of all requests.
const HOST: &str = "www.example.test";
/// How long a process may take to be ready, on a busy machine.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// What can be typed after `weir demo --fleet`.
#[derive(clap::Args, Debug)]
pub(crate) struct OfFleet {
    /// With --fleet: keep the objects in etcd, which is started too, with two control planes.
    #[arg(long, requires = "fleet")]
    etcd: bool,
    /// With --fleet: serve the API over TLS, by a certificate that is made for the demo.
    #[arg(long, requires = "fleet")]
    tls: bool,
    /// With --fleet: write the variables of Cloudflare's clients to this file once all is ready;
    /// the demo then changes and kills nothing by itself.
    #[arg(long, requires = "fleet", value_name = "PATH")]
    env_file: Option<PathBuf>,
    /// With --fleet: change and kill nothing.
    #[arg(long, requires = "fleet")]
    no_show: bool,
    /// With --fleet: where the API is served; edges and further control planes use ports after it.
    #[arg(long, requires = "fleet", value_name = "ADDR", default_value = "127.0.0.1:8780")]
    api: SocketAddr,
}

/// What was typed.
type Wish = super::Options;

/// A fleet that runs.
struct Running<'p> {
    place: &'p Place,
    children: &'p Children,
    api: Api,
    objects: Objects,
}

/// Runs the demo to its end.
///
/// # Errors
/// An address that cannot be had, with the flag that names another; a process that does not start,
/// with the end of its log; something that was to be shown and did not happen.
pub(super) fn run(wish: &Wish) -> anyhow::Result<ExitCode> {
    if wish.of_fleet.etcd {
        has_etcd()?;
    }
    let place = Place::new(wish)?;
    let origins = Origins::start().context("starting the origins")?;
    let children = Children::new(&place.path(""));
    let tally = Arc::new(Tally::new());
    let mut load = None;
    let done = crate::control::runtime()?.block_on(async {
        let mut signals = Signals::new().context("signals")?;
        let signalled = async { while !signals.next().await.ends() {} };
        tokio::select! {
            biased;
            () = signalled => Ok(()),
            done = story(wish, &place, &children, &origins, &tally, &mut load) => done,
        }
    });
    // Before the edges end, so that no request is cut.
    if let Some(load) = load {
        Load::finish(load);
    }
    children.end();
    done?;
    let (requests, failed) = tally.totals();
    let (line, code) = super::summary(requests, failed);
    say(&line);
    Ok(ExitCode::from(code))
}

/// All of it, from the first process to the end of the time.
async fn story(
    wish: &Wish,
    place: &Place,
    children: &Children,
    origins: &Origins,
    tally: &Arc<Tally>,
    load: &mut Option<Load>,
) -> anyhow::Result<()> {
    let running = Running::start(place, children, origins).await?;
    announce(wish, &running);
    if let Some(path) = &wish.of_fleet.env_file {
        write_variables(path, &running).with_context(|| path.display().to_string())?;
    }
    if !wish.no_load {
        let doors = place.edges.iter().map(EdgeAt::door).collect();
        let edges = place.edges.clone();
        let line = move |second: &super::tally::Second| {
            let told: Vec<_> = edges.iter().map(|edge| (edge, edge.told())).collect();
            edge::line(second, &told)
        };
        let started = Load::start(&Plan { doors, upload: "POST" }, tally, line);
        *load = Some(started.context("the clients of the demo")?);
    }
    let time = async {
        match wish.time {
            Some(time) => tokio::time::sleep(time).await,
            None => std::future::pending().await,
        }
    };
    let work = async {
        if shows(wish) {
            show::all(&running).await?;
        }
        children.watch().await;
        Ok(())
    };
    tokio::select! {
        biased;
        () = time => Ok(()),
        done = work => done,
    }
}

/// Whether the demo changes and kills something by itself.
fn shows(wish: &Wish) -> bool {
    !wish.of_fleet.no_show && wish.of_fleet.env_file.is_none()
}

impl<'p> Running<'p> {
    /// Starts everything, and makes the objects.
    async fn start(
        place: &'p Place,
        children: &'p Children,
        origins: &Origins,
    ) -> anyhow::Result<Self> {
        if let Some(addresses) = place.etcd {
            etcd(place, children, addresses).await?;
        }
        let first = place.planes.first().context("a control plane")?;
        let file = place.text(&format!("{}.toml", first.name));
        let words = ["token", "create", "--control", &file, "--name", "demo", "--json"];
        let api = api_of(place, first, text(&weir(&words).await?, "token")?);
        let objects = Objects { account: String::new(), zone: String::new(), pools: Vec::new() };
        let mut running = Self { place, children, api, objects };
        for plane in &place.planes {
            let file = place.text(&format!("{}.toml", plane.name));
            children.start(&program(&plane.name, &["control", &file])?)?;
            running.ready(&plane.name, &running.of(plane)).await?;
        }
        let (api, all) = (running.api.clone(), origins.all.clone());
        running.objects = blocking(move || api.objects(&all)).await?;
        let uses = EDGES.to_string();
        let words =
            ["edge", "token", "create", "--control", &file, "--name", "demo", "--uses", &uses];
        let made = weir(&[&words[..], &["--json"]].concat()).await?;
        place.write("join-token", &text(&made, "token")?)?;
        for edge in &place.edges {
            let file = place.text(&format!("{}.toml", edge.name));
            children.start(&program(&edge.name, &["run", &file])?)?;
        }
        for edge in &place.edges {
            let ready = async || {
                let edge = edge.clone();
                blocking(move || edge.asked().is_ok()).await
            };
            children.wait(&edge.name, READY_WITHIN, ready).await?;
        }
        Ok(running)
    }

    /// The API of a control plane.
    fn of(&self, plane: &PlaneAt) -> Api {
        api_of(self.place, plane, self.api.token.clone())
    }

    /// Waits until a control plane serves.
    async fn ready(&self, name: &str, api: &Api) -> anyhow::Result<()> {
        let ready = async || {
            let api = api.clone();
            blocking(move || api.call("GET", "/user/tokens/verify", None).is_ok()).await
        };
        self.children.wait(name, READY_WITHIN, ready).await
    }

    /// What Cloudflare's clients read, and where the edges are.
    fn variables(&self) -> Vec<(&'static str, String)> {
        let Self { place, api, objects, .. } = self;
        let mut all = vec![
            ("CLOUDFLARE_BASE_URL", api.base_url()),
            ("CLOUDFLARE_API_TOKEN", api.token.clone()),
            ("CLOUDFLARE_ACCOUNT_ID", objects.account.clone()),
            ("CLOUDFLARE_ZONE_ID", objects.zone.clone()),
        ];
        if place.trust.is_some() {
            let file = place.text("authority.crt");
            let names = ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"];
            all.extend(names.map(|name| (name, file.clone())));
        }
        all
    }
}

fn api_of(place: &Place, plane: &PlaneAt, token: String) -> Api {
    let door = Door { address: plane.api, tls: place.trust.clone(), host: "localhost" };
    Api { door, token }
}

/// `weir` with these words, as a process of the demo.
fn program(name: &str, words: &[&str]) -> anyhow::Result<Program> {
    let own = std::env::current_exe().context("the program's own file")?.display().to_string();
    let words = [own.as_str()].iter().chain(words).map(|word| (*word).to_owned()).collect();
    Ok(Program { name: name.to_owned(), words })
}

/// Runs `weir` with these words to its end; gives what it prints as JSON.
async fn weir(words: &[&str]) -> anyhow::Result<Value> {
    let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    let own = std::env::current_exe().context("the program's own file")?;
    blocking(move || {
        let what = || format!("weir {}", words.join(" "));
        let output = Command::new(own).args(&words).output().with_context(what)?;
        if !output.status.success() {
            bail!("{}: {}", what(), String::from_utf8_lossy(&output.stderr).trim());
        }
        serde_json::from_slice(&output.stdout).with_context(what)
    })
    .await
}

fn text(object: &Value, name: &str) -> anyhow::Result<String> {
    object[name].as_str().map(str::to_owned).with_context(|| format!("no {name} in {object}"))
}

/// Does something that waits, on a thread of its own.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        // It is never aborted, so it panicked; so does the demo.
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// Looks for etcd before anything starts.
fn has_etcd() -> anyhow::Result<()> {
    let found = Command::new("etcd").arg("--version").output();
    let found = found.is_ok_and(|output| output.status.success());
    anyhow::ensure!(
        found,
        "--etcd: there is no `etcd` here; on Debian and Ubuntu `apt-get install etcd-server` has it"
    );
    Ok(())
}

/// Starts etcd, and waits until it serves.
async fn etcd(
    place: &Place,
    children: &Children,
    [clients, peers]: [SocketAddr; 2],
) -> anyhow::Result<()> {
    let (client_url, peer_url) = (format!("http://{clients}"), format!("http://{peers}"));
    let words = [
        "etcd",
        "--name",
        "demo",
        "--data-dir",
        &place.text("etcd"),
        "--listen-client-urls",
        &client_url,
        "--advertise-client-urls",
        &client_url,
        "--listen-peer-urls",
        &peer_url,
        "--initial-advertise-peer-urls",
        &peer_url,
        "--initial-cluster",
        &format!("demo={peer_url}"),
    ];
    let words = words.map(str::to_owned).to_vec();
    children.start(&Program { name: "etcd".to_owned(), words })?;
    let door = Door { address: clients, tls: None, host: "localhost" };
    let ready = async || {
        let door = door.clone();
        blocking(move || healthy(&door)).await
    };
    children.wait("etcd", READY_WITHIN, ready).await
}

fn healthy(door: &Door) -> bool {
    use super::client::{Ask, Connection};
    let ask = Ask { method: "GET", target: "/health", body: None, fields: "", close: true };
    let reply = Connection::open(door).and_then(|mut open| open.ask(ask));
    reply.is_ok_and(|reply| reply.status == 200)
}

/// The lines that a shell takes.
fn exports(variables: &[(&str, String)]) -> String {
    // None of the values has a quote: addresses, ids, and paths below the temporary folder.
    variables.iter().map(|(name, value)| format!("export {name}='{value}'\n")).collect()
}

/// Writes the file of `--env-file`, whole or not at all.
fn write_variables(path: &Path, running: &Running<'_>) -> anyhow::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut name = path.file_name().context("the path of a file")?.to_owned();
    name.push(".new");
    let unfinished = path.with_file_name(name);
    let mut options = std::fs::OpenOptions::new();
    // It holds a token.
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    file.write_all(exports(&running.variables()).as_bytes())?;
    std::fs::rename(&unfinished, path)?;
    Ok(())
}

/// Says what runs and what to try.
fn announce(wish: &Wish, running: &Running<'_>) {
    let Running { place, children, .. } = running;
    let store = if place.etcd.is_some() { "etcd" } else { "a file" };
    say(&format!(
        "A fleet is ready on this machine: objects in {store}, three edges before three origins \
         ({}).\n",
        NAMES.join(", ")
    ));
    let line = |name: &str, what: String| {
        let pid = children.pid(name).unwrap_or(0);
        say(&format!(" {name:8} pid {pid:<7} {what}"));
    };
    for plane in &place.planes {
        let base = running.of(plane).base_url();
        line(&plane.name, format!("{base}   edges come to https://{}", plane.edges));
    }
    for EdgeAt { name, http, admin } in &place.edges {
        line(name, format!("http://{http}/   status http://{admin}/"));
    }
    say(&format!(
        " files, logs and state: {}\n\n{}\n\
         \x20 curl -H 'Host: {HOST}' http://{}/\n\
         \x20 curl -H \"Authorization: Bearer $CLOUDFLARE_API_TOKEN\" \
         \"$CLOUDFLARE_BASE_URL/accounts/$CLOUDFLARE_ACCOUNT_ID/load_balancers/pools\"\n\
         \x20 {} edge list --control {}\n",
        place.text(""),
        exports(&running.variables()),
        place.edges.first().map_or(wish.http, |edge| edge.http),
        std::env::current_exe().map_or("weir".to_owned(), |own| own.display().to_string()),
        place.text("plane-1.toml"),
    ));
    if wish.print_config {
        let plane = place.planes.first().map(|plane| place.control_file(plane));
        let edge = place.edges.first().map(|edge| place.edge_file(edge));
        for (name, file) in [("plane-1.toml", plane), ("edge-1.toml", edge)] {
            say(&format!("# {name}\n{}", file.unwrap_or_default()));
        }
    }
    if !wish.no_load {
        say(&format!(
            "Load: {RATE} requests/s by {CLIENTS} clients, a third of them through each edge. gN \
             is the generation\nthat an edge has, `alone` that it follows no control plane."
        ));
    }
    if shows(wish) {
        say(
            "The demo switches a pool off and on by the API, and kills a control plane; then it is \
             yours.",
        );
    }
    if wish.time.is_none() {
        say("Ctrl-C ends it.");
    }
    say("");
}
