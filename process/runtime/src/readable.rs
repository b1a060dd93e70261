//! Whether the service user can read a file, and if not, what stands in the way.
//!
//! `weir check` runs as root and would read everything; the service does not. Where this process
//! may, the kernel itself is asked with the user's ids, so access lists and security modules count.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;

use crate::accounts::{self, ServiceUser};

/// Why the service user cannot read a file; each message says what would do.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// The mode of the file, or of a directory above it, forbids it.
    #[error(transparent)]
    Mode(#[from] Box<ModeForbids>),
    /// Modes allow it, and the kernel does not.
    #[error(
        "{} cannot be read by user {user}, though its mode allows it: look for an access list \
         (`getfacl`), a security module or the unit's sandbox",
        path.display()
    )]
    Forbidden {
        /// The file asked for.
        path: PathBuf,
        /// The service user.
        user: String,
    },
    /// It is not there, is no file, or cannot be looked at.
    #[error("{} cannot be read", path.display())]
    Other {
        /// The file asked for.
        path: PathBuf,
        /// The reason.
        #[source]
        cause: io::Error,
    },
}

/// The mode that is in the way, and one that would do.
#[derive(Debug, thiserror::Error)]
#[error(
    "{path} cannot be read by user {user}: {kind} {obstacle} is {owner}:{group} with mode \
     {mode:04o}; `chgrp {user_group} {obstacle} && chmod {wanted:04o} {obstacle}` would do",
    path = path.display(), obstacle = obstacle.display(),
    kind = if *directory { "directory" } else { "the file" }
)]
pub struct ModeForbids {
    /// The file asked for.
    pub path: PathBuf,
    /// The service user.
    pub user: String,
    /// Its first group.
    pub user_group: String,
    /// The file or directory whose mode is in the way.
    pub obstacle: PathBuf,
    /// Whether that is a directory.
    pub directory: bool,
    /// Its owner.
    pub owner: String,
    /// Its group.
    pub group: String,
    /// Its mode.
    pub mode: u32,
    /// A mode that would do, for the user's group.
    pub wanted: u32,
}

/// Whether `user` can open the file for reading. Asked by root it changes the user of a short-lived
/// thread only.
///
/// # Errors
/// It cannot; see [`Unreadable`].
pub fn can_read(path: &Path, user: &ServiceUser) -> Result<(), Unreadable> {
    let other = |cause| Unreadable::Other { path: path.to_owned(), cause };
    let opened = match rustix::process::geteuid().as_raw() {
        0 => open_as(path, user),
        own if own == user.uid => open(path),
        // Neither may be tried: the modes are all there is to go by.
        _ => return explain(path, user).map_or(Ok(()), Err),
    };
    match opened {
        Ok(()) => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
            let forbidden =
                || Unreadable::Forbidden { path: path.to_owned(), user: user.name.clone() };
            Err(explain(path, user).unwrap_or_else(forbidden))
        }
        Err(e) => Err(other(e)),
    }
}

fn open(path: &Path) -> io::Result<()> {
    // A FIFO would block an open until somebody writes; what it is can be told before.
    let kind = fs::metadata(path)?;
    if !kind.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    File::open(path).map(|_| ())
}

/// Opens with the ids and without the rights of root, which the change of user id takes away.
fn open_as(path: &Path, user: &ServiceUser) -> io::Result<()> {
    use rustix::process::{Gid, Uid};
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    let groups: Vec<Gid> = user.groups.iter().map(|group| Gid::from_raw(*group)).collect();
    thread::scope(|scope| {
        let attempt = thread::Builder::new().name("can-read".to_owned());
        let attempt = attempt.spawn_scoped(scope, || {
            rustix::thread::set_thread_groups(&groups)?;
            rustix::thread::set_thread_res_gid(gid, gid, gid)?;
            rustix::thread::set_thread_res_uid(uid, uid, uid)?;
            open(path)
        })?;
        attempt.join().unwrap_or_else(|_| Err(io::Error::other("the attempt panicked")))
    })
}

/// The first directory, or the file, whose mode forbids it; `None` when all modes allow it.
fn explain(path: &Path, user: &ServiceUser) -> Option<Unreadable> {
    const SEARCH: u32 = 0o1;
    const READ: u32 = 0o4;
    let other = |cause| Unreadable::Other { path: path.to_owned(), cause };
    let absolute = match std::path::absolute(path) {
        Ok(absolute) => absolute,
        Err(e) => return Some(other(e)),
    };
    let real = fs::canonicalize(&absolute).unwrap_or_else(|_| absolute.clone());
    // Links lead elsewhere, and both ways must be open.
    let directories = |of: &Path| {
        let mut above: Vec<PathBuf> = of.ancestors().skip(1).map(Path::to_owned).collect();
        above.reverse();
        above
    };
    let mut steps = directories(&absolute);
    steps.extend(directories(&real));
    for (at, bit) in steps.into_iter().map(|at| (at, SEARCH)).chain([(real, READ)]) {
        let found = match fs::metadata(&at) {
            Ok(found) => found,
            Err(e) => return Some(other(e)),
        };
        if !permits(&found, user, bit) {
            return Some(forbidden_by(path, user, at, &found, bit));
        }
    }
    None
}

