//! From lists of recipients to packets: checked, repeats dropped, sorted by domain, cut.
//!
//! Works in bounded memory whatever the number: what exceeds [`BUDGET`] goes to scratch files in the draft's folder, each
//! sorted, and is merged from there. The scratch files are removed before the message is shown; a crash leaves them in a
//! draft that nobody sends.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, BufRead, BufReader, Read};

use crate::mail::address::{self, BadAddress};
use crate::mail::packet::BadLine;
use crate::mail::{Mode, PacketName, Serial};

use super::disk::{DiskError, Result, SpoolFile};
use super::draft::Draft;
use super::layout::FileName;

/// Octets of lines held in memory. A million recipients are some 30 MB.
const BUDGET: usize = 16 * 1024 * 1024;
/// A recipient's line with its fields.
const MAX_LINE: usize = 64 * 1024;

/// How packets are cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cut {
    /// Recipients a packet.
    Size(usize),
    /// So many packets, of sizes that differ by one at most.
    Number(usize),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// By domain, then address: one domain's members share packets.
    ByDomain,
    AsGiven,
}

/// Takes in the recipients of one mode.
pub struct Intake<'d> {
    draft: &'d Draft<'d>,
    order: Order,
    /// Lines, each with its newline.
    lines: Vec<u8>,
    /// Where each line starts, how long its address is, and where its domain begins.
    index: Vec<Line>,
    runs: Vec<SpoolFile>,
    seen: Option<Seen>,
    taken: u64,
}

#[derive(Clone, Copy)]
struct Line {
    start: u32,
    length: u32,
    address: u16,
    at: u16,
}

/// Addresses that came before, as 128 bits each: a false repeat is less likely than a broken disk, and the keys are random.
struct Seen {
    keys: (RandomState, RandomState),
    hashes: HashSet<u128>,
}

/// What a line was.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken {
    Recipient,
    /// Only in given order; sorted, repeats are dropped later.
    Repeat,
    Bad(BadLine),
}

/// Why taking in stopped.
#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    #[error("cannot read the recipients: {0}")]
    Read(io::Error),
    #[error(transparent)]
    Disk(#[from] DiskError),
    #[error("interrupted")]
    Interrupted,
}

