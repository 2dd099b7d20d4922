//! One packet being sent: its recipients, how far it is, and what became of those that were not taken.
//!
//! Whoever calls this has the packet's claim. After each transaction, in this order, each step on disk before the next:
//!
//! 1. deferred recipients into a retry packet ([`Progress::defer`]), failed ones into `failures` ([`Progress::fail`]);
//! 2. the checkpoint past them ([`Progress::advance`]); behind the last recipient the packet goes as well
//!    ([`Progress::finish`]).
//!
//! A crash between 1 and 2 leaves recipients both in the retry packet and ahead of the checkpoint. They are taken off
//! the retry packet before either packet is worked on again ([`cut_unpassed`]), which is why a retry packet is started
//! under its parent's claim. A crash after 2 leaves nothing to mend.
//!
//! A packet without a status file that is finished in its first transaction never gets one: its removal says it all.

use std::sync::Arc;

use crate::mail::{Epoch, Packet, PacketName, checkpoint};

use super::deferral::Deferral;
use super::disk::{DiskError, Result, SpoolFile, unless_gone};
use super::failures::{self, Failure};
use super::folder::Folder;
use super::layout::{FileName, packet_file};

/// A packet of a million recipients has 40 MB or so.
pub const MAX_PACKET: u64 = 1024 * 1024 * 1024;
/// A status file has 256 octets; a producer's may be of another length.
const MAX_STATUS: u64 = 64 * 1024;

/// See the module.
pub struct Progress {
    name: PacketName,
    packet: Arc<Packet>,
    /// Index of the first recipient without an outcome. Only rises (I3).
    next: usize,
    /// Recipients from `next` on of a transaction whose end nobody has recorded.
    in_flight: usize,
    status: Option<SpoolFile>,
    /// It was created, and the folder has not been synced since.
    status_is_new: bool,
    /// Something is in the status file: somebody has worked on this packet.
    begun: bool,
    retry: Option<RetryFile>,
    sync: Sync,
}

/// How durable a checkpoint is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sync {
    /// On disk before the next transaction: survives a power loss.
    Data,
    /// In the kernel: survives the death of this process, not the machine's.
    None,
}

/// The retry packet that takes this packet's deferred recipients.
struct RetryFile {
    file: SpoolFile,
    length: u64,
}

/// Why a packet can't be worked on.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// It can't be read. To be set aside: guessing where it was would skip members or send to them twice.
    #[error("{0}")]
    Bad(String),
}

impl Progress {
    /// Reads the packet (through the claimed `file`) and its checkpoint.
    pub fn open(
        folder: &Folder,
        name: &PacketName,
        file: &SpoolFile,
        sync: Sync,
    ) -> std::result::Result<Progress, Unusable> {
        let file_name = FileName::Packet(name.clone());
        let bytes = match file.read_all(MAX_PACKET) {
            Err(error) if error.is_too_large() => return Err(Unusable::Bad(error.to_string())),
            bytes => bytes?,
        };
        let packet = Packet::parse(bytes).map_err(|bad| Unusable::Bad(format!("{file_name}: {bad}")))?;
        let packet = Arc::new(packet);
        let status_name = FileName::Status(name.clone());
        let status = match unless_gone(folder.dir().open(&status_name.to_string())) {
            Err(error) if error.is_wrong_kind() => return Err(Unusable::Bad(error.to_string())),
            status => status?,
        };
        let (next, in_flight, begun) = match &status {
            None => (0, 0, false),
            Some(status) => {
                let content = status.read_all(MAX_STATUS)?;
                let bad = |why: String| Unusable::Bad(format!("{status_name}: {why}"));
                let next = match checkpoint::decode(&content).map_err(|error| bad(error.to_string()))? {
                    None => 0,
                    Some(last) => {
                        1 + packet
                            .position(last)
                            .ok_or_else(|| bad(format!("names {last}, which is not in {file_name}")))?
                    }
                };
                (next, checkpoint::in_flight(&content).min(packet.len() - next), !content.is_empty())
            }
        };
        Ok(Progress {
            name: name.clone(),
            packet,
            next,
            in_flight,
            status,
            status_is_new: false,
            begun,
            retry: None,
            sync,
        })
    }

