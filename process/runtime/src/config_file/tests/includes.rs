//! Files that include files, for real.

use super::{BASE, Folder, shown};
use std::os::unix::fs::symlink;

#[test]
fn included_files_are_read_in_order_and_refer_to_each_other() {
    let folder = Folder::new();
    folder.write("weir.toml", format!("include = [\"conf.d/*.toml\", \"more.toml\"]\n{BASE}"));
    let host = |name: &str, pool: &str| {
        format!("[[load_balancer]]\nname = \"{name}\"\ndefault_pools = [\"{pool}\"]\n")
    };
    folder.write("conf.d/20-b.toml", host("b.test", "late"));
    folder.write("conf.d/10-a.toml", host("a.test", "base"));
    folder.write("conf.d/.hidden.toml", "not read");
    folder.write("conf.d/readme.txt", "not read");
    folder.write(
        "more.toml",
        "[runtime]\nworkers = 3\n[[pool]]\nname = \"late\"\n\
         origins = [{ name = \"x\", address = \"::1\" }]",
    );
    let loaded = folder.load("weir.toml").unwrap();
    let hosts: Vec<&str> = loaded.config.load_balancers.iter().map(|lb| lb.name.as_ref()).collect();
    assert_eq!(hosts, ["base.test", "a.test", "b.test"]);
    assert_eq!(loaded.config.runtime.workers, 3);
    let files: Vec<_> =
        loaded.files.iter().map(|file| file.strip_prefix(&folder.0).unwrap()).collect();
    let files: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
    assert_eq!(files, ["weir.toml", "conf.d/10-a.toml", "conf.d/20-b.toml", "more.toml"]);
}

#[test]
fn a_file_is_read_once_and_the_main_one_not_again() {
    let folder = Folder::new();
    folder.write("weir.toml", format!("include = [\"*.toml\", \"a.toml\"]\n{BASE}"));
    let a = folder.write("a.toml", "[runtime]\nworkers = 2");
    symlink(a, folder.0.join("b.toml")).unwrap();
    let loaded = folder.load("weir.toml").unwrap();
    assert_eq!(loaded.files.len(), 2, "{:?}", loaded.files);
}

#[test]
fn faults_name_the_file_they_stand_in() {
    let folder = Folder::new();
    folder.write(
        "weir.toml",
        "include = [\"a.toml\", \"b.toml\", \"gone.toml\", \"*/x.toml\"]\n[admin]\nx = 1",
    );
    folder.write("a.toml", "[admin]\ny = 1\n[[pool]]\nname = \"p\"");
    folder.write("b.toml", "include = [\"c.toml\"]\nz = \n");
    let faults = folder.load("weir.toml").unwrap_err();
    let mut told: Vec<String> = Vec::new();
    for fault in &faults {
        let file = fault.place.file.rsplit('/').next().unwrap();
        let (line, what) =
            (fault.place.line, fault.what.replace(&folder.0.display().to_string(), ""));
        told.push(format!("{file}:{line} {what}"));
    }
    assert_eq!(
        told,
        [
            "a.toml:1 [admin] stands at /weir.toml:2:2 already",
            "a.toml:2 `y` is not a key of this table",
            "a.toml:3 `origins` is missing",
            "b.toml:1 an included file cannot include others",
            "b.toml:2 not TOML: string values must be quoted, expected literal string",
            "weir.toml:1 cannot read /gone.toml: no such file",
            "weir.toml:1 `*` and `?` may stand in the file name only",
            "weir.toml:3 `x` is not a key of this table",
        ],
        "{}",
        shown(&faults)
    );
}

#[test]
fn names_are_unique_over_files() {
    let folder = Folder::new();
    folder.write("weir.toml", format!("include = [\"a.toml\"]\n{BASE}"));
    folder.write("a.toml", BASE);
    let faults = folder.load("weir.toml").unwrap_err();
    // Listener (name and address), monitor, pool and host.
    assert_eq!(faults.len(), 5, "{}", shown(&faults));
    assert!(faults.iter().all(|fault| fault.place.file.ends_with("a.toml")), "{}", shown(&faults));
}

#[test]
fn a_main_file_that_is_missing_is_one_fault() {
    let faults = super::super::load("/nonexistent/weir.toml".as_ref()).unwrap_err();
    assert_eq!(faults.len(), 1);
    let told = faults[0].to_string();
    assert!(
        told.starts_with("/nonexistent/weir.toml: cannot read the configuration: no such file")
    );
}
