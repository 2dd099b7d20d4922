//! The system calls under the spool, each relative to an open directory.
//!
//! A directory held open keeps working when another process renames it, so nothing here resolves a path twice. Every
//! call says on failure what was attempted, on which path and what the system said; the caller adds what happens to the
//! mail ([`DiskError::fate`]). Symbolic links are never followed and only regular files are opened: what else lies in a
//! spool was not put there by a producer.
//!
//! Each call passes the [`Faults`] of its [`Disk`] first. In production there are none; tests use them to fail, or to
//! "crash", at the k-th operation on a real file system.

mod error;

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use error::{DiskError, Op, Result, unless_gone};

use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags, RenameFlags, StatxFlags};

/// Decides, before each operation, whether it fails.
pub trait Faults: Send + Sync {
    fn before(&self, op: Op, directory: &Path, name: &OsStr) -> io::Result<()>;
}

/// The operating system's files, perhaps with faults.
#[derive(Clone, Default)]
pub struct Disk {
    faults: Option<Arc<dyn Faults>>,
}

impl Disk {
    pub fn with_faults(faults: Arc<dyn Faults>) -> Disk {
        Disk { faults: Some(faults) }
    }

    /// Opens the directory that paths in errors start from. Unlike everything below it, it may be a symbolic link.
    pub fn open_root(&self, path: &Path) -> Result<Dir> {
        self.step(Op::Open, path, OsStr::new(""))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::empty())
            .map_err(|errno| DiskError::new(Op::Open, path, OsStr::new(""), errno))?;
        Ok(Dir { fd, path: path.into(), disk: self.clone() })
    }

    fn step(&self, op: Op, directory: &Path, name: &OsStr) -> Result<()> {
        match &self.faults {
            None => Ok(()),
            Some(faults) => {
                faults.before(op, directory, name).map_err(|error| DiskError::new(op, directory, name, error))
            }
        }
    }
}

/// Which file or directory, whatever it is called.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    pub fn new(device: u64, inode: u64) -> Identity {
        Identity { device, inode }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Kind {
    File,
    Directory,
    /// Symbolic link, FIFO, socket, device: nothing of ours.
    Other,
}

impl From<FileType> for Kind {
    fn from(file_type: FileType) -> Kind {
        match file_type {
            FileType::RegularFile => Kind::File,
            FileType::Directory => Kind::Directory,
            _ => Kind::Other,
        }
    }
}

/// What the file system knows of a file.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    pub identity: Identity,
    pub kind: Kind,
    pub size: u64,
    /// Of the last change to the content, seconds since 1970.
    pub modified: u64,
    /// The rest of it, below the second.
    pub modified_nanos: u64,
    pub owner: u32,
    pub links: u64,
}

impl From<rustix::fs::Stat> for Look {
    fn from(stat: rustix::fs::Stat) -> Look {
        Look {
            identity: Identity { device: stat.st_dev, inode: stat.st_ino },
            kind: FileType::from_raw_mode(stat.st_mode).into(),
            size: stat.st_size as u64,
            modified: stat.st_mtime as u64,
            modified_nanos: stat.st_mtime_nsec,
            owner: stat.st_uid,
            links: stat.st_nlink,
        }
    }
}

/// An open directory.
pub struct Dir {
    fd: OwnedFd,
    /// For messages: where it was when it was opened.
    path: Arc<Path>,
    disk: Disk,
}

/// The permissions of what this program creates; the umask takes its part.
const DIRECTORY_MODE: Mode = Mode::from_raw_mode(0o770);
const FILE_MODE: Mode = Mode::from_raw_mode(0o660);

impl Dir {
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn error(&self, op: Op, name: &OsStr, source: impl Into<io::Error>) -> DiskError {
        DiskError::new(op, &self.path, name, source)
    }

    /// Passes the faults, then does `call`.
    fn run<T>(&self, op: Op, name: &str, call: impl FnOnce() -> rustix::io::Result<T>) -> Result<T> {
        let name = OsStr::new(name);
        self.disk.step(op, &self.path, name)?;
        call().map_err(|errno| self.error(op, name, errno))
    }