    pub fn name(&self) -> &PacketName {
        &self.name
    }

    pub fn packet(&self) -> &Packet {
        &self.packet
    }

    /// The same, for whoever reads addresses while the progress changes.
    pub fn packet_shared(&self) -> Arc<Packet> {
        self.packet.clone()
    }

    /// Index of the first recipient without an outcome.
    pub fn next(&self) -> usize {
        self.next
    }

    pub fn remaining(&self) -> usize {
        self.packet.len() - self.next
    }

    /// How many recipients, from the next one on, were in a transaction when the packet's last worker died.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Says that the next `count` recipients are going to be in flight. Not synced: this is for the death of the process,
    /// and a machine that loses its power repeats them.
    pub fn intend(&mut self, folder: &Folder, count: usize) -> Result<()> {
        let last = self.next.checked_sub(1).map(|last| self.packet.address(last));
        let Some(record) = checkpoint::encode_in_flight(last, count) else { return Ok(()) };
        self.status_file(folder)?.write_at(&record, 0)?;
        (self.in_flight, self.begun) = (count, true);
        Ok(())
    }

    /// The recipients that were intended did not get the message.
    pub fn take_back_intent(&mut self) -> Result<()> {
        if self.in_flight == 0 {
            return Ok(());
        }
        let record = match self.next.checked_sub(1) {
            None => [b'\n'; checkpoint::SIZE],
            Some(last) => checkpoint::encode(self.packet.address(last)),
        };
        self.status.as_ref().expect("an intent stands in it").write_at(&record, 0)?;
        self.in_flight = 0;
        Ok(())
    }

    /// Whether `recipient` stands in this packet and has no outcome yet.
    pub fn is_ahead(&self, recipient: &str) -> bool {
        (self.next..self.packet.len()).any(|index| self.packet.address(index) == recipient)
    }

    /// Whether deferred recipients have a retry packet to go to; if not, [`Progress::begin_retry`] makes one.
    pub fn has_retry(&self) -> bool {
        self.retry.is_some()
    }

    /// Creates the retry packet for this packet's deferred recipients, due at `due` or, if that name is taken, as soon
    /// after as one is free. The caller claims it before anything is written to it, and keeps the claim as long as this
    /// `Progress`.
    pub fn begin_retry(&mut self, folder: &Folder, due: Epoch) -> Result<PacketName> {
        self.begin_status(folder)?;
        let mut due = due;
        loop {
            let name = self.name.retry_at(due);
            if folder.dir().look(&FileName::Status(name.clone()).to_string())?.is_some() {
                // Of one that is finished.
                due = due.plus(1);
                continue;
            }
            match folder.dir().create(&packet_file(&name)) {
                Err(error) if error.is_exists() => due = due.plus(1),
                Err(error) => return Err(error),
                Ok(file) => {
                    // Now, not with the first line: the checkpoint that relies on this file syncs no folder.
                    if self.sync == Sync::Data {
                        folder.dir().sync()?;
                    }
                    self.retry = Some(RetryFile { file, length: 0 });
                    return Ok(name);
                }
            }
        }
    }

    /// Puts recipients, by index, into the retry packet, each with what the relay said.
    pub fn defer(&mut self, recipients: &[(usize, Deferral)]) -> Result<()> {
        let retry = self.retry.as_mut().expect("begin_retry comes first");
        let mut lines = Vec::new();
        for (index, deferral) in recipients {
            assert!(*index >= self.next, "a recipient behind the checkpoint has an outcome");
            deferral.write_line(self.packet.line(*index), &mut lines);
        }
        retry.file.write_at(&lines, retry.length)?;
        if self.sync == Sync::Data {
            retry.file.sync_data()?;
        }
        retry.length += lines.len() as u64;
        Ok(())
    }

    /// Records recipients that failed for good.
    pub fn fail(&mut self, folder: &Folder, failed: &[Failure]) -> Result<()> {
        self.begin_status(folder)?;
        failures::append(folder.dir(), failed)
    }

    /// Takes back failures that a crash left ahead of the checkpoint: those recipients are sent to again.
    pub fn retract_failures(&self, folder: &Folder, latest: &[String], now: Epoch) -> Result<()> {
        let ahead: Vec<String> = latest.iter().filter(|recipient| self.is_ahead(recipient)).cloned().collect();
        if ahead.is_empty() {
            return Ok(());
        }
        failures::retract(folder.dir(), &self.name, &ahead, now)
    }

