//! A control plane that runs, with a token for everything.

use crate::support::files::TempDir;
use crate::support::process::{Guard, command, run};
use crate::support::wait::{self, SOON};
use serde_json::Value;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Limits that no test meets by chance.
const AMPLE: &str = "\n[limits]\ncalls_per_token = 10000000\ncalls_per_address = 10000000\n\
                     denials_per_address = 1000000\n";

/// A running control plane.
pub(super) struct Plane {
    pub(super) guard: Guard,
    pub(super) token: String,
    pub(super) account: String,
    /// Ends in `/client/v4`.
    pub(super) url: String,
    pub(super) dir: TempDir,
}

/// How long a client may take for all its calls, and schemathesis in a soak.
const CLIENT: [Duration; 2] = [Duration::from_secs(300), Duration::from_secs(3_600)];

/// Runs a client to its end; gives whether it succeeded and all that it said.
#[track_caller]
pub(super) fn run_client(command: &mut Command) -> (bool, String) {
    let bound = CLIENT[usize::from(std::env::var_os("WEIR_SOAK").is_some())];
    let mut guard = Guard::start(command);
    let status = guard.exit(bound);
    wait::until("the output is complete", SOON, || guard.stdout.ended() && guard.stderr.ended());
    (status.success(), guard.stdout.text() + &guard.stderr.text())
}

/// `weir` with these words.
pub(crate) fn weir(words: &[&str]) -> (bool, String, String) {
    run(command().args(words))
}

/// Writes a control file with a port that the kernel chooses.
pub(crate) fn control_file(dir: &TempDir, more: &str) -> PathBuf {
    let text = format!("[control]\naddress = \"127.0.0.1:0\"\n{more}{AMPLE}");
    dir.write("control.toml", text)
}

/// A control plane that serves `file`, and its base URL.
pub(crate) fn serve(file: &Path) -> (Guard, String) {
    let mut guard = Guard::start(command().arg("control").arg(file));
    let url = wait::value("the control plane says where it serves", SOON, || {
        assert!(guard.ended().is_none(), "it ended: {}", guard.stderr.text());
        let told = guard.stderr.text();
        let rest = told.split("url=").nth(1)?;
        rest.split_once(' ').map(|(url, _)| url.to_owned())
    });
    (guard, url)
}

impl Plane {
    pub(super) fn start() -> Self {
        let dir = TempDir::new();
        let file = control_file(&dir, "");
        let path = file.display().to_string();
        let (good, out, err) = weir(&["token", "create", "--json", "--control", &path]);
        assert!(good, "{err}");
        let made: Value = serde_json::from_str(&out).expect("JSON");
        let token = made["token"].as_str().expect("a token").to_owned();
        let (guard, url) = serve(&file);
        let mut plane = Self { guard, token, account: String::new(), url, dir };
        let list = plane.ask("GET", "/accounts", "").1;
        plane.account = list["result"][0]["id"].as_str().expect("an account").to_owned();
        plane
    }

    /// One call: the status and the body.
    pub(crate) fn ask(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        ask(&self.url, &self.token, method, path, body)
    }

    /// A command with the variables that Cloudflare's clients read.
    pub(super) fn client(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .env("CLOUDFLARE_BASE_URL", &self.url)
            .env("CLOUDFLARE_API_TOKEN", &self.token)
            .env("CLOUDFLARE_ACCOUNT_ID", &self.account);
        command
    }
}

/// One call that a control plane may fail to answer: the status, the head and the body.
fn try_call(
    url: &str,
    token: &str,
    method: &str,
    target: &str,
    body: &str,
) -> io::Result<(u16, String, Value)> {
    let broken = || io::Error::from(io::ErrorKind::UnexpectedEof);
    let address = url.trim_start_matches("http://").split('/').next().expect("an address");
    let head = format!(
        "{method} {target} HTTP/1.1\r\nHost: api\r\nAuthorization: Bearer {token}\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(SOON))?;
    stream.write_all(head.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(broken)?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let body = serde_json::from_str(body).map_err(|_| broken())?;
    Ok((status.ok_or_else(broken)?, head.to_ascii_lowercase(), body))
}

/// As [`ask`], of a control plane that may fail to answer: the status, the head and the body.
pub(crate) fn try_ask(
    url: &str,
    token: &str,
    method: &str,
    path: &str,
    body: &str,
) -> io::Result<(u16, String, Value)> {
    try_call(url, token, method, &format!("/client/v4{path}"), body)
}

/// One call of Cloudflare's operations: the status and the body.
pub(crate) fn ask(url: &str, token: &str, method: &str, path: &str, body: &str) -> (u16, Value) {
    call(url, token, method, &format!("/client/v4{path}"), body)
}

/// One call of any: the status and the body.
pub(crate) fn call(url: &str, token: &str, method: &str, target: &str, body: &str) -> (u16, Value) {
    let (status, _, body) = try_call(url, token, method, target, body).expect("an answer");
    (status, body)
}