    pub fn open_dir(&self, name: &str) -> Result<Dir> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = self.run(Op::Open, name, || rustix::fs::openat(&self.fd, name, flags, Mode::empty()))?;
        Ok(Dir { fd, path: self.path.join(name).into(), disk: self.disk.clone() })
    }

    /// Opens a regular file for reading and writing.
    pub fn open(&self, name: &str) -> Result<SpoolFile> {
        self.open_with(name, OFlags::RDWR)
    }

    /// Opens a regular file for reading: works on a spool one may only read.
    pub fn open_read(&self, name: &str) -> Result<SpoolFile> {
        self.open_with(name, OFlags::RDONLY)
    }

    fn open_with(&self, name: &str, access: OFlags) -> Result<SpoolFile> {
        // NONBLOCK: opening a FIFO would wait for its other end.
        let flags = access | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = self.run(Op::Open, name, || rustix::fs::openat(&self.fd, name, flags, Mode::empty()))?;
        let file = self.file(fd, name);
        if file.look()?.kind != Kind::File {
            let why = io::Error::new(io::ErrorKind::InvalidData, "not a regular file");
            return Err(self.error(Op::Open, OsStr::new(name), why));
        }
        Ok(file)
    }

    /// Creates a file that must not exist.
    pub fn create(&self, name: &str) -> Result<SpoolFile> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = self.run(Op::Create, name, || rustix::fs::openat(&self.fd, name, flags, FILE_MODE))?;
        Ok(self.file(fd, name))
    }

    fn file(&self, fd: OwnedFd, name: &str) -> SpoolFile {
        SpoolFile { file: fd.into(), directory: self.path.clone(), name: name.into(), disk: self.disk.clone() }
    }

    /// Reads a whole regular file, refusing one of more than `limit` octets.
    pub fn read(&self, name: &str, limit: u64) -> Result<Vec<u8>> {
        self.open_read(name)?.read_all(limit)
    }

    pub fn make_dir(&self, name: &str) -> Result<()> {
        self.run(Op::MakeDirectory, name, || rustix::fs::mkdirat(&self.fd, name, DIRECTORY_MODE))
    }

    /// Moves an entry, never onto one that exists.
    pub fn rename(&self, from: &str, to_dir: &Dir, to: &str) -> Result<()> {
        self.run(Op::Rename, from, || {
            match rustix::fs::renameat_with(&self.fd, from, &to_dir.fd, to, RenameFlags::NOREPLACE) {
                // A file system without that flag (some network ones). A folder never replaces a non-empty one, and
                // empty ones are never visible, so looking first leaves only the name of a plain file at risk; those
                // carry an id that is used once.
                Err(rustix::io::Errno::INVAL) => match rustix::fs::statat(&to_dir.fd, to, AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(_) => Err(rustix::io::Errno::EXIST),
                    Err(rustix::io::Errno::NOENT) => rustix::fs::renameat(&self.fd, from, &to_dir.fd, to),
                    Err(errno) => Err(errno),
                },
                result => result,
            }
        })
    }

    /// Replaces `to` by `from`, both in this directory.
    pub fn replace(&self, from: &str, to: &str) -> Result<()> {
        self.run(Op::Rename, from, || rustix::fs::renameat(&self.fd, from, &self.fd, to))
    }

    /// The same, with `to` in another directory.
    pub fn replace_in(&self, from: &str, to_dir: &Dir, to: &str) -> Result<()> {
        self.run(Op::Rename, from, || rustix::fs::renameat(&self.fd, from, &to_dir.fd, to))
    }

    /// A second name for a file.
    pub fn link(&self, from: &str, to_dir: &Dir, to: &str) -> Result<()> {
        self.run(Op::Link, from, || rustix::fs::linkat(&self.fd, from, &to_dir.fd, to, AtFlags::empty()))
    }

    pub fn remove(&self, name: &str) -> Result<()> {
        self.run(Op::Remove, name, || rustix::fs::unlinkat(&self.fd, name, AtFlags::empty()))
    }

    pub fn remove_dir(&self, name: &str) -> Result<()> {
        self.run(Op::Remove, name, || rustix::fs::unlinkat(&self.fd, name, AtFlags::REMOVEDIR))
    }

    /// Makes the entries' creation, renaming and removal durable.
    pub fn sync(&self) -> Result<()> {
        self.run(Op::Sync, "", || rustix::fs::fsync(&self.fd))
    }

    /// Makes all files of this directory's file system durable, other programs' too: for many files at once it takes a
    /// tenth of what syncing each of them takes. Linux tells of errors in writing since 5.8.
    pub fn sync_file_system(&self) -> Result<()> {
        self.run(Op::Sync, "", || rustix::fs::syncfs(&self.fd))
    }

    /// `None` if there is nothing of that name. A symbolic link is looked at itself.
    pub fn look(&self, name: &str) -> Result<Option<Look>> {
        unless_gone(self.run(Op::Look, name, || rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW)))
            .map(|stat| stat.map(Look::from))
    }

    /// This directory itself.
    pub fn look_self(&self) -> Result<Look> {
        self.run(Op::Look, "", || rustix::fs::fstat(&self.fd)).map(Look::from)
    }

    /// Names and kinds, in no order, without `.` and `..`. One call a few hundred entries, no stat.
    ///
    /// Nor are files listed that were removed while somebody had them open: they have such a name on network file systems,
    /// and go with their last descriptor.
    pub fn list(&self) -> Result<Vec<(OsString, Kind)>> {
        self.disk.step(Op::List, &self.path, OsStr::new(""))?;
        let error = |errno| self.error(Op::List, OsStr::new(""), errno);
        let mut entries = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.fd).map_err(error)? {
            let entry = entry.map_err(error)?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." || is_removed(name) {
                continue;
            }
            let kind = match entry.file_type() {
                // Some file systems don't tell in the listing.
                FileType::Unknown => match rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(stat) => FileType::from_raw_mode(stat.st_mode).into(),
                    Err(rustix::io::Errno::NOENT) => continue,
                    Err(errno) => return Err(self.error(Op::Look, name, errno)),
                },
                known => known.into(),
            };
            entries.push((name.to_owned(), kind));
        }
        Ok(entries)
    }

    /// Octets that an unprivileged process may still write, and all octets, of this file system.
    pub fn free_space(&self) -> Result<(u64, u64)> {
        let stat = self.run(Op::Look, "", || rustix::fs::fstatvfs(&self.fd))?;
        Ok((stat.f_bavail * stat.f_frsize, stat.f_blocks * stat.f_frsize))
    }

    /// An error if next to nothing can be written here.
    pub fn require_room(&self) -> Result<()> {
        /// What the retry packet, the failures and the checkpoint of a large transaction take.
        const ROOM: u64 = 256 * 1024;
        let stat = self.run(Op::Look, "", || rustix::fs::fstatvfs(&self.fd))?;
        let errno = match stat {
            stat if stat.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY) => rustix::io::Errno::ROFS,
            stat if stat.f_bavail * stat.f_frsize < ROOM => rustix::io::Errno::NOSPC,
            _ => return Ok(()),
        };
        Err(DiskError::new(Op::Write, &self.path, OsStr::new(""), errno))
    }

    /// Whether it lies on a file system that other machines may change.
    pub fn is_on_network(&self) -> Result<bool> {
        /// statfs(2): NFS, SMB (two), CIFS, AFS (two), Ceph, 9P, FUSE, GFS2, OCFS2, Lustre, Coda.
        const NETWORK: [u64; 13] = [
            0x6969,
            0x517b,
            0xfe53_4d42,
            0xff53_4d42,
            0x5346_414f,
            0x6b41_4653,
            0x00c3_6400,
            0x0102_1997,
            0x6573_5546,
            0x0116_1970,
            0x7461_636f,
            0x0bd0_0bd0,
            0x7375_7245,
        ];
        let found = self.run(Op::Look, "", || rustix::fs::fstatfs(&self.fd))?;
        Ok(NETWORK.contains(&(found.f_type as u64 & 0xffff_ffff)))
    }

    /// Tries to get the exclusive right to this directory for as long as this descriptor is open, without waiting.
    pub fn try_lock(&self) -> Result<bool> {
        self.run(Op::Lock, "", || match rustix::fs::flock(&self.fd, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
            Err(errno) => if_lockable(errno).map(|()| true),
        })
    }

    /// Waits for the exclusive right to this directory among processes on this machine; it ends when the returned value
    /// is dropped, or its process dies.
    pub fn lock(&self) -> Result<DirLock> {
        let own = self.open_dir(".")?;
        self.run(Op::Lock, "", || rustix::fs::flock(&own.fd, FlockOperation::LockExclusive).or_else(if_lockable))?;
        Ok(DirLock(own))
    }

    /// As [`Self::lock`], but only for a moment: whoever has it may have been halted. `None`: it was in vain.
    pub fn lock_soon(&self) -> Result<Option<DirLock>> {
        let own = self.open_dir(".")?;
        let is_got = soon(|| own.try_lock())?;
        Ok(is_got.then_some(DirLock(own)))
    }
}

