//! Sorts recipients by domain, then local part, in bounded memory: runs of a few megabytes are sorted as they come and
//! written to scratch files, which are merged in the end.
//!
//! A scratch file is removed as soon as it is created and lives on by its descriptor: whatever ends this process, none
//! is left behind.

use std::cmp::Ordering;

use super::Recipient;
use crate::spool::disk::{Dir, Result, SpoolFile};

/// Octets of recipients, with their index, that are sorted in memory.
const RUN: usize = 24 * 1024 * 1024;
/// So many runs are merged at once; more are merged into one first.
const MAX_RUNS: usize = 48;
/// What is read of a run at a time; a record fits.
const PIECE: usize = 128 * 1024;

/// Stands between domain and local part in a key: less than any octet of a domain, so that keys compare as pairs do.
const BETWEEN: u8 = 0;

/// See the module.
pub struct Sorter<'d> {
    scratch: &'d Dir,
    run_size: usize,
    /// Keys and what follows them, back to back.
    arena: Vec<u8>,
    index: Vec<Entry>,
    runs: Vec<SpoolFile>,
}

/// Where a record is in the arena. `prefix` is its key's beginning: most comparisons need no look at the arena.
pub struct Entry {
    prefix: u64,
    start: u32,
    key: u16,
    rest: u16,
}

/// A recipient in its place, valid until the next is asked for.
#[derive(Clone, Copy)]
pub struct Record<'s> {
    /// Domain, a NUL, local part with its `@`.
    key: &'s [u8],
    /// What was given along with it.
    pub rest: &'s [u8],
}

impl Record<'_> {
    /// The address as it is sent to.
    pub fn append_address(&self, to: &mut Vec<u8>) {
        let between = memchr::memchr(BETWEEN, self.key).expect("every key has a NUL behind the domain");
        to.extend_from_slice(&self.key[between + 1..]);
        to.extend_from_slice(&self.key[..between]);
    }
}

impl<'d> Sorter<'d> {
    pub fn new(scratch: &'d Dir) -> Sorter<'d> {
        Sorter { scratch, run_size: RUN, arena: Vec::new(), index: Vec::new(), runs: Vec::new() }
    }

    /// Takes a recipient, and what is to be kept along with it (at most 65,535 octets).
    pub fn push(&mut self, recipient: &Recipient<'_>, rest: &[u8]) -> Result<()> {
        let start = self.arena.len();
        // The domain has one spelling; non-ASCII letters are left as they are.
        self.arena.extend(recipient.domain.iter().map(u8::to_ascii_lowercase));
        self.arena.push(BETWEEN);
        self.arena.extend_from_slice(recipient.local);
        let key = self.arena.len() - start;
        self.arena.extend_from_slice(rest);
        let prefix = prefix(&self.arena[start..start + key]);
        // An address has at most 254 octets, a line at most 65,535, and a run is far below 4 GiB.
        self.index.push(Entry { prefix, start: start as u32, key: key as u16, rest: rest.len() as u16 });
        if self.arena.len() + self.index.len() * size_of::<Entry>() >= self.run_size {
            self.spill()?;
        }
        Ok(())
    }

    fn sort(&mut self) {
        let arena = &self.arena;
        let key = |entry: &Entry| &arena[entry.start as usize..][..usize::from(entry.key)];
        // Of equal ones, that which came first stays first.
        self.index.sort_unstable_by(|a, b| {
            a.prefix.cmp(&b.prefix).then_with(|| key(a).cmp(key(b))).then_with(|| a.start.cmp(&b.start))
        });
    }

    /// Sorts what is in memory and writes it to a run of its own.
    fn spill(&mut self) -> Result<()> {
        self.sort();
        let mut run = RunWriter::new(self.scratch, self.runs.len())?;
        for entry in &self.index {
            run.push(entry.record(&self.arena))?;
        }
        self.runs.push(run.finish()?);
        self.arena.clear();
        self.index.clear();
        if self.runs.len() == MAX_RUNS {
            let mut all = Sorted::Merged(Merge::begin(std::mem::take(&mut self.runs))?);
            let mut run = RunWriter::new(self.scratch, 0)?;
            while let Some((record, _)) = all.next()? {
                run.push(record)?;
            }
            self.runs.push(run.finish()?);
        }
        Ok(())
    }

    pub fn finish(mut self) -> Result<Sorted> {
        if self.runs.is_empty() {
            self.sort();
            return Ok(Sorted::InMemory { arena: self.arena, index: self.index, next: 0 });
        }
        if !self.index.is_empty() {
            self.spill()?;
        }
        // The arena's memory is needed for the pieces.
        drop((self.arena, self.index));
        Ok(Sorted::Merged(Merge::begin(self.runs)?))
    }
}

/// A key's first octets as a number that compares as they do.
fn prefix(key: &[u8]) -> u64 {
    let mut prefix = [0; 8];
    let length = key.len().min(8);
    prefix[..length].copy_from_slice(&key[..length]);
    u64::from_be_bytes(prefix)
}

impl Entry {
    fn record<'s>(&self, arena: &'s [u8]) -> Record<'s> {
        let (key, behind) = arena[self.start as usize..].split_at(usize::from(self.key));
        Record { key, rest: &behind[..usize::from(self.rest)] }
    }
}