impl<'d> Intake<'d> {
    pub fn new(draft: &'d Draft<'d>, order: Order) -> Intake<'d> {
        let seen = (order == Order::AsGiven)
            .then(|| Seen { keys: (RandomState::new(), RandomState::new()), hashes: HashSet::new() });
        Intake { draft, order, lines: Vec::new(), index: Vec::new(), runs: Vec::new(), seen, taken: 0 }
    }

    /// Reads lines to the end. `bad` is told of each line that is no recipient; `go_on` is asked now and then, with the
    /// octets read so far.
    pub fn read(
        &mut self,
        input: impl Read,
        mut bad: impl FnMut(BadLine),
        mut go_on: impl FnMut(u64) -> bool,
    ) -> std::result::Result<(), IntakeError> {
        let mut input = BufReader::with_capacity(256 * 1024, input);
        let mut line = Vec::new();
        let (mut number, mut octets) = (0, 0);
        loop {
            line.clear();
            let read =
                (&mut input).take(MAX_LINE as u64 + 1).read_until(b'\n', &mut line).map_err(IntakeError::Read)?;
            if read == 0 {
                return Ok(());
            }
            number += 1;
            octets += read as u64;
            if read > MAX_LINE && line.last() != Some(&b'\n') {
                octets += skip_line(&mut input).map_err(IntakeError::Read)?;
                bad(BadLine::new(number, &line, BadAddress::TooLong));
                continue;
            }
            let content = line.strip_suffix(b"\n").unwrap_or(&line);
            if let Taken::Bad(line) = self.push(number, content)? {
                bad(line);
            }
            if number % 4096 == 0 && !go_on(octets) {
                return Err(IntakeError::Interrupted);
            }
        }
    }

    /// Takes in one line, without its newline.
    fn push(&mut self, number: usize, content: &[u8]) -> Result<Taken> {
        let (address, fields) = match memchr::memchr(b'\t', content) {
            Some(tab) => (&content[..tab], Some(&content[tab + 1..])),
            None => (content, None),
        };
        let valid = match address::valid(address) {
            Ok(valid) => valid,
            Err(reason) => return Ok(Taken::Bad(BadLine::new(number, content, reason))),
        };
        if fields.is_some_and(|fields| serde_json::from_slice::<serde_json::Map<_, _>>(fields).is_err()) {
            return Ok(Taken::Bad(BadLine::new(number, content, BadAddress::Fields)));
        }
        let at = valid.rfind('@').expect("a valid address has one");
        let start = self.lines.len();
        self.lines.extend_from_slice(content);
        self.lines.push(b'\n');
        // A domain has one spelling, so that its members stand together and a repeat is seen.
        self.lines[start + at..start + address.len()].make_ascii_lowercase();
        if let Some(seen) = &mut self.seen {
            let address = &self.lines[start..start + address.len()];
            let hash = u128::from(seen.keys.0.hash_one(address)) << 64 | u128::from(seen.keys.1.hash_one(address));
            if !seen.hashes.insert(hash) {
                self.lines.truncate(start);
                return Ok(Taken::Repeat);
            }
        }
        self.index.push(Line {
            start: start as u32,
            length: content.len() as u32 + 1,
            address: address.len() as u16,
            at: at as u16,
        });
        self.taken += 1;
        if self.lines.len() >= BUDGET {
            self.spill()?;
        }
        Ok(Taken::Recipient)
    }

    /// Sorts what is in memory and drops repeats within it.
    fn sort(&mut self) {
        if self.order == Order::AsGiven {
            return;
        }
        let lines = &self.lines;
        let key = |line: &Line| {
            let address = &lines[line.start as usize..][..usize::from(line.address)];
            (&address[usize::from(line.at)..], address)
        };
        // Of a repeat the line that came first is kept.
        self.index.sort_unstable_by(|a, b| key(a).cmp(&key(b)).then(a.start.cmp(&b.start)));
        self.index.dedup_by(|b, a| key(a) == key(b));
    }

    fn spill(&mut self) -> Result<()> {
        self.sort();
        let file = self.draft.dir().create(&format!(".sorted.{}", self.runs.len()))?;
        let mut writer = Writer::new(&file);
        for line in &self.index {
            writer.write(&self.lines[line.start as usize..][..line.length as usize])?;
        }
        writer.flush()?;
        self.runs.push(file);
        self.lines.clear();
        self.index.clear();
        Ok(())
    }

    /// Writes the packets of `mode` into the draft and removes the scratch files. Gives recipients and packets.
    pub fn cut(mut self, mode: &Mode, cut: Cut) -> Result<(u64, u32)> {
        if self.runs.is_empty() {
            self.sort();
        } else {
            self.spill()?;
            // The merge needs its memory for buffers now.
            (self.lines, self.index) = (Vec::new(), Vec::new());
        }
        let total = match cut {
            Cut::Size(_) => None,
            Cut::Number(_) if self.runs.is_empty() => Some(self.index.len() as u64),
            Cut::Number(_) => {
                let mut total = 0;
                self.each(|_| {
                    total += 1;
                    Ok(())
                })?;
                Some(total)
            }
        };
        let mut cutter = Cutter::new(self.draft, mode, cut, total);
        self.each(|line| cutter.write(line))?;
        let written = cutter.end()?;
        for run in &self.runs {
            self.draft.dir().remove(run.name())?;
        }
        Ok(written)
    }

    /// All lines in order, repeats left out.
    fn each(&self, mut each: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        if self.runs.is_empty() {
            return self
                .index
                .iter()
                .try_for_each(|line| each(&self.lines[line.start as usize..][..line.length as usize]));
        }
        let mut readers: Vec<RunReader<'_>> = self.runs.iter().map(RunReader::new).collect();
        if self.order == Order::AsGiven {
            for reader in &mut readers {
                while reader.advance()? {
                    each(&reader.line)?;
                }
            }
            return Ok(());
        }
        let mut heap = BinaryHeap::new();
        for (n, reader) in readers.iter_mut().enumerate() {
            if reader.advance()? {
                heap.push(Reverse((reader.key(), n)));
            }
        }
        let mut last: Option<(Vec<u8>, Vec<u8>)> = None;
        while let Some(Reverse((key, n))) = heap.pop() {
            let reader = &mut readers[n];
            if last.as_ref() != Some(&key) {
                each(&reader.line)?;
                last = Some(key);
            }
            if reader.advance()? {
                heap.push(Reverse((reader.key(), n)));
            }
        }
        Ok(())
    }
}

