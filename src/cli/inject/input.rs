//! What the command reads: files and standard input, until a signal says to stop.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::cli::CliError;

/// A file's name as typed; `-` is standard input.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Source {
    Stdin,
    File(PathBuf),
}

impl FromStr for Source {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "" => Err("expected a file, or - for standard input".into()),
            "-" => Ok(Source::Stdin),
            path => Ok(Source::File(path.into())),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Stdin => f.write_str("standard input"),
            Source::File(path) => write!(f, "{}", path.display()),
        }
    }
}

impl Source {
    /// Opens it; and how many octets it has, where that is known.
    pub fn open<'s>(&self, stop: &'s Stop) -> Result<(Input<'s>, Option<u64>), CliError> {
        let (file, length) = match self {
            Source::Stdin => (None, None),
            Source::File(path) => {
                let opened = File::open(path).and_then(|file| Ok((file.metadata()?, file)));
                let (metadata, file) = opened.map_err(|error| {
                    CliError::Usage(format!("cannot read {}: {error}; nothing was queued", path.display()))
                })?;
                (Some(file), metadata.is_file().then_some(metadata.len()))
            }
        };
        Ok((Input { file, stop }, length))
    }

    /// All of it, if it has no more than `limit` octets.
    pub fn read_all(&self, limit: u64, stop: &Stop) -> Result<Vec<u8>, CliError> {
        let (input, _) = self.open(stop)?;
        let mut content = Vec::new();
        input
            .take(limit + 1)
            .read_to_end(&mut content)
            .map_err(|error| stop.or(CliError::TryAgain(format!("cannot read {self}: {error}; nothing was queued"))))?;
        if content.len() as u64 > limit {
            return Err(CliError::Usage(format!("{self} has more than {limit} octets; nothing was queued")));
        }
        Ok(content)
    }
}

/// An open source. Reading it fails once a signal has come, also while it waits for a writer.
pub struct Input<'s> {
    /// `None`: standard input.
    file: Option<File>,
    stop: &'s Stop,
}

impl Read for Input<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.file {
            Some(file) => {
                self.stop.wait_for(file.as_fd())?;
                file.read(buffer)
            }
            None => {
                // Rust's own buffer of standard input must be passed by: poll doesn't know what lies in it.
                let stdin = rustix::stdio::stdin();
                self.stop.wait_for(stdin)?;
                Ok(rustix::io::read(stdin, buffer)?)
            }
        }
    }
}

/// Set by the first INT, TERM or HUP; the second ends the process at once.
pub struct Stop {
    flag: Arc<AtomicBool>,
    /// Becomes readable with the signal, so that a read that waits can wait for both.
    signalled: UnixStream,
}

impl Stop {
    pub fn listen() -> io::Result<Stop> {
        let flag = Arc::new(AtomicBool::new(false));
        let (signalled, signals) = UnixStream::pair()?;
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            // In this order: the first signal finds the flag unset.
            signal_hook::flag::register_conditional_default(signal, flag.clone())?;
            signal_hook::flag::register(signal, flag.clone())?;
            signal_hook::low_level::pipe::register(signal, signals.try_clone()?)?;
        }
        Ok(Stop { flag, signalled })
    }

    pub fn is_set(&self) -> bool {
        self.flag.load(Ordering::Relaxed)
    }

    /// What to say: that a signal came, or else `error`.
    pub fn or(&self, error: CliError) -> CliError {
        if self.is_set() { CliError::TryAgain("stopped by a signal; nothing was queued".into()) } else { error }
    }

    fn wait_for(&self, source: BorrowedFd<'_>) -> io::Result<()> {
        let mut both = [PollFd::from_borrowed_fd(source, PollFlags::IN), PollFd::new(&self.signalled, PollFlags::IN)];
        loop {
            match rustix::event::poll(&mut both, None) {
                Err(rustix::io::Errno::INTR) if !self.is_set() => continue,
                Err(errno) if !self.is_set() => return Err(errno.into()),
                _ if self.is_set() => return Err(io::Error::other("stopped by a signal")),
                _ => return Ok(()),
            }
        }
    }
}