/// Network file systems have no locks of directories. Among the hosts that share one, turns are taken elsewhere.
fn if_lockable(errno: rustix::io::Errno) -> rustix::io::Result<()> {
    use rustix::io::Errno;
    match errno {
        Errno::BADF | Errno::INVAL | Errno::NOLCK | Errno::NOSYS | Errno::OPNOTSUPP => Ok(()),
        errno => Err(errno),
    }
}

/// Tries again for a moment.
fn soon(mut attempt: impl FnMut() -> Result<bool>) -> Result<bool> {
    const TRIES: u32 = 20;
    const PAUSE: std::time::Duration = std::time::Duration::from_millis(5);
    for _ in 1..TRIES {
        if attempt()? {
            return Ok(true);
        }
        std::thread::sleep(PAUSE);
    }
    attempt()
}

/// See [`Dir::lock`].
pub struct DirLock(#[expect(dead_code, reason = "held for its descriptor")] Dir);

/// An open regular file of the spool.
pub struct SpoolFile {
    file: File,
    directory: Arc<Path>,
    name: Box<str>,
    disk: Disk,
}

impl SpoolFile {
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it was when it was opened.
    pub fn path(&self) -> PathBuf {
        self.directory.join(&*self.name)
    }

    fn run<T, E: Into<io::Error>>(&self, op: Op, call: impl FnOnce(&File) -> std::result::Result<T, E>) -> Result<T> {
        let name = OsStr::new(&*self.name);
        self.disk.step(op, &self.directory, name)?;
        call(&self.file).map_err(|error| DiskError::new(op, &self.directory, name, error))
    }

    /// What the file is now, also where another machine has just written to it.
    pub fn look(&self) -> Result<Look> {
        let look = |file: &File| {
            // Some network file systems tell what they remember, for a second or more, and let reads end where the file ended
            // then. Told to ask, they forget that.
            let _ = rustix::fs::statx(file, c"", AtFlags::EMPTY_PATH | AtFlags::STATX_FORCE_SYNC, StatxFlags::SIZE);
            rustix::fs::fstat(file)
        };
        self.run(Op::Look, look).map(Look::from)
    }

    /// From the start, refusing more than `limit` octets.
    pub fn read_all(&self, limit: u64) -> Result<Vec<u8>> {
        self.read_from(0, limit)
    }

    /// From `offset` to the end, refusing more than `limit` octets.
    pub fn read_from(&self, offset: u64, limit: u64) -> Result<Vec<u8>> {
        struct At<'a>(&'a File, u64);
        impl Read for At<'_> {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                let n = self.0.read_at(buffer, self.1)?;
                self.1 += n as u64;
                Ok(n)
            }
        }
        self.run(Op::Read, |file| {
            let size = rustix::fs::fstat(file)?.st_size as u64;
            let expected = size.saturating_sub(offset);
            if expected > limit {
                let why = format!("{expected} octets, more than the {limit} that are read at most");
                return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
            }
            // One spare octet: the read that finds the end needs no second buffer.
            let mut content = Vec::with_capacity(expected as usize + 1);
            At(file, offset).take(limit + 1).read_to_end(&mut content)?;
            if content.len() as u64 > limit {
                return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it grows while it is read"));
            }
            Ok(content)
        })
    }

    /// At most `length` octets from `offset` on; fewer only at the end.
    pub fn read_part(&self, offset: u64, length: u64) -> Result<Vec<u8>> {
        self.run(Op::Read, |file| {
            let mut part = vec![0; length as usize];
            let mut filled = 0;
            while filled < part.len() {
                match file.read_at(&mut part[filled..], offset + filled as u64)? {
                    0 => break,
                    n => filled += n,
                }
            }
            part.truncate(filled);
            Ok::<_, io::Error>(part)
        })
    }

    /// Fills a part of `buffer` from `offset`; 0 at the end of the file.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        self.run(Op::Read, |file| {
            loop {
                match file.read_at(buffer, offset) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    result => return result,
                }
            }
        })
    }

    pub fn write_at(&self, content: &[u8], offset: u64) -> Result<()> {
        self.run(Op::Write, |file| file.write_all_at(content, offset))
    }

    /// Makes content and length durable.
    pub fn sync_data(&self) -> Result<()> {
        self.run(Op::Sync, |file| rustix::fs::fdatasync(file))
    }

    pub fn set_len(&self, length: u64) -> Result<()> {
        self.run(Op::Truncate, |file| file.set_len(length))
    }

    /// Tries to get the exclusive right to this file among processes and threads of this machine; it ends when the file
    /// is closed, or its process dies. `false`: somebody else has it.
    pub fn try_lock(&self) -> Result<bool> {
        self.run(Op::Lock, |file| match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
            Err(errno) => Err(errno),
        })
    }

    /// As [`Self::try_lock`], for a moment; an error if it is in vain: whoever has it may have been halted.
    pub fn lock_soon(&self) -> Result<()> {
        match soon(|| self.try_lock())? {
            true => Ok(()),
            false => {
                let why = io::Error::new(io::ErrorKind::WouldBlock, "another process has it locked");
                Err(DiskError::new(Op::Lock, &self.directory, OsStr::new(&*self.name), why))
            }
        }
    }

    /// As [`Self::try_lock`], but waits.
    pub fn lock(&self) -> Result<()> {
        self.run(Op::Lock, |file| rustix::fs::flock(file, FlockOperation::LockExclusive))
    }

    /// Whether some process has this file open for writing; `None` where the file system can't tell.
    ///
    /// The kernel grants a read lease (fcntl(2), F_SETLEASE) only while nobody has the file open for writing, so asking for
    /// one and giving it back answers the question. No library in use here wraps leases.
    pub fn has_writer(&self) -> Result<Option<bool>> {
        self.run(Op::Look, |file| {
            let fd = std::os::fd::AsRawFd::as_raw_fd(file);
            // A writer that comes while we have the lease makes the kernel send a signal, by default one that ends the
            // process. SIGURG is ignored by default.
            // fcntl(2); the libc crate lacks it.
            const F_SETSIG: libc::c_int = 10;
            // SAFETY: plain fcntl calls with integer arguments on a descriptor that is open during the call.
            let lease = unsafe {
                libc::fcntl(fd, F_SETSIG, libc::SIGURG);
                libc::fcntl(fd, libc::F_SETLEASE, libc::F_RDLCK)
            };
            if lease == 0 {
                // SAFETY: as above.
                unsafe { libc::fcntl(fd, libc::F_SETLEASE, libc::F_UNLCK) };
                return Ok::<_, io::Error>(Some(false));
            }
            match io::Error::last_os_error().raw_os_error() {
                Some(libc::EAGAIN) => Ok(Some(true)),
                _ => Ok(None),
            }
        })
    }

    /// Gives the file to the directory's owner, if it is not theirs: root may act on another user's spool, and the spool's
    /// own processes must be able to go on with what it leaves.
    pub fn belong_to_owner_of(&self, dir: &Dir) -> Result<()> {
        let owner = dir.look_self()?.owner;
        if owner == self.look()?.owner {
            return Ok(());
        }
        let owner = rustix::fs::Uid::from_raw(owner);
        self.run(Op::Write, |file| rustix::fs::fchown(file.as_fd(), Some(owner), None))
    }
}