    /// Moves the checkpoint past the recipients before index `to`, all of which have a durable outcome. What comes behind
    /// the last recipient is [`Progress::finish`]'s.
    pub fn advance(&mut self, folder: &Folder, to: usize) -> Result<()> {
        assert!(self.next <= to && to <= self.packet.len(), "a checkpoint only advances");
        // An intent must not outlive its transaction.
        if to > self.next && (to < self.packet.len() || self.in_flight > 0) {
            self.write_checkpoint(folder, to)?;
        }
        self.next = to;
        Ok(())
    }

    fn write_checkpoint(&mut self, folder: &Folder, to: usize) -> Result<()> {
        let record = checkpoint::encode(self.packet.address(to - 1));
        let sync = self.sync;
        let status = self.status_file(folder)?;
        status.write_at(&record, 0)?;
        if sync == Sync::Data {
            status.sync_data()?;
        }
        (self.in_flight, self.begun) = (0, true);
        Ok(())
    }

    /// The status file, created where the producer brought none.
    fn status_file(&mut self, folder: &Folder) -> Result<&SpoolFile> {
        if self.status.is_none() {
            // Never one that is there: it is of somebody who has taken the packet over.
            self.status = Some(folder.dir().create(&FileName::Status(self.name.clone()).to_string())?);
            self.status_is_new = true;
        }
        if self.status_is_new {
            if self.sync == Sync::Data {
                folder.dir().sync()?;
            }
            self.status_is_new = false;
        }
        Ok(self.status.as_ref().expect("created above"))
    }

    /// Sees to it that something is in the status file. It is before anything else is written about the packet's
    /// recipients: one that nobody has begun has neither retry packets nor failures that would have to be looked for.
    fn begin_status(&mut self, folder: &Folder) -> Result<()> {
        if !self.begun {
            let sync = self.sync;
            let status = self.status_file(folder)?;
            status.write_at(&[b'\n'; checkpoint::SIZE], 0)?;
            if sync == Sync::Data {
                status.sync_data()?;
            }
            self.begun = true;
        }
        Ok(())
    }

    /// Whether somebody has worked on this packet before: only then can a crash have left anything to mend.
    pub fn was_begun(&self) -> bool {
        self.begun
    }

    /// Takes the packet away: all its recipients have a durable outcome. Its checkpoint stays until the message ends (I8):
    /// should a power loss bring the packet back, it says that nobody is left. Without one, the removal itself is synced.
    pub fn finish(&mut self, folder: &Folder) -> Result<()> {
        if self.status.is_some() && !self.packet.is_empty() {
            self.write_checkpoint(folder, self.packet.len())?;
        }
        unless_gone(folder.dir().remove(&packet_file(&self.name)))?;
        if self.status.is_none() && self.sync == Sync::Data {
            folder.dir().sync()?;
        }
        Ok(())
    }
}

/// Takes off the retry packet `child` what its parent's checkpoint has not passed, and a last line that was cut short.
/// What is left may be nothing. The caller has both claims, and nobody has begun to send `child`.
///
/// Recipients are appended in the order in which they are sent, so it is the end of the file that goes: a cut in place
/// needs no second file.
pub fn cut_unpassed(parent: &Progress, child: &SpoolFile) -> Result<()> {
    let content = child.read_all(MAX_PACKET)?;
    let mut keep = content.len();
    while keep > 0 {
        let start = memchr::memrchr(b'\n', &content[..keep - 1]).map_or(0, |newline| newline + 1);
        let line = &content[start..keep];
        let whole = line.last() == Some(&b'\n');
        let address = line.split(|&b| b == b'\t' || b == b'\n').next().unwrap_or(line);
        let passed = std::str::from_utf8(address).is_ok_and(|address| !parent.is_ahead(address));
        // NULs are what a power loss leaves of an append whose length came to disk before its content.
        if whole && passed && !line.contains(&0) {
            break;
        }
        keep = start;
    }
    if keep < content.len() {
        child.set_len(keep as u64)?;
        child.sync_data()?;
    }
    Ok(())
}
