//! The event log's file: appended to, and made a predecessor of the next one when it is big enough.
//!
//! `events.jsonl` becomes `events.jsonl.1`, that `events.jsonl.2`, and so on; the last one goes. Others may do the same, or
//! move it away, as logrotate does: before each write it is seen whether what is open is still what is at the path. So may
//! several processes write to one file, each in whole lines.
//!
//! Nothing here is synced: after a power loss the end is missing, and perhaps a piece of a line is left. A line that could
//! be written in part alone is ended, and written once more.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use tracing::warn;

use crate::daemon::settings::EventSettings;

/// See the module.
pub struct LogFile {
    path: PathBuf,
    max_size: u64,
    keep: u32,
    open: Option<File>,
    /// What was written last is a piece of a line.
    torn: bool,
    /// The log was told that it does not rotate.
    is_stuck: bool,
}

impl LogFile {
    pub fn new(path: &Path, settings: &EventSettings) -> LogFile {
        let EventSettings { max_size, keep, .. } = *settings;
        LogFile { path: path.to_owned(), max_size, keep, open: None, torn: false, is_stuck: false }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens it, if it is not open.
    pub fn open(&mut self) -> io::Result<()> {
        self.current().map(drop)
    }

    /// Writes whole lines, and takes off `lines` those that are written: on failure, some may be.
    pub fn append(&mut self, lines: &mut Vec<u8>) -> io::Result<()> {
        self.rotate_for(lines.len() as u64)?;
        let torn = self.torn;
        let mut file = self.current()?;
        let mut written = 0;
        let result = (|| {
            if torn {
                file.write_all(b"\n")?;
            }
            while written < lines.len() {
                match file.write(&lines[written..]) {
                    Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                    Ok(octets) => written += octets,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        })();
        let whole = memchr::memrchr(b'\n', &lines[..written]).map_or(0, |at| at + 1);
        self.torn = if written > 0 { whole < written } else { torn && result.is_err() };
        lines.drain(..whole);
        result
    }

    /// What is at the path, to be appended to.
    fn current(&mut self) -> io::Result<&File> {
        let is_there = |file: &File| -> io::Result<bool> {
            let (own, there) = (file.metadata()?, fs::metadata(&self.path)?);
            Ok((own.dev(), own.ino()) == (there.dev(), there.ino()))
        };
        if !self.open.as_ref().is_some_and(|file| is_there(file).unwrap_or(false)) {
            self.open = None;
            // A pipe that nobody reads must not be waited for.
            let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY;
            let mut options = OpenOptions::new();
            options.append(true).create(true).mode(0o640).custom_flags(flags.bits().cast_signed());
            let file = options.open(&self.path)?;
            self.torn = ends_within_a_line(&self.path, &file).unwrap_or(false);
            self.open = Some(file);
        }
        Ok(self.open.as_ref().expect("it has just been opened"))
    }

    /// Makes the file a predecessor if `more` octets would be too many for it.
    fn rotate_for(&mut self, more: u64) -> io::Result<()> {
        let max_size = self.max_size;
        let file = self.current()?;
        let look = file.metadata()?;
        if max_size == 0 || look.len() == 0 || look.len() + more <= max_size || !look.file_type().is_file() {
            return Ok(());
        }
        // Of several processes that write to it, one does it.
        if rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Ok(());
        }
        let there = fs::metadata(&self.path)?;
        if (look.dev(), look.ino()) == (there.dev(), there.ino()) {
            if let Err(error) = self.rotate() {
                // It goes on growing, which is better than to lose what happens.
                if !std::mem::replace(&mut self.is_stuck, true) {
                    warn!("cannot rotate the event log {}: {error}; it grows", self.path.display());
                }
                let file = self.current()?;
                return Ok(rustix::fs::flock(file, FlockOperation::Unlock)?);
            }
            self.is_stuck = false;
        }
        self.open = None;
        Ok(())
    }

    fn rotate(&self) -> io::Result<()> {
        let number = |n: u32| {
            let mut name = self.path.clone().into_os_string();
            name.push(format!(".{n}"));
            PathBuf::from(name)
        };
        let unless_gone = |result: io::Result<()>| match result {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        };
        // More may be left from a time when more were to be kept.
        let mut surplus = self.keep.max(1);
        while surplus < u32::MAX && fs::remove_file(number(surplus)).is_ok() {
            surplus += 1;
        }
        for n in (1..self.keep).rev() {
            unless_gone(fs::rename(number(n), number(n + 1)))?;
        }
        if self.keep == 0 { fs::remove_file(&self.path) } else { fs::rename(&self.path, number(1)) }
    }
}

/// Whether the last writer was cut short.
fn ends_within_a_line(path: &Path, file: &File) -> io::Result<bool> {
    let look = file.metadata()?;
    if look.file_type().is_fifo() || !look.is_file() || look.len() == 0 {
        return Ok(false);
    }
    let mut read = File::open(path)?;
    read.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    read.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(dir: &Path, max_size: u64, keep: u32) -> LogFile {
        let path = dir.join("events.jsonl");
        LogFile::new(&path, &EventSettings { path: Some(path.clone()), max_size, keep })
    }

    fn put(log: &mut LogFile, text: &str) {
        let mut lines = text.as_bytes().to_vec();
        log.append(&mut lines).unwrap();
        assert!(lines.is_empty());
    }

    fn files(dir: &Path) -> Vec<(String, String)> {
        let file = |entry: io::Result<fs::DirEntry>| {
            let path = entry.unwrap().path();
            (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read_to_string(path).unwrap())
        };
        let mut files: Vec<_> = fs::read_dir(dir).unwrap().map(file).collect();
        files.sort();
        files
    }

    fn expect(dir: &Path, expected: &[(&str, &str)]) {
        let owned: Vec<_> = expected.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        assert_eq!(files(dir), owned);
    }

    #[test]
    fn a_file_that_would_be_too_big_becomes_a_predecessor_and_so_many_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = log(dir.path(), 8, 2);
        for line in ["one\n", "two\n", "three\n", "four\n", "longer than a file may be\n", "six\n"] {
            put(&mut log, line);
        }
        expect(
            dir.path(),
            &[
                ("events.jsonl", "six\n"),
                ("events.jsonl.1", "longer than a file may be\n"),
                ("events.jsonl.2", "four\n"),
            ],
        );
        let mut log = self::log(dir.path(), 8, 1);
        put(&mut log, "seven\n");
        expect(dir.path(), &[("events.jsonl", "seven\n"), ("events.jsonl.1", "six\n")]);
        let mut log = self::log(dir.path(), 8, 0);
        put(&mut log, "eight\n");
        expect(dir.path(), &[("events.jsonl", "eight\n")]);
        let mut log = self::log(dir.path(), 0, 0);
        put(&mut log, "a long line\n");
        assert_eq!(files(dir.path())[0].1, "eight\na long line\n");
    }

    #[test]
    fn a_file_that_is_moved_away_is_followed_by_another_at_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = log(dir.path(), 100, 2);
        put(&mut log, "one\n");
        fs::rename(dir.path().join("events.jsonl"), dir.path().join("away")).unwrap();
        put(&mut log, "two\n");
        fs::remove_file(dir.path().join("events.jsonl")).unwrap();
        put(&mut log, "three\n");
        expect(dir.path(), &[("away", "one\n"), ("events.jsonl", "three\n")]);
    }

    #[test]
    fn two_that_write_to_one_file_rotate_it_once_and_lose_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let mut logs = [log(dir.path(), 40, 9), log(dir.path(), 40, 9)];
        for n in 10..60 {
            put(&mut logs[n % 2], &format!("line {n}\n"));
        }
        let mut lines: Vec<String> = files(dir.path())
            .into_iter()
            .flat_map(|(_, text)| text.lines().map(str::to_owned).collect::<Vec<_>>())
            .collect();
        lines.sort();
        assert_eq!(lines, (10..60).map(|n| format!("line {n}")).collect::<Vec<_>>());
        assert_eq!(files(dir.path()).len(), 10, "five lines a file");
    }

    #[test]
    fn a_piece_of_a_line_is_ended_before_anything_else_is_written() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("events.jsonl"), "whole\n{\"at\":17").unwrap();
        let mut log = log(dir.path(), 100, 2);
        put(&mut log, "next\n");
        put(&mut log, "last\n");
        expect(dir.path(), &[("events.jsonl", "whole\n{\"at\":17\nnext\nlast\n")]);
    }
}
