//! A Unix socket to listen on: what stands in its way, and that nothing is left of it.
//!
//! What a process that died left is replaced: nobody answers there. One that somebody answers on, or might, and whatever is
//! no socket, is left alone. At the end it is removed, if it still is the one that was made. A process that is killed
//! leaves it, to be replaced.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use tokio::net::UnixListener;
use tracing::warn;

/// One that is listened on. Dropped, it is removed.
pub struct Socket {
    path: PathBuf,
    /// Device and inode. Nobody else's have them while it is listened on.
    own: (u64, u64),
}

impl Socket {
    pub fn bind(path: &Path) -> io::Result<(UnixListener, Socket)> {
        // One after another: whoever has found the same dead one would remove what the first has put there.
        let turn = path.parent().and_then(|directory| File::open(directory).ok());
        let taken = turn.as_ref().map(|turn| flock(turn, FlockOperation::NonBlockingLockExclusive));
        if let Some(Err(Errno::WOULDBLOCK)) = taken {
            return Err(io::Error::new(ErrorKind::AddrInUse, "another process begins to listen there"));
        }
        if is_there(path)? {
            is_dead(path)?;
            fs::remove_file(path)?;
        }
        let listener = UnixListener::bind(path)?;
        let own = identity(path)?;
        Ok((listener, Socket { path: path.to_owned(), own }))
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if identity(&self.path).ok() != Some(self.own) {
            return;
        }
        if let Err(error) = fs::remove_file(&self.path)
            && error.kind() != ErrorKind::NotFound
        {
            warn!("http.listen: cannot remove {}: {error}; the next start does", self.path.display());
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let there = fs::symlink_metadata(path)?;
    Ok((there.dev(), there.ino()))
}

/// Whether a socket is there; an error if it is something else.
pub fn is_there(path: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(there) if there.file_type().is_socket() => Ok(true),
        Ok(_) => Err(io::Error::new(ErrorKind::AlreadyExists, "a file that is no socket is there, and is left alone")),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// An error unless nobody answers there any more. It does not wait: one with a full queue lives.
fn is_dead(path: &Path) -> io::Result<()> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let caller = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    match rustix::net::connect(&caller, &SocketAddrUnix::new(path)?) {
        Err(Errno::CONNREFUSED) => Ok(()),
        Ok(()) | Err(Errno::AGAIN) => Err(io::Error::new(ErrorKind::AddrInUse, "another process listens there")),
        Err(error) => {
            let why = format!("nobody knows whether another process listens there ({error}): it is left alone");
            Err(io::Error::new(ErrorKind::AddrInUse, why))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixDatagram, UnixStream};

    use super::*;

    fn place() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("http");
        (dir, path)
    }

    fn refused(path: &Path) -> String {
        Socket::bind(path).map(drop).unwrap_err().to_string()
    }

    #[tokio::test]
    async fn a_dead_socket_is_replaced_and_the_own_one_removed_at_the_end() {
        let (_dir, path) = place();
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let (_listener, socket) = Socket::bind(&path).unwrap();
        UnixStream::connect(&path).unwrap();
        drop(socket);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn what_lives_or_is_no_socket_is_left_alone() {
        let (dir, path) = place();
        let (_listener, _socket) = Socket::bind(&path).unwrap();
        assert_eq!(refused(&path), "another process listens there");
        UnixStream::connect(&path).unwrap();
        // Of another kind: nobody who listens, but somebody who is there.
        let other = dir.path().join("datagrams");
        let _lives = UnixDatagram::bind(&other).unwrap();
        assert!(refused(&other).contains("it is left alone"));
        let file = dir.path().join("file");
        fs::write(&file, "kept").unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        for path in [&file, &link, &dir.path().to_owned()] {
            assert_eq!(refused(path), "a file that is no socket is there, and is left alone");
        }
        assert_eq!(fs::read_to_string(&file).unwrap(), "kept");
        assert!(other.exists() && link.is_symlink());
    }

    #[tokio::test]
    async fn one_that_lives_and_has_no_room_for_callers_is_left_alone() {
        let (_dir, path) = place();
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        rustix::net::listen(&listener, 0).unwrap();
        let _waits = UnixStream::connect(&path).unwrap();
        assert_eq!(refused(&path), "another process listens there");
    }

    #[tokio::test]
    async fn what_has_taken_its_place_is_not_removed_with_it() {
        let (_dir, path) = place();
        let (_listener, socket) = Socket::bind(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let _other = std::os::unix::net::UnixListener::bind(&path).unwrap();
        drop(socket);
        UnixStream::connect(&path).unwrap();
    }
}
