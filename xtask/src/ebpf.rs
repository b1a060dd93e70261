//! `cargo xtask ebpf`: builds the eBPF object that is committed beside its sources, or checks that
//! the committed one is what its sources and toolchain give.
//!
//! The toolchain is Debian's, by package name, since stable Rust has no core library for eBPF. Who
//! only uses Weir or runs its tests needs none of it.

use std::path::{Path, PathBuf};
use std::{env, fs};

use anyhow::{Context, Result, bail};
use packet_abi::HashKey;
use packet_abi::flow::hash_bytes;

use crate::packages;
use crate::run::{self, Show};
use crate::workspace::{Finding, Workspace};

/// What to do.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Rebuild beside the committed object and compare
    #[arg(long)]
    check: bool,
}

/// The committed object.
pub(crate) const OBJECT: &str = "packet/ebpf/object/weir.bpf.o";
/// What `cargo xtask bench packet` loads beside it.
const MEASURE: &str = "packet/ebpf/object/measure.bpf.o";
/// What it was built from, and with what.
const BUILT_FROM: &str = "packet/ebpf/object/built-from.txt";
/// Folders and files whose change makes the object stale.
const SOURCES: [&str; 4] =
    ["packet/abi/src/", "packet/abi/Cargo.toml", "packet/ebpf/src/", "packet/ebpf/Cargo.toml"];
/// Compiler, its library's sources, and LLVM for the linker.
const PACKAGES: [(&str, &str); 5] = [
    ("/usr/bin/rustc", "rustc-web"),
    ("/usr/lib/rustlib/src/rust/library/core/Cargo.toml", "rust-web-src"),
    ("/usr/lib/llvm-22/bin/llvm-config", "llvm-22-dev"),
    ("/usr/include/zstd.h", "libzstd-dev"),
    ("/usr/include/zlib.h", "zlib1g-dev"),
];
/// The compiler of those packages; the one of rustup has no library to build for eBPF from.
const RUSTC: &str = "/usr/bin/rustc";
/// The linker's version, which decides about the object's bytes as the compiler's does.
const LINKER: &str = "0.13.0";

/// Runs the verb.
///
/// # Errors
/// When the toolchain cannot be installed or a file cannot be read or written.
pub(crate) fn run(args: &Args) -> Result<bool> {
    packages::install_these(&PACKAGES)?;
    let linker = linker()?;
    let built = build(&linker, "weir-packet")?;
    let measure = build(&linker, "weir-packet-measure")?;
    let from = BuiltFrom::of_checkout(&linker, &built)?;
    if args.check {
        return compare(&built, &from);
    }
    let root = run::root();
    fs::create_dir_all(root.join("packet/ebpf/object")).context("packet/ebpf/object")?;
    fs::write(root.join(OBJECT), &built).context(OBJECT)?;
    fs::write(root.join(MEASURE), &measure).context(MEASURE)?;
    fs::write(root.join(BUILT_FROM), from.text()).context(BUILT_FROM)?;
    println!("{OBJECT}: {} bytes\n{}", built.len(), from.text());
    Ok(true)
}

/// The tidy check: the committed object is of the committed sources.
pub(crate) fn fresh(workspace: &Workspace) -> Vec<Finding> {
    let sources = hash_of_sources(workspace);
    let noted = workspace.files.get(BUILT_FROM).and_then(|text| value(text, "sources"));
    if noted == Some(&sources) {
        return Vec::new();
    }
    let what = "the committed object is of other sources: run `cargo xtask ebpf` and commit it";
    vec![Finding::new(BUILT_FROM, 1, what)]
}

/// What an object was built from.
struct BuiltFrom {
    sources: String,
    rustc: String,
    linker: String,
    object: String,
}

impl BuiltFrom {
    fn of_checkout(linker: &Path, object: &[u8]) -> Result<Self> {
        Ok(Self {
            sources: hash_of_sources(&Workspace::read(&run::root())?),
            rustc: version(Path::new(RUSTC))?,
            linker: version(linker)?,
            object: hash(object),
        })
    }

    fn text(&self) -> String {
        let Self { sources, rustc, linker, object } = self;
        format!("sources: {sources}\nrustc: {rustc}\nlinker: {linker}\nobject: {object}\n")
    }
}

/// A line `name: value`.
fn value<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

fn hash_of_sources(workspace: &Workspace) -> String {
    let ours = |path: &str| SOURCES.iter().any(|source| path.starts_with(source));
    let mut all = String::new();
    for (path, text) in workspace.files.iter().filter(|(path, _)| ours(path)) {
        all.push_str(path);
        all.push('\0');
        all.push_str(text);
        all.push('\0');
    }
    hash(all.as_bytes())
}

/// Sixteen hexadecimal digits that tell bytes apart; nobody is kept from forging them.
fn hash(bytes: &[u8]) -> String {
    format!("{:016x}", hash_bytes(&HashKey::of([0; 16]), bytes))
}

