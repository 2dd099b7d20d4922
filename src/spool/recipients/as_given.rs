//! Recipients in the order in which they were given, without repeats.
//!
//! A set of a million addresses would take more memory than all else together. So the lines go to a scratch file as they
//! are; sorting their numbers by address finds the repeats, which are one bit a line; then the file is read once more,
//! without them.

use super::packets::{Packets, nothing_queued};
use super::sorter::{Sorted, scratch_file};
use super::{IntakeError, Observer, Recipient, Split, Written, tell};
use crate::mail::Mode;
use crate::spool::disk::{Dir, Result, SpoolFile};
use crate::spool::draft::Draft;
use crate::spool::recipients::lines::Lines;

const PIECE: usize = 128 * 1024;

/// A line's number, as the sorter keeps it.
pub type Number = [u8; 8];

/// See the module.
pub struct AsGiven {
    lines: SpoolFile,
    buffer: Vec<u8>,
    written: u64,
    count: u64,
}

impl AsGiven {
    pub fn begin(scratch: &Dir) -> Result<AsGiven> {
        Ok(AsGiven { lines: scratch_file(scratch, "scratch.given")?, buffer: Vec::new(), written: 0, count: 0 })
    }

    pub fn push(&mut self, recipient: &Recipient<'_>) -> Result<Number> {
        self.buffer.extend_from_slice(recipient.local);
        self.buffer.extend(recipient.domain.iter().map(u8::to_ascii_lowercase));
        self.buffer.extend_from_slice(recipient.rest);
        self.buffer.push(b'\n');
        if self.buffer.len() >= PIECE {
            self.flush()?;
        }
        self.count += 1;
        Ok((self.count - 1).to_ne_bytes())
    }

    fn flush(&mut self) -> Result<()> {
        self.lines.write_at(&self.buffer, self.written)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// `sorted` holds the numbers that [`Self::push`] gave.
    pub fn write(
        mut self,
        draft: &Draft<'_>,
        mode: &Mode,
        sorted: Sorted,
        split: Split,
        observer: &mut dyn Observer,
    ) -> std::result::Result<Written, IntakeError> {
        self.flush().map_err(nothing_queued)?;
        let repeats = Repeats::find(sorted, self.count).map_err(nothing_queued)?;
        let mut packets = Packets::new(draft, mode, split, self.count - repeats.count);
        let mut lines = Lines::new(From(&self.lines, 0));
        let mut number = 0;
        while let Some(line) = lines.next().map_err(IntakeError::Source)? {
            if !repeats.has(number) {
                packets.push(|to| to.extend_from_slice(line.content))?;
                tell(&packets, observer)?;
            }
            number += 1;
        }
        packets.finish()
    }
}

/// Which lines are repeats of earlier ones: a bit each.
struct Repeats {
    bits: Vec<u64>,
    count: u64,
}

impl Repeats {
    fn find(mut sorted: Sorted, lines: u64) -> Result<Repeats> {
        let mut repeats = Repeats { bits: vec![0; lines.div_ceil(64) as usize], count: 0 };
        while let Some((record, repeat)) = sorted.next()? {
            if repeat {
                let number = u64::from_ne_bytes(record.rest.try_into().expect("numbers have eight octets"));
                repeats.bits[(number / 64) as usize] |= 1 << (number % 64);
                repeats.count += 1;
            }
        }
        Ok(repeats)
    }

    fn has(&self, number: u64) -> bool {
        self.bits[(number / 64) as usize] & 1 << (number % 64) != 0
    }
}

/// Reads a scratch file from an offset on.
struct From<'f>(&'f SpoolFile, u64);

impl std::io::Read for From<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.0.read_at(buffer, self.1).map_err(|error| std::io::Error::other(nothing_queued(error)))?;
        self.1 += n as u64;
        Ok(n)
    }
}