fn skip_line(input: &mut impl BufRead) -> io::Result<u64> {
    let mut skipped = 0;
    loop {
        let buffer = input.fill_buf()?;
        let (used, done) = match memchr::memchr(b'\n', buffer) {
            Some(end) => (end + 1, true),
            None => (buffer.len(), buffer.is_empty()),
        };
        input.consume(used);
        skipped += used as u64;
        if done {
            return Ok(skipped);
        }
    }
}

/// Lines of a scratch file, one after the other.
struct RunReader<'f> {
    file: &'f SpoolFile,
    buffer: Vec<u8>,
    at: usize,
    offset: u64,
    line: Vec<u8>,
}

impl<'f> RunReader<'f> {
    const CHUNK: u64 = 256 * 1024;

    fn new(file: &'f SpoolFile) -> RunReader<'f> {
        RunReader { file, buffer: Vec::new(), at: 0, offset: 0, line: Vec::new() }
    }

    /// Goes to the next line; `false` at the end.
    fn advance(&mut self) -> Result<bool> {
        self.line.clear();
        loop {
            let rest = &self.buffer[self.at..];
            if let Some(end) = memchr::memchr(b'\n', rest) {
                self.line.extend_from_slice(&rest[..=end]);
                self.at += end + 1;
                return Ok(true);
            }
            self.line.extend_from_slice(rest);
            self.buffer = self.file.read_part(self.offset, Self::CHUNK)?;
            self.offset += self.buffer.len() as u64;
            self.at = 0;
            if self.buffer.is_empty() {
                return Ok(!self.line.is_empty());
            }
        }
    }

    /// Domain, then address.
    fn key(&self) -> (Vec<u8>, Vec<u8>) {
        let end = memchr::memchr2(b'\t', b'\n', &self.line).unwrap_or(self.line.len());
        let address = &self.line[..end];
        let at = memchr::memrchr(b'@', address).unwrap_or(0);
        (address[at..].to_vec(), address.to_vec())
    }
}

/// Large writes to a file from its start.
struct Writer<'f> {
    file: &'f SpoolFile,
    buffer: Vec<u8>,
    offset: u64,
}

impl<'f> Writer<'f> {
    const CHUNK: usize = 256 * 1024;

