//! Reads the files of a configuration, all with bounds: the main one, included ones, certificates.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Files of one configuration; more are a mistaken glob.
pub const FILES_MAX: usize = 1_000;
/// Bytes of one configuration file; a larger one belongs behind the API.
pub const FILE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Bytes of a certificate, key, authority or OCSP file; the system's authorities have 250 KiB.
pub const PEM_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Entries looked at in a directory of a glob.
const ENTRIES_MAX: usize = 100_000;

/// Reads a file of at most `max` bytes. Pipes and devices are refused, as they may never end.
pub(crate) fn read(path: &Path, max: usize) -> io::Result<Vec<u8>> {
    let meta = fs::metadata(path)?;
    if !meta.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    read_open(File::open(path)?, max)
}

/// Reads the main file, which an operator may also give as a pipe (`/dev/stdin`).
pub(crate) fn read_main(path: &Path) -> io::Result<Vec<u8>> {
    read_open(File::open(path)?, FILE_BYTES_MAX)
}

fn read_open(file: File, max: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(max as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > max {
        return Err(io::Error::other(format!("it has more than {max} bytes")));
    }
    Ok(bytes)
}

/// A reason in words, without the number that the system gives it.
pub(crate) fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::IsADirectory => "it is a directory".to_owned(),
        _ => error.to_string(),
    }
}

/// Files that match a glob, in the order of their names. Hidden files need a pattern with a dot.
pub(crate) fn glob(base: &Path, pattern: &str) -> Result<Vec<PathBuf>, String> {
    let (folder, name) = match pattern.rsplit_once('/') {
        Some(("", name)) => (Path::new("/").to_owned(), name),
        Some((folder, name)) => (base.join(folder), name),
        None => (base.to_owned(), pattern),
    };
    let wild = |text: &str| text.contains(['*', '?']);
    if pattern.rsplit_once('/').is_some_and(|(folder, _)| wild(folder)) {
        return Err("`*` and `?` may stand in the file name only".to_owned());
    }
    if !wild(name) {
        return Ok(vec![folder.join(name)]);
    }
    let here = if folder.as_os_str().is_empty() { Path::new(".") } else { folder.as_path() };
    let entries = match fs::read_dir(here) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(format!("{}: {}", folder.display(), reason(&error))),
    };
    let mut names = Vec::new();
    for entry in entries.take(ENTRIES_MAX) {
        let entry = entry.map_err(|error| format!("{}: {}", folder.display(), reason(&error)))?;
        let found = entry.file_name();
        if found.to_str().is_some_and(|found| matches(name, found)) {
            names.push(found);
        }
    }
    names.sort();
    Ok(names.iter().map(|name: &std::ffi::OsString| folder.join(OsStr::new(name))).collect())
}

/// Whether a file name matches a pattern of `*` and `?`.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    if name.starts_with('.') && !pattern.starts_with('.') {
        return false;
    }
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    let (mut p, mut n) = (0, 0);
    // Where the last star stands, and how far it reaches: the only place to come back to.
    let mut star: Option<(usize, usize)> = None;
    while let Some(c) = name.get(n) {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(want) if want == c || *want == '?' => {
                p += 1;
                n += 1;
            }
            _ => match star.as_mut() {
                Some((at, reach)) => {
                    *reach += 1;
                    (p, n) = (*at + 1, *reach);
                }
                None => return false,
            },
        }
    }
    pattern.get(p..).is_some_and(|rest| rest.iter().all(|c| *c == '*'))
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn a_glob_matches_file_names() {
        for (pattern, name, expect) in [
            ("*.toml", "a.toml", true),
            ("*.toml", ".hidden.toml", false),
            (".*.toml", ".hidden.toml", true),
            ("*.toml", "a.toml~", false),
            ("a?c*", "abcdef", true),
            ("a?c*", "ac", false),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b", "ab-a", false),
            ("**", "", true),
            ("", "", true),
            ("", "a", false),
        ] {
            assert_eq!(matches(pattern, name), expect, "{pattern} {name}");
        }
    }
}
