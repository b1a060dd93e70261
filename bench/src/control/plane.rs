//! A control plane that is measured: a process with a store of its own, and calls of its API.

use crate::machine::Places;
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// Where everything listens: an address that nobody else has, so that its ports are free.
const IP: Ipv4Addr = Ipv4Addr::new(127, 88, 0, 1);
/// How long a program may take until it serves.
const START: Duration = Duration::from_secs(30);
/// Between two looks whether it does.
const LOOK: Duration = Duration::from_millis(50);
/// Bytes of a reply: a page of pools takes some hundred thousand.
const REPLY_BYTES_MAX: usize = 64 << 20;

/// A running plane.
#[derive(Debug)]
pub(super) struct Plane {
    child: Child,
    etcd: Option<Child>,
    weir: PathBuf,
    file: PathBuf,
    token: String,
    pub(super) account: String,
}

impl Plane {
    /// Starts one on an empty store.
    ///
    /// # Errors
    /// A program that does not start.
    pub(super) async fn start(places: &Places, weir: &Path, etcd: bool) -> Result<Self> {
        let folder = places.work.join("control");
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        let store = if etcd {
            format!("[store.etcd]\nendpoints = [\"http://{IP}:2379\"]\n")
        } else {
            "[store]\npath = \"store\"\n".to_owned()
        };
        let text = format!(
            "[control]\naddress = \"{}\"\n[edges]\naddress = \"{}\"\n{store}[limits]\n\
             calls_per_token = 10000000\ncalls_per_address = 10000000\n[logging]\n\
             level = \"warn\"\n",
            Self::api(),
            Self::edges()
        );
        let file = folder.join("control.toml");
        fs::write(&file, text)?;
        let etcd = if etcd { Some(start_etcd(&folder).await?) } else { None };
        let made = told(weir, &["token", "create", "--json"], &file)?;
        let token = made["token"].as_str().context("a token")?.to_owned();
        let log = fs::File::create(folder.join("plane.log"))?;
        let mut command = Command::new(weir);
        command.arg("control").arg(&file).stdin(Stdio::null());
        let child = command.stdout(Stdio::null()).stderr(log).spawn().context("weir control")?;
        let (weir, account) = (weir.to_owned(), String::new());
        let mut plane = Self { child, etcd, weir, file, token, account };
        let mut caller = reached(Self::api(), || plane.caller()).await?;
        let accounts = caller.call("GET", "/accounts", None).await?;
        plane.account = text_of(&accounts[0], "id")?;
        Ok(plane)
    }

    /// Where its API is.
    pub(super) fn api() -> SocketAddr {
        (IP, 8780).into()
    }

    /// Where edges come to.
    pub(super) fn edges() -> SocketAddr {
        (IP, 8781).into()
    }

    /// Its process.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A join token for any number of edges.
    ///
    /// # Errors
    /// It is refused.
    pub(super) fn join_token(&self) -> Result<String> {
        let words = ["edge", "token", "create", "--uses", "0", "--json"];
        text_of(&told(&self.weir, &words, &self.file)?, "token")
    }

    /// A connection to its API.
    ///
    /// # Errors
    /// It cannot be reached.
    pub(super) async fn caller(&self) -> Result<Caller> {
        let stream = TcpStream::connect(Self::api()).await?;
        stream.set_nodelay(true)?;
        Ok(Caller { stream: BufReader::new(stream), token: self.token.clone() })
    }

    /// Makes so many pools, each with two origins, and as many hosts; gives the pools' ids.
    ///
    /// # Errors
    /// A call is refused.
    pub(super) async fn objects(&self, count: usize) -> Result<Vec<String>> {
        let mut caller = self.caller().await?;
        let zone = json!({"name": "example.test", "account": {"id": self.account}});
        let zone = text_of(&caller.call("POST", "/zones", Some(&zone)).await?, "id")?;
        let mut pools = Vec::new();
        for at in 0..count {
            let pool = json!({"name": format!("pool-{at}"), "origins": origins(at, 0)});
            let pool = caller.call("POST", &self.pools(), Some(&pool)).await?;
            let id = text_of(&pool, "id")?;
            let host = json!({
                "name": format!("host-{at}.example.test"), "default_pools": [id],
                "fallback_pool": id,
            });
            caller.call("POST", &format!("/zones/{zone}/load_balancers"), Some(&host)).await?;
            pools.push(id);
        }
        Ok(pools)
    }

