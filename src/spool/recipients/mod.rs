//! What people type as recipients, line by line, becomes the packets of a draft: checked, without repeats, sorted by
//! domain, cut into files.
//!
//! A line is an address, optionally followed by a TAB and a JSON object of fields. Sorted by domain, the members of one
//! domain share packets, and with them transactions; within a domain they are sorted by local part. Where the order is
//! kept as given, of repeats the first stays.
//!
//! It promises that memory is bounded (about 30 MiB) however many recipients there are, and that nothing but packets is
//! left in the draft. It decides nothing about bad lines: they are told to the [`Observer`] and skipped, and whoever asked
//! doesn't show the draft if it minds them. A crash leaves a draft that is never shown; scratch files have no names, so
//! not even those.

mod as_given;
mod judge;
mod lines;
mod packets;
mod sorter;

use std::io::{self, Read};

use super::disk::DiskError;
use super::draft::Draft;
use crate::mail::Mode;

use as_given::AsGiven;
pub use judge::{BadRecipient, Recipient};
use lines::{Line, Lines};
use packets::{Packets, nothing_queued};
pub use packets::{Split, Written};
use sorter::{Sorted, Sorter};

/// In which order recipients are sent to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    ByDomain,
    AsGiven,
}

/// Why there are no packets. In all these cases nothing of the draft is of use.
#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    #[error(transparent)]
    Disk(#[from] DiskError),
    #[error("{0}")]
    Source(io::Error),
    #[error("stopped; nothing was queued")]
    Stopped,
    #[error("more than 999,999,999 packets of mode {mode}: make them larger; nothing was queued")]
    TooManyPackets { mode: Mode },
    #[error("a packet of mode {mode} of more than 1 GiB: make packets smaller; nothing was queued")]
    PacketTooLarge { mode: Mode },
}

/// A line that is no recipient.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: \"{text}\": {reason}")]
pub struct BadLine {
    /// From 1.
    pub line: u64,
    /// The line's beginning, escaped.
    pub text: String,
    pub reason: BadRecipient,
}

impl BadLine {
    fn new(line: &Line<'_>, reason: BadRecipient) -> BadLine {
        const SHOWN: usize = 60;
        let content = line.content;
        let more = if content.len() > SHOWN { "…" } else { "" };
        let text = format!("{}{more}", content[..content.len().min(SHOWN)].escape_ascii());
        BadLine { line: line.number, text, reason }
    }
}

/// How far the work is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// Of the source at hand.
    Read {
        octets: u64,
        lines: u64,
    },
    Written {
        recipients: u64,
        packets: u32,
    },
}

/// Is told what goes on, and may put an end to it.
pub trait Observer {
    fn bad_line(&mut self, line: BadLine);
    /// Called every few thousand lines. `false`: stop.
    fn goes_on(&mut self, progress: Progress) -> bool;
}

/// Recipients between two looks at the observer: some milliseconds.
const STEP: u64 = 8192;

/// The recipients of one reception mode, being taken in.
pub struct Intake<'d> {
    draft: &'d Draft<'d>,
    mode: &'d Mode,
    sorter: Sorter<'d>,
    given: Option<AsGiven>,
    taken: u64,
}

impl<'d> Intake<'d> {
    pub fn new(draft: &'d Draft<'d>, mode: &'d Mode, order: Order) -> Result<Intake<'d>, IntakeError> {
        let given = match order {
            Order::ByDomain => None,
            Order::AsGiven => Some(AsGiven::begin(draft.dir()).map_err(nothing_queued)?),
        };
        Ok(Intake { draft, mode, sorter: Sorter::new(draft.dir()), given, taken: 0 })
    }

    /// Takes all lines of `source`. May be called again for a further source.
    pub fn read(&mut self, source: impl Read, observer: &mut dyn Observer) -> Result<(), IntakeError> {
        let mut lines = Lines::new(source);
        let mut count = 0;
        loop {
            let octets = lines.read();
            if count % STEP == 0 && !observer.goes_on(Progress::Read { octets, lines: count }) {
                return Err(IntakeError::Stopped);
            }
            let Some(line) = lines.next().map_err(IntakeError::Source)? else { break };
            count = line.number;
            match judge::judge(&line) {
                Ok(recipient) => self.take(&recipient).map_err(nothing_queued)?,
                Err(reason) => observer.bad_line(BadLine::new(&line, reason)),
            }
        }
        observer.goes_on(Progress::Read { octets: lines.read(), lines: count });
        Ok(())
    }

    fn take(&mut self, recipient: &Recipient<'_>) -> Result<(), DiskError> {
        match &mut self.given {
            None => self.sorter.push(recipient, recipient.rest)?,
            Some(given) => {
                let number = given.push(recipient)?;
                self.sorter.push(recipient, &number)?;
            }
        }
        self.taken += 1;
        Ok(())
    }

    /// Valid lines so far, repeats included.
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// Writes the packets, synced.
    pub fn write(self, split: Split, observer: &mut dyn Observer) -> Result<Written, IntakeError> {
        let sorted = self.sorter.finish().map_err(nothing_queued)?;
        match self.given {
            None => write_sorted(self.draft, self.mode, sorted, split, observer),
            Some(given) => given.write(self.draft, self.mode, sorted, split, observer),
        }
    }
}

fn write_sorted(
    draft: &Draft<'_>,
    mode: &Mode,
    mut sorted: Sorted,
    split: Split,
    observer: &mut dyn Observer,
) -> Result<Written, IntakeError> {
    let mut total = 0;
    if let Split::Packets(_) = split {
        // Merging twice costs less than writing all of it once more.
        while let Some((_, repeat)) = sorted.next().map_err(nothing_queued)? {
            total += u64::from(!repeat);
        }
        sorted = sorted.rewind().map_err(nothing_queued)?;
    }
    let mut packets = Packets::new(draft, mode, split, total);
    while let Some((record, repeat)) = sorted.next().map_err(nothing_queued)? {
        if repeat {
            continue;
        }
        packets.push(|line| {
            record.append_address(line);
            line.extend_from_slice(record.rest);
        })?;
        tell(&packets, observer)?;
    }
    packets.finish()
}

fn tell(packets: &Packets<'_>, observer: &mut dyn Observer) -> Result<(), IntakeError> {
    let Written { recipients, packets } = packets.written();
    if recipients.is_multiple_of(STEP) && !observer.goes_on(Progress::Written { recipients, packets }) {
        return Err(IntakeError::Stopped);
    }
    Ok(())
}
