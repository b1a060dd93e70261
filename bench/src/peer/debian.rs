//! Debian's newest suite, unpacked beside the system: its own list of sources, its own apt state,
//! its own C library and loader. Nothing is installed and nothing of the system changes.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::Network;
use crate::machine::Places;

/// The suite every upload arrives in first.
const SUITE: &str = "sid";
const PACKAGES: [&str; 2] = ["nginx", "haproxy"];
const STAMP: &str = "unpacked";

/// An unpacked suite.
#[derive(Clone, Debug)]
pub(super) struct Unpacked {
    root: PathBuf,
}

/// The unpacked packages, fetched where they are not there yet.
pub(super) fn newest(places: &Places, network: Network) -> Result<Unpacked> {
    let folder = places.peers.join(SUITE);
    let unpacked = Unpacked { root: folder.join("root") };
    if folder.join(STAMP).exists() {
        return Ok(unpacked);
    }
    if network == Network::Out {
        bail!("they were not fetched before");
    }
    eprintln!("bench: fetching {} of Debian {SUITE}", PACKAGES.join(", "));
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    for part in ["state/lists/partial", "cache/archives/partial", "root"] {
        fs::create_dir_all(folder.join(part))?;
    }
    let (mirror, keyring) = mirror(Path::new("/etc/apt"))?;
    let signed = keyring.map_or_else(String::new, |path| format!(" signed-by={path}"));
    let line = format!("deb [check-valid-until=no{signed}] {mirror} {SUITE} main\n");
    fs::write(folder.join("sources.list"), line)?;
    // An empty status file makes apt fetch the whole closure, the C library with it.
    fs::write(folder.join("status"), "")?;
    apt(&folder, &["update"])?;
    let mut words = vec!["install", "-y", "--no-install-recommends", "--download-only"];
    words.extend(PACKAGES);
    apt(&folder, &words)?;
    unpack(&folder.join("cache/archives"), &unpacked.root)?;
    fs::write(folder.join(STAMP), "")?;
    Ok(unpacked)
}

fn apt(folder: &Path, words: &[&str]) -> Result<()> {
    let mut command = Command::new("apt-get");
    for (key, part) in [
        ("Dir::Etc::SourceList", "sources.list"),
        ("Dir::Etc::SourceParts", "none"),
        ("Dir::State", "state"),
        ("Dir::State::status", "status"),
        ("Dir::Cache", "cache"),
    ] {
        command.arg("-o").arg(format!("{key}={}", folder.join(part).display()));
    }
    // The folder is this user's; apt's own user could not write there.
    command.args(["-o", "APT::Sandbox::User=root", "-q"]).args(words);
    let output = command.output().context("apt-get")?;
    if !output.status.success() {
        let says = String::from_utf8_lossy(&output.stderr).into_owned();
        bail!("apt-get {}: {}", words.join(" "), says.trim());
    }
    Ok(())
}

fn unpack(archives: &Path, root: &Path) -> Result<()> {
    for entry in fs::read_dir(archives)? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "deb") {
            continue;
        }
        let status = Command::new("dpkg-deb").arg("-x").arg(&path).arg(root).status();
        if !status.context("dpkg-deb")?.success() {
            bail!("dpkg-deb -x {} failed", path.display());
        }
    }
    Ok(())
}

/// The mirror this system takes Debian from, and the keyring that signs it.
fn mirror(apt: &Path) -> Result<(String, Option<String>)> {
    let mut files = vec![apt.join("sources.list")];
    if let Ok(entries) = fs::read_dir(apt.join("sources.list.d")) {
        files.extend(entries.flatten().map(|entry| entry.path()));
    }
    files.sort();
    for file in files {
        let known = file.extension().is_some_and(|name| name == "list" || name == "sources");
        let Ok(text) = fs::read_to_string(&file) else { continue };
        if known && let Some(found) = debian_source(&text) {
            return Ok(found);
        }
    }
    bail!("no source of the Debian archive in {}", apt.display())
}

/// The first archive address in a list of sources of either format.
fn debian_source(text: &str) -> Option<(String, Option<String>)> {
    for stanza in text.split("\n\n") {
        let lines = stanza.lines().filter(|line| !line.trim_start().starts_with('#'));
        let words: Vec<&str> = lines.flat_map(str::split_whitespace).collect();
        let archive = words
            .iter()
            .find(|word| word.contains("://") && word.trim_end_matches('/').ends_with("/debian"));
        if let Some(archive) = archive {
            let after = words.iter().skip_while(|word| **word != "Signed-By:").nth(1);
            let inline = words.iter().find_map(|word| {
                let word = word.trim_matches(['[', ']']);
                word.strip_prefix("signed-by=")
            });
            let keyring = after.copied().or(inline).filter(|path| path.starts_with('/'));
            return Some(((*archive).to_owned(), keyring.map(str::to_owned)));
        }
    }
    None
}

impl Unpacked {
    /// The command that starts an unpacked program with its own loader and libraries.
    pub(super) fn program(&self, path: &str) -> Result<Vec<OsString>> {
        let program = self.root.join(path);
        let libraries = fs::read_dir(self.root.join("usr/lib"))?
            .flatten()
            .map(|entry| entry.path())
            .find(|path| path.join("libc.so.6").exists())
            .context("the unpacked suite has no C library")?;
        let loader = ["usr/lib64", "lib64", "usr/lib", "lib"]
            .iter()
            .map(|part| self.root.join(part))
            .chain([libraries.clone()])
            .find_map(|folder| loader_in(&folder))
            .context("the unpacked suite has no loader")?;
        if !program.exists() {
            bail!("{path} is not in the unpacked suite");
        }
        let mut command = vec![loader.into_os_string(), "--library-path".into()];
        command.push(libraries.into_os_string());
        command.push(program.into_os_string());
        Ok(command)
    }
}

fn loader_in(folder: &Path) -> Option<PathBuf> {
    let mut files = fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path());
    files.find(|path| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.starts_with("ld-linux") && path.exists()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_archive_is_found_in_both_formats() {
        let deb822 = "Types: deb\n# http://old.test/debian\nURIs: http://mirror.test/debian\n\
                      Suites: stable\nSigned-By: /k.gpg\n";
        let line = "deb http://s.test/debian-security stable main\n\
                    deb [arch=amd64 signed-by=/k.gpg] https://mirror.test/debian/ stable main\n";
        for (text, address) in
            [(deb822, "http://mirror.test/debian"), (line, "https://mirror.test/debian/")]
        {
            let found = debian_source(text).unwrap();
            assert_eq!(found, (address.to_owned(), Some("/k.gpg".to_owned())));
        }
        assert_eq!(debian_source("deb http://mirror.test/ubuntu jammy main"), None);
    }
}