    fn pools(&self) -> String {
        format!("/accounts/{}/load_balancers/pools", self.account)
    }

    /// The path of a pool.
    pub(super) fn pool(&self, id: &str) -> String {
        format!("{}/{id}", self.pools())
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        for child in [Some(&mut self.child), self.etcd.as_mut()].into_iter().flatten() {
            // An error means that it has ended.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// What changes the pool of this index, where the number is another than the last time.
pub(super) fn change(at: usize, number: usize) -> Value {
    json!({"origins": origins(at, number)})
}

fn origins(at: usize, number: usize) -> Value {
    let (last, weight) = (at % 250 + 1, (number % 100) as f64 / 100.0);
    json!([
        {"name": "a", "address": format!("192.0.2.{last}"), "weight": weight},
        {"name": "b", "address": format!("198.51.100.{last}"), "weight": 1},
    ])
}

fn text_of(object: &Value, name: &str) -> Result<String> {
    let text = object[name].as_str().map(str::to_owned);
    text.with_context(|| format!("no {name} in {object}"))
}

/// What `weir` prints as JSON.
fn told(weir: &Path, words: &[&str], file: &Path) -> Result<Value> {
    let output = Command::new(weir).args(words).arg("--control").arg(file).output();
    let output = output.with_context(|| weir.display().to_string())?;
    if !output.status.success() {
        bail!("weir {}: {}", words.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

async fn reached<T>(address: SocketAddr, mut attempt: impl AsyncFnMut() -> Result<T>) -> Result<T> {
    let until = Instant::now() + START;
    loop {
        match attempt().await {
            Ok(reached) => return Ok(reached),
            Err(_) if Instant::now() < until => tokio::time::sleep(LOOK).await,
            Err(error) => return Err(error).with_context(|| format!("{address} does not serve")),
        }
    }
}

async fn start_etcd(folder: &Path) -> Result<Child> {
    let (clients, peers) = (format!("http://{IP}:2379"), format!("http://{IP}:2380"));
    let mut command = Command::new("etcd");
    command.arg("--name").arg("bench").arg("--data-dir").arg(folder.join("etcd"));
    command.args(["--listen-client-urls", &clients, "--advertise-client-urls", &clients]);
    command.args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers]);
    command.args(["--initial-cluster", &format!("bench={peers}")]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let child = command.spawn().context("etcd: `apt-get install etcd-server` has it")?;
    let address = (IP, 2379).into();
    reached(address, async || {
        let stream = BufReader::new(TcpStream::connect(address).await?);
        let mut caller = Caller { stream, token: String::new() };
        let health = caller.reply("GET", "/health", None).await?;
        anyhow::ensure!(health["health"] == "true", "{health}");
        Ok(())
    })
    .await?;
    Ok(child)
}

/// One connection, with one call at a time.
#[derive(Debug)]
pub(super) struct Caller {
    stream: BufReader<TcpStream>,
    token: String,
}

impl Caller {
    /// One call; gives its `result`.
    ///
    /// # Errors
    /// It is refused, or the connection is lost.
    pub(super) async fn call(
        &mut self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value> {
        let target = format!("/client/v4{path}");
        let mut reply = self.reply(method, &target, body).await?;
        match reply["success"].as_bool() {
            Some(true) => Ok(reply["result"].take()),
            _ => bail!("{method} {path}: {}", reply["errors"]),
        }
    }

    async fn reply(&mut self, method: &str, target: &str, body: Option<&Value>) -> Result<Value> {
        let body = body.map(Value::to_string).unwrap_or_default();
        let head = format!(
            "{method} {target} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.token,
            body.len()
        );
        self.stream.write_all(head.as_bytes()).await?;
        let mut length = None;
        loop {
            let mut line = String::new();
            if self.stream.read_line(&mut line).await? == 0 {
                bail!("{method} {target}: the connection was closed");
            }
            let line = line.trim_end();
            if line.is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse::<usize>().ok();
            }
        }
        let length = length.filter(|length| *length <= REPLY_BYTES_MAX);
        let mut bytes = vec![0; length.context("a reply without a length that is taken")?];
        self.stream.read_exact(&mut bytes).await?;
        Ok(serde_json::from_slice(&bytes)?)
    }
}