/// The one class of mode bits that counts for the user (path_resolution(7)).
fn permits(found: &Metadata, user: &ServiceUser, bit: u32) -> bool {
    let class = match () {
        () if found.uid() == user.uid => found.mode() >> 6,
        () if user.is_in(found.gid()) => found.mode() >> 3,
        () => found.mode(),
    };
    class & bit == bit
}

fn forbidden_by(
    path: &Path,
    user: &ServiceUser,
    obstacle: PathBuf,
    found: &Metadata,
    bit: u32,
) -> Unreadable {
    let mode = found.mode() & 0o7777;
    // The owner's bits count for the owner, whatever its groups may do.
    let granted = if found.uid() == user.uid { bit << 6 } else { bit << 3 };
    Unreadable::from(Box::new(ModeForbids {
        path: path.to_owned(),
        user: user.name.clone(),
        user_group: user.group.clone(),
        obstacle,
        directory: found.is_dir(),
        owner: accounts::user_name(found.uid()),
        group: accounts::group_name(found.gid()),
        mode,
        wanted: mode | granted,
    }))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn nobody() -> ServiceUser {
        let name = "nobody".to_owned();
        ServiceUser { name, uid: 65_534, gid: 65_534, group: "nogroup".to_owned(), groups: vec![] }
    }

    /// A directory of its own with a file in it, both with the modes given.
    fn laid_out(name: &str, directory: u32, file: u32) -> (PathBuf, PathBuf) {
        let parent = std::env::temp_dir().join(format!("weir-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&parent);
        fs::create_dir(&parent).unwrap();
        let path = parent.join("key.pem");
        fs::write(&path, "secret").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(file)).unwrap();
        fs::set_permissions(&parent, fs::Permissions::from_mode(directory)).unwrap();
        (parent, path)
    }

    #[test]
    fn the_first_obstacle_is_named_with_the_mode_that_would_do() {
        let check = |name, directory, file, expect: Option<(bool, u32)>| {
            let (parent, path) = laid_out(name, directory, file);
            let outcome = can_read(&path, &nobody());
            let message = outcome.as_ref().err().map(ToString::to_string).unwrap_or_default();
            let got = match outcome {
                Ok(()) => None,
                Err(Unreadable::Mode(mode)) => Some((mode.directory, mode.wanted)),
                Err(other) => panic!("{other:?}"),
            };
            assert_eq!(got, expect, "{message}");
            if expect.is_some() {
                let start = format!("{} cannot be read by user nobody: ", path.display());
                assert!(message.starts_with(&start), "{message}");
                assert!(message.contains("chgrp nogroup"), "{message}");
            }
            fs::set_permissions(&parent, fs::Permissions::from_mode(0o755)).unwrap();
            fs::remove_dir_all(parent).unwrap();
        };
        check("open", 0o755, 0o644, None);
        check("file", 0o755, 0o600, Some((false, 0o640)));
        check("parent", 0o700, 0o644, Some((true, 0o710)));
        check("group", 0o755, 0o640, Some((false, 0o640)));
    }

    #[test]
    fn a_link_is_followed_and_a_missing_file_is_told_as_such() {
        let (parent, path) = laid_out("link", 0o755, 0o600);
        let link = parent.join("link.pem");
        symlink(&path, &link).unwrap();
        let Err(Unreadable::Mode(mode)) = can_read(&link, &nobody()) else { panic!("readable") };
        assert_eq!((mode.obstacle.file_name(), &mode.path), (path.file_name(), &link));
        let missing = can_read(&parent.join("none.pem"), &nobody());
        assert!(matches!(missing, Err(Unreadable::Other { .. })), "{missing:?}");
        fs::remove_dir_all(parent).unwrap();
    }

    /// The user's own: as root by the thread that becomes the user, else by this process.
    #[test]
    fn a_directory_is_no_file_to_read() {
        let mut user = nobody();
        if rustix::process::geteuid().as_raw() != 0 {
            user.uid = rustix::process::geteuid().as_raw();
        }
        let refused = can_read(Path::new("/"), &user).unwrap_err();
        assert!(matches!(refused, Unreadable::Other { .. }), "{refused:?}");
    }
}
