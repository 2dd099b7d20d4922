//! What was attempted, and what went wrong.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// What is about to be done to the disk.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Op {
    Open,
    Create,
    Read,
    Write,
    Sync,
    Truncate,
    Rename,
    Link,
    Remove,
    MakeDirectory,
    List,
    Look,
    Lock,
}

impl Op {
    /// Whether it changes what a reader of the spool, or a disk after a power loss, finds.
    pub fn changes(self) -> bool {
        !matches!(self, Op::Open | Op::Read | Op::List | Op::Look | Op::Lock)
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Op::Open => "open",
            Op::Create => "create",
            Op::Read => "read",
            Op::Write => "write",
            Op::Sync => "sync",
            Op::Truncate => "cut",
            Op::Rename => "rename",
            Op::Link => "link",
            Op::Remove => "remove",
            Op::MakeDirectory => "create directory",
            Op::List => "list",
            Op::Look => "look at",
            Op::Lock => "lock",
        })
    }
}

/// A failed operation.
#[derive(Debug, thiserror::Error)]
#[error("cannot {op} {}: {source}{fate}", path.display())]
pub struct DiskError {
    pub op: Op,
    /// Below the spool's root.
    pub path: PathBuf,
    pub source: io::Error,
    fate: Cow<'static, str>,
}

impl DiskError {
    pub(crate) fn new(op: Op, directory: &Path, name: &OsStr, source: impl Into<io::Error>) -> DiskError {
        let path = if name.is_empty() { directory.to_owned() } else { directory.join(name) };
        DiskError { op, path, source: source.into(), fate: Cow::Borrowed("") }
    }

    /// Adds what happens to the mail now.
    pub fn fate(mut self, fate: impl fmt::Display) -> DiskError {
        self.fate = format!("; {fate}").into();
        self
    }

    /// What was named isn't there (any more): another process won a race, or an operator moved it. Mostly an ordinary
    /// answer.
    pub fn is_gone(&self) -> bool {
        matches!(
            self.source.raw_os_error().map(rustix::io::Errno::from_raw_os_error),
            Some(rustix::io::Errno::NOENT | rustix::io::Errno::STALE)
        )
    }

    pub fn is_exists(&self) -> bool {
        self.source.kind() == io::ErrorKind::AlreadyExists
    }

    /// It has more octets than any of its kind has.
    pub fn is_too_large(&self) -> bool {
        self.source.kind() == io::ErrorKind::FileTooLarge
    }

    /// The file system takes no writes at all, and not this one file.
    pub fn is_of_the_disk(&self) -> bool {
        matches!(
            self.source.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::QuotaExceeded
        )
    }

    /// What lies there is no regular file, or no directory, where one must be.
    pub fn is_wrong_kind(&self) -> bool {
        self.source.kind() == io::ErrorKind::InvalidData
            || matches!(
                self.source.raw_os_error().map(rustix::io::Errno::from_raw_os_error),
                Some(
                    rustix::io::Errno::LOOP
                        | rustix::io::Errno::NOTDIR
                        | rustix::io::Errno::ISDIR
                        | rustix::io::Errno::NXIO
                )
            )
    }
}

pub type Result<T> = std::result::Result<T, DiskError>;

/// Turns "it isn't there" into `None`.
pub fn unless_gone<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_gone() => Ok(None),
        Err(error) => Err(error),
    }
}
