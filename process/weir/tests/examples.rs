//! Each file in examples/ starts, and each `# curl` line of its comments gives what the comment
//! below it says. Only the ports are others, so that tests do not meet on them. What handles
//! packets is checked and not started.

use crate::support::files::{TempDir, free_port};
use crate::support::process::{Guard, command, run, workspace};
use crate::support::tls::{Authority, VALID};
use crate::support::upstream::{Conn, Upstream};
use crate::support::wait::{self, SOON};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The ports that the examples use: listeners, the admin listener, origins.
const PORTS: [&str; 9] = ["8080", "8081", "8082", "8443", "9900", "9001", "9002", "9003", "9004"];

fn files() -> Vec<PathBuf> {
    let folder = workspace().join("examples");
    let entries = std::fs::read_dir(&folder).expect("there is a folder of examples");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("readable").path()).collect();
    files.retain(|file| file.extension().is_some_and(|e| e == "toml"));
    files.sort();
    assert!(!files.is_empty(), "no examples in {}", folder.display());
    files
}

/// Makes the certificates and keys that an example names.
fn furnish(folder: &Path, text: &str) {
    let ca = Authority::new();
    let pem = ca.issue(&["localhost", "*.localhost", "example.com", "127.0.0.1"], VALID);
    for quoted in text.split('"').skip(1).step_by(2) {
        let contents: Vec<u8> = match Path::new(quoted).extension().and_then(|e| e.to_str()) {
            Some("pem" | "crt") if quoted.contains("ca.") => ca.pem.clone().into(),
            Some("pem" | "crt") => pem.certificate.clone().into(),
            Some("key") if quoted.contains("ticket") => vec![7; 80],
            Some("key") => pem.key.clone().into(),
            _ => continue,
        };
        let path = folder.join(quoted);
        std::fs::create_dir_all(path.parent().expect("it is below the folder")).expect("writable");
        std::fs::write(path, contents).expect("writable");
    }
}

/// Origins on every port that an example sends requests to.
fn origins(text: &str) -> Vec<Upstream> {
    let mut ports = std::collections::BTreeSet::new();
    let mut in_origin = false;
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            in_origin = line == "[[pool.origins]]";
        }
        if let (true, Some(port)) = (in_origin, line.strip_prefix("port = ")) {
            ports.extend(port.parse::<u16>());
        }
    }
    ports.into_iter().map(|port| Upstream::start_at(port, Conn::serve)).collect()
}

/// A curl line of a comment, and the comment below it.
struct Try {
    line: String,
    says: String,
}

fn tries(text: &str) -> Vec<Try> {
    let mut list: Vec<Try> = Vec::new();
    for comment in text.lines().take_while(|line| line.starts_with('#')) {
        match (comment.strip_prefix("# curl "), comment.strip_prefix("#   ")) {
            (Some(line), _) => list.push(Try { line: line.to_owned(), says: String::new() }),
            (None, Some(says)) => {
                if let Some(last) = list.last_mut() {
                    last.says.push_str(says);
                    last.says.push(' ');
                }
            }
            _ => {}
        }
    }
    list
}

impl Try {
    /// Runs the line and holds its output to the first sentence of the comment: a status at its
    /// start, and what it quotes after the word `with`.
    #[track_caller]
    fn check(&self, name: &str, folder: &Path) {
        let line = format!("curl -sS --max-time 10 {}", self.line);
        let (good, out, err) = run(Command::new("sh").arg("-c").arg(&line).current_dir(folder));
        assert!(good, "{name}: `{line}` failed: {out}{err}");
        assert!(!out.is_empty(), "{name}: `{line}` printed nothing: {err}");
        let start = self.says.strip_prefix("HTTP/1.1 ").unwrap_or(&self.says);
        let status = start.get(..3).filter(|word| word.bytes().all(|b| b.is_ascii_digit()));
        if let Some(status) = status {
            let found = out.lines().any(|line| line.starts_with(&format!("HTTP/1.1 {status}")));
            assert!(found, "{name}: `{line}`: no {status} in {out}");
        }
        let sentence = self.says.split(". ").next().unwrap_or_default();
        for quoted in sentence.split("with `").skip(1) {
            let quoted = quoted.split('`').next().unwrap_or_default().to_lowercase();
            let found = out.to_lowercase().contains(&quoted);
            assert!(found, "{name}: `{line}`: no {quoted:?} in {out}");
        }
    }
}

#[test]
fn examples_start_and_their_curl_lines_work() {
    let (mut lines, files) = (0, files());
    for file in &files {
        let name = file.file_name().and_then(|n| n.to_str()).expect("a name");
        let mut text = std::fs::read_to_string(file).expect("readable");
        if text.contains("\n[packet]") {
            // It needs root and an interface to start; the rest of it can be told here.
            let (good, out, err) = run(command().arg("check").arg(file));
            assert!(good && err.is_empty(), "{name}: {out}{err}");
            continue;
        }
        let admin =
            if text.contains("[admin]") { "" } else { "\n[admin]\naddress = \"127.0.0.1:9900\"\n" };
        text.push_str(admin);
        // By way of a mark, since a free port may hold the digits of a port still to be replaced.
        for (n, port) in PORTS.iter().enumerate() {
            text = text.replace(port, &format!("<port {n}>"));
        }
        for n in 0..PORTS.len() {
            text = text.replace(&format!("<port {n}>"), &free_port().to_string());
        }
        let dir = TempDir::new();
        let folder = dir.path().join("examples");
        std::fs::create_dir_all(&folder).expect("writable");
        furnish(&folder, &text);
        let copy = folder.join(name);
        std::fs::write(&copy, &text).expect("writable");
        let origins = origins(&text);
        assert!(!origins.is_empty(), "{name}: no origins found");
        let mut guard = Guard::start(command().arg("run").arg(&copy).current_dir(dir.path()));
        wait::until(&format!("{name} is ready"), SOON, || {
            assert!(guard.ended().is_none(), "{name} ended: {}", guard.stderr.text());
            guard.stderr.text().contains("ready")
        });
        let tries = tries(&text);
        assert!(!tries.is_empty(), "{name}: no curl lines");
        for one in &tries {
            one.check(name, dir.path());
        }
        lines += tries.len();
    }
    println!("examples: {} files, {lines} curl lines", files.len());
}
