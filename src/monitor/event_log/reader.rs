//! Event logs read back: each with its predecessors, those of several hosts side by side, in order of time.
//!
//! Line by line, whatever the size of the files, and of the lines. A line that can't be read, or believed, is counted, the
//! first ones are named, and the rest is read all the same: the log is for the time after something went wrong.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::ops::RangeInclusive;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::line::{BadLine, Line};
use super::story::cut;
use crate::mail::Moment;

/// Longer lines were not written by this program.
const LONGEST: u64 = 1024 * 1024;
/// Damaged lines that are named.
const NAMED: usize = 5;
/// Octets of what is said of one.
const SAID: usize = 200;
/// Seconds that another host's clock may be ahead, or that this one was.
const AHEAD: u64 = 86_400;
/// Nothing of this program has happened before 2020.
const EARLIEST: Moment = Moment(1_577_836_800_000_000);

/// What was not understood.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Damage {
    /// Lines that can't be read, or files.
    pub damaged: u64,
    /// The first of them: which file, which line, why.
    pub named: Vec<String>,
    /// Lines of a kind that this version does not know.
    pub unknown: u64,
}

impl Damage {
    fn name(&mut self, what: impl FnOnce() -> String) {
        self.damaged += 1;
        if self.named.len() < NAMED {
            self.named.push(cut(&what(), SAID));
        }
    }
}

/// All lines of some logs.
pub struct Reader {
    files: Vec<LogFile>,
    /// When something may have happened.
    credible: RangeInclusive<Moment>,
    pub damage: Damage,
    /// Octets of the line that was given last.
    pub length: usize,
}

/// One file, and the line of it that comes next.
struct LogFile {
    path: PathBuf,
    lines: BufReader<File>,
    /// The one that was read last.
    number: u64,
    /// With its length.
    next: Option<(Line, usize)>,
}

impl Reader {
    /// Opens the logs at `paths`, with their predecessors. A file that was given as another one's predecessor already is
    /// read once.
    pub fn open(paths: &[PathBuf], now: Moment) -> io::Result<Reader> {
        let (mut files, mut seen, mut damage) = (Vec::new(), HashSet::new(), Damage::default());
        let failed =
            |path: &Path, error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        for path in paths {
            // The newest first: one that is rotated meanwhile is met again, under its next name, and not missed.
            let newest = open(path);
            let older = predecessors(path).map_err(|error| failed(path, error))?;
            match newest {
                Ok(file) => take(path, file, &mut seen, &mut files),
                // Just rotated, and nothing has happened since.
                Err(error) if error.kind() == io::ErrorKind::NotFound && !older.is_empty() => {}
                Err(error) => return Err(failed(path, error)),
            }
            for older in older {
                match open(&older) {
                    Ok(_) if is_compressed(&older) => {
                        damage.name(|| format!("{}: compressed; unpack it to have it read", older.display()));
                    }
                    Ok(file) => take(&older, file, &mut seen, &mut files),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => damage.name(|| failed(&older, error).to_string()),
                }
            }
        }
        let credible = EARLIEST..=now.plus(Duration::from_secs(AHEAD));
        files.iter_mut().for_each(|file| file.advance(&credible, &mut damage));
        Ok(Reader { files, credible, damage, length: 0 })
    }
}

impl Iterator for Reader {
    type Item = Line;

    /// The earliest of the next lines of each file. Within a file, lines come as they were written, whatever the clock said.
    fn next(&mut self) -> Option<Line> {
        let waiting = self.files.iter_mut().filter(|file| file.next.is_some());
        let file = waiting.min_by_key(|file| file.next.as_ref().map(|(line, _)| line.event.at))?;
        let (line, length) = file.next.take()?;
        self.length = length;
        file.advance(&self.credible, &mut self.damage);
        Some(line)
    }
}

impl LogFile {
    /// Finds the next line that can be read.
    fn advance(&mut self, credible: &RangeInclusive<Moment>, damage: &mut Damage) {
        loop {
            match self.line(credible) {
                Ok(Some(Ok(next))) => return self.next = Some(next),
                Ok(Some(Err(BadLine::Unknown))) => damage.unknown += 1,
                Ok(Some(Err(BadLine::Damaged(why)))) => {
                    damage.name(|| format!("{}:{}: {why}", self.path.display(), self.number));
                }
                Ok(None) => return,
                Err(error) => {
                    return damage.name(|| format!("{}: {error}; the rest of it is not read", self.path.display()));
                }
            }
        }
    }

    /// The next line that is not empty; `None` at the end.
    fn line(&mut self, credible: &RangeInclusive<Moment>) -> io::Result<Option<Result<(Line, usize), BadLine>>> {
        let mut line = Vec::new();
        loop {
            line.clear();
            if self.lines.by_ref().take(LONGEST).read_until(b'\n', &mut line)? == 0 {
                return Ok(None);
            }
            self.number += 1;
            if line.last() != Some(&b'\n') && line.len() as u64 == LONGEST {
                self.lines.skip_until(b'\n')?;
                return Ok(Some(Err(BadLine::Damaged("longer than any line of this program's".into()))));
            }
            let line = line.strip_suffix(b"\n").unwrap_or(&line);
            if !line.is_empty() {
                return Ok(Some(Line::read(line, credible).map(|read| (read, line.len()))));
            }
        }
    }
}

/// Adds a file that is not read yet.
fn take(path: &Path, file: File, seen: &mut HashSet<(u64, u64)>, files: &mut Vec<LogFile>) {
    let is_new = file.metadata().map_or(true, |look| seen.insert((look.dev(), look.ino())));
    if is_new {
        let lines = BufReader::with_capacity(64 * 1024, file);
        files.push(LogFile { path: path.to_owned(), lines, number: 0, next: None });
    }
}

/// A pipe that nobody writes to is not waited for.
fn open(path: &Path) -> io::Result<File> {
    let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY;
    let file = fs::OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)?;
    let kind = file.metadata()?.file_type();
    if kind.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    // Some, as /dev/full, have no end.
    if kind.is_char_device() || kind.is_block_device() {
        return Err(io::Error::other("it is a device; what was written there can't be read back"));
    }
    Ok(file)
}

/// What this program or logrotate has made of earlier files: `events.jsonl.1`, `events.jsonl-20261201`.
fn predecessors(path: &Path) -> io::Result<Vec<PathBuf>> {
    let Some(name) = path.file_name() else { return Ok(Vec::new()) };
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?.file_name();
        let rest = entry.as_encoded_bytes().strip_prefix(name.as_encoded_bytes());
        let Some([b'.' | b'-', number @ ..]) = rest else { continue };
        let number = COMPRESSED.iter().find_map(|end| number.strip_suffix(end.as_bytes())).unwrap_or(number);
        if !number.is_empty() && number.iter().all(|b| b.is_ascii_digit() || *b == b'-') {
            found.push(dir.join(entry));
        }
    }
    Ok(found)
}

const COMPRESSED: [&str; 4] = [".gz", ".xz", ".zst", ".bz2"];

fn is_compressed(path: &Path) -> bool {
    COMPRESSED.iter().any(|end| path.as_os_str().as_encoded_bytes().ends_with(end.as_bytes()))
}