/// All recipients in order.
pub enum Sorted {
    InMemory { arena: Vec<u8>, index: Vec<Entry>, next: usize },
    Merged(Merge),
}

impl Sorted {
    /// The next recipient, and whether it is a repeat of the one before.
    pub fn next(&mut self) -> Result<Option<(Record<'_>, bool)>> {
        match self {
            Sorted::InMemory { arena, index, next } => {
                let Some(entry) = index.get(*next) else { return Ok(None) };
                let record = entry.record(arena);
                let repeat = *next > 0 && index[*next - 1].record(arena).key == record.key;
                *next += 1;
                Ok(Some((record, repeat)))
            }
            Sorted::Merged(merge) => merge.next(),
        }
    }

    /// Starts over.
    pub fn rewind(self) -> Result<Sorted> {
        Ok(match self {
            Sorted::InMemory { arena, index, .. } => Sorted::InMemory { arena, index, next: 0 },
            Sorted::Merged(Merge { mut cursors, .. }) => {
                // A run's place says which of equal recipients came first; the heap has shuffled them.
                cursors.sort_unstable_by_key(|cursor| cursor.number);
                let runs = cursors.into_iter().map(|cursor| cursor.run).collect();
                Sorted::Merged(Merge::begin(runs)?)
            }
        })
    }
}

/// Writes a run: for each record the length of its key and of its rest, then both.
struct RunWriter {
    run: SpoolFile,
    buffer: Vec<u8>,
    written: u64,
}

const LENGTHS: usize = 4;

impl RunWriter {
    fn new(scratch: &Dir, number: usize) -> Result<RunWriter> {
        Ok(RunWriter { run: scratch_file(scratch, &format!("scratch.{number}"))?, buffer: Vec::new(), written: 0 })
    }