    fn new(file: &'f SpoolFile) -> Writer<'f> {
        Writer { file, buffer: Vec::new(), offset: 0 }
    }

    fn write(&mut self, line: &[u8]) -> Result<()> {
        self.buffer.extend_from_slice(line);
        if self.buffer.len() >= Self::CHUNK { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        self.file.write_at(&self.buffer, self.offset)?;
        self.offset += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

/// Writes packet after packet.
struct Cutter<'d> {
    draft: &'d Draft<'d>,
    mode: &'d Mode,
    cut: Cut,
    total: Option<u64>,
    packets: u32,
    written: u64,
    left_in_packet: u64,
    buffer: Vec<u8>,
}

impl<'d> Cutter<'d> {
    fn new(draft: &'d Draft<'d>, mode: &'d Mode, cut: Cut, total: Option<u64>) -> Cutter<'d> {
        Cutter { draft, mode, cut, total, packets: 0, written: 0, left_in_packet: 0, buffer: Vec::new() }
    }

    fn write(&mut self, line: &[u8]) -> Result<()> {
        if self.left_in_packet == 0 {
            self.end_packet()?;
            self.left_in_packet = match (self.cut, self.total) {
                (Cut::Number(number), Some(total)) => {
                    let (number, n) = (number as u64, u64::from(self.packets));
                    total / number + u64::from(n < total % number)
                }
                (Cut::Size(size), _) | (Cut::Number(size), None) => size as u64,
            };
            self.packets += 1;
        }
        self.buffer.extend_from_slice(line);
        self.left_in_packet -= 1;
        self.written += 1;
        Ok(())
    }

    fn end_packet(&mut self) -> Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let name = PacketName::fresh(self.mode.clone(), Serial::new(self.packets));
        let file = self.draft.create(&FileName::Packet(name))?;
        file.write_at(&self.buffer, 0)?;
        file.sync_data()?;
        self.buffer.clear();
        Ok(())
    }

    fn end(mut self) -> Result<(u64, u32)> {
        self.end_packet()?;
        Ok((self.written, self.packets))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Spool;
    use super::super::disk::Disk;
    use super::*;
    use crate::mail::MessageId;

    fn cut(input: &[u8], order: Order, how: Cut) -> (Vec<String>, Vec<String>, (u64, u32)) {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::create(&Disk::default(), dir.path()).unwrap();
        let id: MessageId = "l@x.1.2".parse().unwrap();
        let draft = Draft::begin(&spool, id).unwrap();
        let mut intake = Intake::new(&draft, order);
        let mut bad = Vec::new();
        intake.read(input, |line| bad.push(line.to_string()), |_| true).unwrap();
        let totals = intake.cut(&Mode::mail(), how).unwrap();
        let mut names: Vec<String> =
            draft.dir().list().unwrap().into_iter().map(|(name, _)| name.into_string().unwrap()).collect();
        names.sort();
        let packets =
            names.iter().map(|name| String::from_utf8(draft.dir().read(name, 1 << 30).unwrap()).unwrap()).collect();
        (packets, bad, totals)
    }

    #[test]
    fn members_of_one_domain_stand_together_and_repeats_are_dropped() {
        let input = b"b@z.org\na@y.org\nb@Z.ORG\nc@y.org\na@y.org\t{\"n\":1}\n";
        let (packets, bad, totals) = cut(input, Order::ByDomain, Cut::Size(2));
        assert_eq!(packets, ["a@y.org\nc@y.org\n", "b@z.org\n"]);
        assert_eq!((bad.len(), totals), (0, (3, 2)));
    }

    #[test]
    fn order_is_kept_on_demand() {
        let (packets, _, _) = cut(b"b@z.org\na@y.org\nb@z.org\nc@y.org", Order::AsGiven, Cut::Number(2));
        assert_eq!(packets, ["b@z.org\na@y.org\n", "c@y.org\n"]);
    }

    #[test]
    fn a_number_of_packets_differ_by_one_recipient_at_most() {
        let input: String = (0..10).map(|n| format!("a{n}@x.org\n")).collect();
        let (packets, _, totals) = cut(input.as_bytes(), Order::ByDomain, Cut::Number(4));
        assert_eq!(packets.iter().map(|packet| packet.lines().count()).collect::<Vec<_>>(), [3, 3, 2, 2]);
        assert_eq!(totals, (10, 4));
    }

    #[test]
    fn bad_lines_are_told_with_number_text_and_reason() {
        let mut input = b"a@x.org\n\nb@x.org\r\nc\0@x.org\n\xff@x.org\nd@x.org\tno json\n".to_vec();
        input.extend(vec![b'x'; 10_000_000]);
        input.extend_from_slice(format!("\n{}@x.org\ne@x.org\n", "l".repeat(300)).as_bytes());
        let (packets, bad, _) = cut(&input, Order::ByDomain, Cut::Size(9));
        assert_eq!(packets, ["a@x.org\ne@x.org\n"]);
        for (told, expected) in bad.iter().zip([
            "line 2 (): empty",
            "line 3 (b@x.org\\r): ends with CR",
            "line 4 (c\\x00@x.org): contains a NUL",
            "line 5 (\\xff@x.org): not UTF-8",
            "line 6 (d@x.org\\tno json): its fields",
            "line 7 (xxxxx",
            "line 8 (lllll",
        ]) {
            assert!(told.starts_with(expected), "{told} / {expected}");
        }
        assert_eq!(bad.len(), 7);
    }

    #[test]
    fn what_does_not_fit_in_memory_is_merged_from_scratch_files() {
        // 60 octets a line: three runs and a rest.
        let many = 3 * BUDGET / 60 + 1000;
        let line = |n: usize| format!("member{:030}@{:06}.example.org\n", n, n % 7);
        let input: String = (0..many).chain(0..1000).rev().map(line).collect();
        assert!(input.len() > 2 * BUDGET);
        let (packets, bad, totals) = cut(input.as_bytes(), Order::ByDomain, Cut::Number(3));
        let mut expected: Vec<String> = (0..many).map(line).collect();
        expected.sort_by(|a, b| (a.split('@').nth(1), a).cmp(&(b.split('@').nth(1), b)));
        assert_eq!((bad.len(), totals), (0, (many as u64, 3)));
        assert!(packets.concat() == expected.concat());
    }
}
