//! Tests of the configuration file: faults by table, whole files, includes, certificates.

mod assembly;
mod certificates;
mod declared;
mod differences;
mod faults;
mod includes;
mod layers;
mod packet;
mod values;
mod whole;

use super::{Loaded, World, load_in};
use core_model::Fault;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Saturday, 1 August 2026.
const NOW: i64 = 1_785_542_400;

/// One of each object, all right.
const BASE: &str = r#"
[[listener]]
name = "base"
address = "127.0.0.1:1"
[[monitor]]
name = "base"
[[pool]]
name = "base"
origins = [{ name = "o", address = "127.0.0.1", port = 9001 }]
[[load_balancer]]
name = "base.test"
default_pools = ["base"]
"#;

fn world(env: &dyn Fn(&str) -> Option<String>) -> World<'_> {
    World { env, files: true, now: NOW, root: false }
}

fn no_env(_: &str) -> Option<String> {
    None
}

/// Loads a text as `t.toml`.
fn read(text: &str) -> Result<Loaded, Vec<Fault>> {
    load_in("t.toml", text.as_bytes().to_vec(), &world(&no_env))
}

/// Loads a text that is right.
fn right(text: &str) -> Loaded {
    read(text).unwrap_or_else(|faults| panic!("{}\n{text}", shown(&faults)))
}

fn shown(faults: &[Fault]) -> String {
    faults.iter().map(|fault| format!("{fault}\n")).collect()
}

/// A folder of its own, removed at the end of the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("weir-config-{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    fn load(&self, name: &str) -> Result<Loaded, Vec<Fault>> {
        let path = self.0.join(name);
        let bytes = fs::read(&path).unwrap();
        load_in(&path.display().to_string(), bytes, &world(&no_env))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

/// The top of the repository.
fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}