    fn push(&mut self, record: Record<'_>) -> Result<()> {
        self.buffer.extend_from_slice(&(record.key.len() as u16).to_ne_bytes());
        self.buffer.extend_from_slice(&(record.rest.len() as u16).to_ne_bytes());
        self.buffer.extend_from_slice(record.key);
        self.buffer.extend_from_slice(record.rest);
        if self.buffer.len() >= PIECE { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        self.run.write_at(&self.buffer, self.written)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    fn finish(mut self) -> Result<SpoolFile> {
        self.flush()?;
        Ok(self.run)
    }
}

/// A file without a name.
pub fn scratch_file(scratch: &Dir, name: &str) -> Result<SpoolFile> {
    let file = scratch.create(name)?;
    scratch.remove(name)?;
    Ok(file)
}

/// Several runs, read as one. The cursors are a binary heap with the least at the top.
pub struct Merge {
    cursors: Vec<Cursor>,
    /// The key of the record given last.
    before: Vec<u8>,
    /// The top has been given and must be passed.
    given: bool,
}

struct Cursor {
    run: SpoolFile,
    /// Which run: of equal keys, that of the earlier run came first.
    number: usize,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    /// Where in the run the buffer's end is.
    offset: u64,
    prefix: u64,
    key: usize,
    rest: usize,
    ended: bool,
}

impl Merge {
    fn begin(runs: Vec<SpoolFile>) -> Result<Merge> {
        let cursors = runs.into_iter().enumerate().map(|(number, run)| Cursor::begin(number, run));
        let mut cursors: Vec<Cursor> = cursors.collect::<Result<_>>()?;
        // A sorted sequence is a heap.
        cursors.sort_unstable_by(Cursor::order);
        Ok(Merge { cursors, before: Vec::new(), given: false })
    }

    fn next(&mut self) -> Result<Option<(Record<'_>, bool)>> {
        if self.given {
            let top = &mut self.cursors[0];
            self.before.clear();
            self.before.extend_from_slice(top.record().key);
            top.advance()?;
            self.sift_down();
        }
        let Some(top) = self.cursors.first().filter(|top| !top.ended) else {
            self.given = false;
            return Ok(None);
        };
        let record = top.record();
        let repeat = self.given && record.key == self.before;
        self.given = true;
        Ok(Some((record, repeat)))
    }

    /// Puts the top where it belongs.
    fn sift_down(&mut self) {
        let mut at = 0;
        loop {
            let children = 2 * at + 1..(2 * at + 3).min(self.cursors.len());
            let least = children.min_by(|&a, &b| self.cursors[a].order(&self.cursors[b]));
            match least {
                Some(child) if self.cursors[child].order(&self.cursors[at]) == Ordering::Less => {
                    self.cursors.swap(at, child);
                    at = child;
                }
                _ => return,
            }
        }
    }
}

impl Cursor {
    fn begin(number: usize, run: SpoolFile) -> Result<Cursor> {
        let buffer = vec![0; PIECE].into_boxed_slice();
        let mut cursor =
            Cursor { run, number, buffer, start: 0, end: 0, offset: 0, prefix: 0, key: 0, rest: 0, ended: false };
        cursor.load()?;
        Ok(cursor)
    }

    fn record(&self) -> Record<'_> {
        let (key, behind) = self.buffer[self.start + LENGTHS..].split_at(self.key);
        Record { key, rest: &behind[..self.rest] }
    }

    fn advance(&mut self) -> Result<()> {
        self.start += LENGTHS + self.key + self.rest;
        self.load()
    }

    /// Makes the record at `start` whole.
    fn load(&mut self) -> Result<()> {
        if !self.has(LENGTHS)? {
            self.ended = true;
            return Ok(());
        }
        let lengths = &self.buffer[self.start..self.start + LENGTHS];
        self.key = usize::from(u16::from_ne_bytes([lengths[0], lengths[1]]));
        self.rest = usize::from(u16::from_ne_bytes([lengths[2], lengths[3]]));
        let whole = self.has(LENGTHS + self.key + self.rest)?;
        assert!(whole, "a run of our own, in a file without a name, ends with a whole record");
        self.prefix = prefix(self.record().key);
        Ok(())
    }

    fn has(&mut self, octets: usize) -> Result<bool> {
        while self.end - self.start < octets {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
            let n = self.run.read_at(&mut self.buffer[self.end..], self.offset)?;
            if n == 0 {
                return Ok(false);
            }
            self.end += n;
            self.offset += n as u64;
        }
        Ok(true)
    }

    fn order(&self, other: &Cursor) -> Ordering {
        let key = || self.record().key.cmp(other.record().key);
        match (self.ended, other.ended) {
            (false, false) => {
                self.prefix.cmp(&other.prefix).then_with(key).then_with(|| self.number.cmp(&other.number))
            }
            (ended, other) => ended.cmp(&other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::disk::Disk;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn in_order(recipients: &[(String, String)], run_size: usize) -> Vec<(String, u32)> {
        let dir = tempfile::tempdir().unwrap();
        let scratch = Disk::default().open_root(dir.path()).unwrap();
        let mut sorter = Sorter { run_size, ..Sorter::new(&scratch) };
        for (number, (local, domain)) in recipients.iter().enumerate() {
            let recipient = Recipient { local: local.as_bytes(), domain: domain.as_bytes(), rest: b"" };
            sorter.push(&recipient, &(number as u32).to_ne_bytes()).unwrap();
        }
        let mut sorted = sorter.finish().unwrap();
        let mut once = read(&mut sorted);
        let mut sorted = sorted.rewind().unwrap();
        assert!(read(&mut sorted) == once, "a second reading gives the same");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "scratch files have no name");
        once.retain(|(_, _, repeat)| !repeat);
        once.into_iter().map(|(address, number, _)| (address, number)).collect()
    }

    fn read(sorted: &mut Sorted) -> Vec<(String, u32, bool)> {
        let mut all = Vec::new();
        while let Some((record, repeat)) = sorted.next().unwrap() {
            let mut address = Vec::new();
            record.append_address(&mut address);
            let number = u32::from_ne_bytes(record.rest.try_into().unwrap());
            all.push((String::from_utf8(address).unwrap(), number, repeat));
        }
        all
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn sorting_in_runs_gives_what_sorting_in_memory_gives(
            recipients in prop::collection::vec(("[a-c!]{1,2}@", "[A-Ca-c]{1,9}\\.(org|de)"), 0..300),
            run_size in 60..8000_usize,
        ) {
            // The first of equal addresses stays: a set keeps what it has.
            let mut expected: BTreeSet<(String, String)> = BTreeSet::new();
            let mut first = std::collections::HashMap::new();
            for (number, (local, domain)) in recipients.iter().enumerate() {
                let domain = domain.to_lowercase();
                let address = format!("{local}{domain}");
                expected.insert((domain, address.clone()));
                first.entry(address).or_insert(number as u32);
            }
            let expected: Vec<_> = expected.into_iter().map(|(_, address)| (address.clone(), first[&address])).collect();
            prop_assert_eq!(in_order(&recipients, run_size), expected);
        }
    }

    #[test]
    fn of_equal_recipients_in_many_runs_the_first_stays_also_on_a_second_reading() {
        let recipients: Vec<_> = (0..40).map(|n| (format!("m{}@", n % 3), "x.org".to_owned())).collect();
        let expected = (0..3).map(|n| (format!("m{n}@x.org"), n)).collect::<Vec<_>>();
        assert_eq!(in_order(&recipients, 60), expected);
    }

    #[test]
    fn more_runs_than_are_merged_at_once_are_merged_in_steps() {
        let recipients: Vec<_> = (0..500_u32).map(|n| (format!("m{:03}@", n * 7 % 500), "x.org".to_owned())).collect();
        let sorted = in_order(&recipients, 60);
        assert_eq!(sorted.len(), 500);
        assert!(sorted.is_sorted_by(|a, b| a.0 < b.0));
    }
}