fn version(program: &Path) -> Result<String> {
    let mut command = run::command(&program.to_string_lossy());
    let finished = run::finish(command.arg("--version"), Show::Never)?;
    Ok(finished.text.lines().next().unwrap_or_default().to_owned())
}

/// The linker, installed into `target/` if it is not there in its version.
fn linker() -> Result<PathBuf> {
    let folder = run::root().join("target/ebpf-tools");
    let program = folder.join("bin/bpf-linker");
    if program.is_file() && version(&program)?.contains(LINKER) {
        return Ok(program);
    }
    println!("building bpf-linker {LINKER}: about three minutes");
    let mut install = run::cargo(&["install", "bpf-linker", "--version", LINKER, "--locked"]);
    install.args(["--no-default-features", "--features", "llvm-22", "--quiet", "--root"]);
    install.arg(&folder).env("LLVM_SYS_221_PREFIX", "/usr/lib/llvm-22");
    install.env("PATH", path_with(Path::new("/usr/lib/llvm-22/bin")));
    if !run::finish(&mut install, Show::OnFailure)?.ok {
        bail!("bpf-linker {LINKER} could not be built; the messages above say why");
    }
    Ok(program)
}

fn path_with(folder: &Path) -> std::ffi::OsString {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(folder.to_owned()).chain(env::split_paths(&path));
    env::join_paths(folders).unwrap_or(path)
}

/// Builds the object. Paths of this machine are mapped away, so that every checkout gives the same.
fn build(linker: &Path, program: &str) -> Result<Vec<u8>> {
    let root = run::root();
    let target = root.join("target/ebpf");
    let home = env::var("CARGO_HOME")
        .unwrap_or_else(|_| format!("{}/.cargo", env::var("HOME").unwrap_or_default()));
    let flags = [
        format!("--remap-path-prefix={}=weir", root.display()),
        format!("--remap-path-prefix={home}=cargo"),
    ];
    let mut build = run::cargo(&["build", "--quiet", "--locked", "--profile", "ebpf"]);
    build.args(["--target", "bpfel-unknown-none", "-Z", "build-std=core"]);
    build.args(["--package", "packet-ebpf", "--bin", program, "--target-dir"]);
    build.arg(&target).env("RUSTC_BOOTSTRAP", "1").env("RUSTC", RUSTC);
    build.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
    build.env_remove("RUSTFLAGS").env_remove("RUSTUP_TOOLCHAIN");
    build.env("PATH", path_with(linker.parent().unwrap_or(Path::new("/"))));
    if !run::finish(&mut build, Show::Live)?.ok {
        bail!("the eBPF programs do not build; the messages above say why");
    }
    let object = target.join("bpfel-unknown-none/ebpf").join(program);
    fs::read(&object).with_context(|| object.display().to_string())
}

/// Compares a rebuilt object with the committed one. Where the toolchain has moved on, bytes may
/// differ for no fault of ours: then the fixtures run on the rebuilt one.
fn compare(built: &[u8], from: &BuiltFrom) -> Result<bool> {
    let root = run::root();
    let committed = fs::read(root.join(OBJECT)).context(OBJECT)?;
    if committed == built {
        println!("{OBJECT} is what its sources give, byte for byte");
        return Ok(true);
    }
    let noted = fs::read_to_string(root.join(BUILT_FROM)).context(BUILT_FROM)?;
    println!("committed:\n{noted}rebuilt:\n{}", from.text());
    println!("instructions by section, committed and rebuilt:");
    let path = root.join("target/ebpf/rebuilt.o");
    fs::write(&path, built).context("target/ebpf/rebuilt.o")?;
    for object in [root.join(OBJECT), path.clone()] {
        sections(&object)?;
    }
    let moved = value(&noted, "rustc") != Some(&from.rustc)
        || value(&noted, "linker") != Some(&from.linker);
    if !moved {
        println!("the toolchain is the one it was built with: the committed object is stale");
        return Ok(false);
    }
    println!("the toolchain has moved on; the fixtures run on the rebuilt object");
    let mut tests = run::cargo(&["test", "--quiet", "--package", "packet-loader", "fixtures"]);
    tests.env("WEIR_BPF_OBJECT", &path);
    Ok(run::finish(&mut tests, Show::Live)?.ok)
}

/// Prints how many instructions each program has.
fn sections(object: &Path) -> Result<()> {
    let mut dump = run::command("/usr/lib/llvm-22/bin/llvm-objdump");
    dump.args(["--syms"]).arg(object);
    let text = run::finish(&mut dump, Show::Never)?.text;
    for line in text.lines().filter(|line| line.contains(" F ")) {
        let words: Vec<&str> = line.split_whitespace().collect();
        if let [.., size, name] = words.as_slice() {
            let octets = u64::from_str_radix(size, 16).unwrap_or_default();
            println!("  {name}: {}", octets / 8);
        }
    }
    println!();
    Ok(())
}