/// NFS and FUSE rename what is removed while it is open.
fn is_removed(name: &OsStr) -> bool {
    [&b".nfs"[..], b".fuse_hidden"].iter().any(|prefix| {
        let rest = name.as_bytes().strip_prefix(*prefix);
        rest.is_some_and(|rest| rest.len() >= 8 && rest.iter().all(u8::is_ascii_hexdigit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> (tempfile::TempDir, Dir) {
        let dir = tempfile::tempdir().unwrap();
        let root = Disk::default().open_root(dir.path()).unwrap();
        (dir, root)
    }

    #[test]
    fn what_a_file_server_calls_removed_files_is_no_name() {
        for name in [".nfs000000000012ab34000001f7", ".fuse_hidden0000002300000005"] {
            assert!(is_removed(OsStr::new(name)), "{name}");
        }
        for name in [".nfs", ".nfsd-config", ".fuse_hidden1", "nfs0000000000000000", "message"] {
            assert!(!is_removed(OsStr::new(name)), "{name}");
        }
    }

    #[test]
    fn a_rename_never_replaces() {
        let (_keep, root) = root();
        root.make_dir("a").unwrap();
        root.make_dir("b").unwrap();
        assert!(root.rename("a", &root, "b").unwrap_err().is_exists());
    }

    #[test]
    fn only_regular_files_are_opened_and_links_are_not_followed() {
        let (keep, root) = root();
        std::os::unix::fs::symlink("/etc/passwd", keep.path().join("link")).unwrap();
        rustix::fs::mkfifoat(&root.fd, "fifo", Mode::RWXU).unwrap();
        root.make_dir("dir").unwrap();
        for name in ["link", "fifo", "dir"] {
            assert!(root.open_read(name).err().unwrap().is_wrong_kind(), "{name}");
        }
    }

    #[test]
    fn a_file_over_the_limit_is_refused_with_its_name() {
        let (_keep, root) = root();
        root.create("big").unwrap().write_at(b"12345", 0).unwrap();
        assert_eq!(root.read("big", 5).unwrap(), b"12345");
        let error = root.read("big", 4).unwrap_err().fate("the packet is set aside").to_string();
        assert!(error.contains("big: 5 octets") && error.ends_with("; the packet is set aside"), "{error}");
    }

    #[test]
    fn a_file_that_is_open_for_writing_has_a_writer() {
        let (_keep, root) = root();
        let writer = root.create("message").unwrap();
        let reader = root.open_read("message").unwrap();
        assert_eq!(reader.has_writer().unwrap(), Some(true));
        drop(writer);
        assert_eq!(reader.has_writer().unwrap(), Some(false));
    }

    #[test]
    fn a_lock_holds_against_another_descriptor_of_the_same_process() {
        let (_keep, root) = root();
        let first = root.create("packet").unwrap();
        let second = root.open("packet").unwrap();
        assert!(first.try_lock().unwrap());
        assert!(!second.try_lock().unwrap());
        drop(first);
        assert!(second.try_lock().unwrap());
    }
}
