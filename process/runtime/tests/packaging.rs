//! The unit files are ones that systemd takes, and the sandbox stays as tight as it was.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Tenths of systemd's exposure level (0 to 10); it counts the internet sockets and the host's
/// network, which a proxy must have.
const EXPOSURE_MAX: &str = "20";

fn packaging() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging")
}

/// Runs a program of Debian's package `systemd` and gives what it said.
fn systemd(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .unwrap_or_else(|e| panic!("{program}: {e}: install the Debian package systemd"));
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
    said
}

#[test]
fn systemd_takes_the_units_and_finds_them_tight() {
    let directory = std::env::temp_dir().join(format!("weir-units-{}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    let copy = |name: &str| {
        let unit = fs::read_to_string(packaging().join(name)).unwrap();
        let path = directory.join(name);
        // The check looks for the program, which a build machine need not have installed.
        fs::write(&path, unit.replace("/usr/bin/weir ", "/bin/true ")).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (service, socket) = (copy("weir.service"), copy("weir.socket"));
    let said = systemd("systemd-analyze", &["verify", "--man=no", &service, &socket]);
    // Warnings about an unknown or ignored setting end in success too.
    assert!(!said.contains("weir."), "{said}");
    let threshold = format!("--threshold={EXPOSURE_MAX}");
    let said = systemd(
        "systemd-analyze",
        &["security", "--no-pager", "--offline=true", &threshold, &service],
    );
    assert!(said.contains("exposure level for weir.service"), "{said}");
    fs::remove_dir_all(directory).unwrap();
}

#[test]
fn systemd_can_make_the_user() {
    let users = packaging().join("weir.sysusers").canonicalize().unwrap();
    let said = systemd("systemd-sysusers", &["--dry-run", users.to_str().unwrap()]);
    assert!(!said.contains("ignoring"), "{said}");
}
