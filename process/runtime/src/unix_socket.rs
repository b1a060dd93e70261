//! Listening on a path: the admin's door for processes of this machine, guarded by file modes.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};

/// Who may connect, unless told otherwise: the service user and its group.
pub const MODE_DEFAULT: u32 = 0o660;

/// Connections that may wait for the admin server, which answers a handful at a time.
const BACKLOG: i32 = 128;

/// Why a path cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum BindPathError {
    /// A process answers there.
    #[error("{}: another process listens there: stop it, or choose another path", .0.display())]
    InUse(PathBuf),
    /// Something that is no socket is there, and is left alone.
    #[error("{}: a file that is no socket is in the way: choose another path", .0.display())]
    NoSocket(PathBuf),
    /// Anything else the kernel refused.
    #[error("{}: {step} failed: the service user must be able to write the directory",
        path.display())]
    Refused {
        /// The path asked for.
        path: PathBuf,
        /// What was tried.
        step: &'static str,
        /// The kernel's reason.
        #[source]
        cause: io::Error,
    },
}

/// A nonblocking listening socket at the path, with that mode. A socket that a process left behind
/// is replaced; one where somebody answers is not.
///
/// # Errors
/// See [`BindPathError`].
pub fn bind(path: &Path, mode: u32) -> Result<UnixListener, BindPathError> {
    let refused = |step| move |cause| BindPathError::Refused { path: path.to_owned(), step, cause };
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            return Err(BindPathError::NoSocket(path.to_owned()));
        }
        Ok(_) => match UnixStream::connect(path) {
            Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => {
                fs::remove_file(path).map_err(refused("removing the old socket"))?;
            }
            Ok(_) => return Err(BindPathError::InUse(path.to_owned())),
            Err(e) => return Err(refused("asking who listens there")(e)),
        },
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(refused("looking at it")(e)),
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(refused("socket"))?;
    SockAddr::unix(path).and_then(|at| socket.bind(&at)).map_err(refused("bind"))?;
    // Before it listens: until then nobody can connect, whatever the umask made of the mode.
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(refused("chmod"))?;
    socket.set_nonblocking(true).map_err(refused("O_NONBLOCK"))?;
    socket.listen(BACKLOG).map_err(refused("listen"))?;
    Ok(OwnedFd::from(socket).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_left_behind_is_replaced_and_one_in_use_is_not() {
        let path = std::env::temp_dir().join(format!("weir-admin-{}.sock", std::process::id()));
        let _ = fs::remove_file(&path);
        let first = bind(&path, MODE_DEFAULT).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE_DEFAULT);
        assert_eq!(first.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert!(matches!(bind(&path, 0o600), Err(BindPathError::InUse(_))));
        drop(first);
        let second = bind(&path, 0o600).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let _client = UnixStream::connect(&path).unwrap();
        assert!(second.accept().is_ok());
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn what_is_no_socket_is_left_alone() {
        let path = std::env::temp_dir().join(format!("weir-admin-file-{}", std::process::id()));
        fs::write(&path, "precious").unwrap();
        assert!(matches!(bind(&path, 0o600), Err(BindPathError::NoSocket(_))));
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
        fs::remove_file(&path).unwrap();
        let nowhere = bind(Path::new("/nonexistent/weir.sock"), 0o600).unwrap_err().to_string();
        assert!(nowhere.starts_with("/nonexistent/weir.sock: bind failed"), "{nowhere}");
    }
}
