//! Failure reports on their way into the spool: exactly one about each recipient that failed for good.
//!
//! A report is built inside its message's folder, then `reported` says that it covers so many octets of `failures`, then one
//! rename shows it as a message of its own. A crash before the second step builds it again, a crash behind it goes on with
//! the rename: the folder's name says which of the two it is.
//!
//! Only what no crash can undo is reported: recipients that their packet's checkpoint has passed, or whose packet has gone.
//! `failures` is taken in order, so a packet that is still being sent holds up what stands behind its latest lines.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};

use crate::mail::{Epoch, MessageId, Mode, PacketName, Priority, Serial};

use super::Spool;
use super::disk::{Dir, DiskError, Op, Result, SpoolFile, unless_gone};
use super::draft;
use super::failures::{self, Failure};
use super::folder::Folder;
use super::layout::{self, FileName, MessageName};
use super::progress::{Progress, Sync, Unusable};

/// Recipients a report: some 2 MB, which every mailbox takes.
const BATCH: usize = 5_000;

/// `reported` is overwritten in place, at this length.
const SIZE: usize = 128;

/// What has been reported of a message.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Reported {
    /// Reports made so far.
    pub reports: u32,
    /// Of `failures`, that they cover.
    pub octets: u64,
    /// Of the last one, in unix seconds.
    pub time: u64,
}

/// What came of [`make`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Made {
    /// All that can be reported is; so many reports were shown.
    Reports(usize),
    /// Another process is at it.
    Elsewhere,
    /// The message's id leaves no room for a report's.
    NoName,
}

impl Reported {
    /// What `reported` says; nothing if it is not there, or was never written.
    pub fn read(folder: &Dir) -> Result<Reported> {
        let Some(content) = unless_gone(folder.read(layout::REPORTED, 64 * 1024))? else {
            return Ok(Reported::default());
        };
        if content.iter().all(|&b| matches!(b, b'\n' | 0)) {
            return Ok(Reported::default());
        }
        serde_json::from_slice(&content).map_err(|error| {
            let error = std::io::Error::new(std::io::ErrorKind::InvalidData, error);
            DiskError::new(Op::Read, folder.path(), layout::REPORTED.as_ref(), error)
        })
    }

    fn write(&self, folder: &Dir) -> Result<()> {
        let (file, fresh) = match unless_gone(folder.open(layout::REPORTED))? {
            Some(file) => (file, false),
            None => (folder.create(layout::REPORTED)?, true),
        };
        let mut text = serde_json::to_vec(self).expect("numbers are always JSON");
        text.resize(SIZE, b'\n');
        file.write_at(&text, 0)?;
        file.sync_data()?;
        if fresh { folder.sync() } else { Ok(()) }
    }
}

/// Failures that hold and that nobody has been told of, each with the octet of `failures` at which it ends. Those of packets
/// that are still there only as far as their checkpoints have passed them; and none behind one that hasn't.
pub fn unreported(folder: &Folder) -> Result<Vec<(Failure, u64)>> {
    let mut failures = failures::read_behind(folder.dir(), Reported::read(folder.dir())?.octets)?;
    if failures.is_empty() {
        return Ok(failures);
    }
    // After the failures: a retry packet that has any was there before them.
    let packets = folder.contents()?.packets;
    let mut ahead: HashMap<&str, Ahead> = HashMap::new();
    let names: HashMap<String, &PacketName> =
        packets.iter().map(|packet| (layout::packet_file(packet), packet)).collect();
    let mut certain = 0;
    for (failure, _) in &failures {
        if let Some((name, packet)) = names.get_key_value(&failure.packet) {
            if !ahead.contains_key(name.as_str()) {
                ahead.insert(name, Ahead::of(folder, packet)?);
            }
            if ahead[name.as_str()].contains(&failure.recipient) {
                break;
            }
        }
        certain += 1;
    }
    failures.truncate(certain);
    Ok(failures)
}

/// The recipients of a packet that its checkpoint has not passed.
enum Ahead {
    These(HashSet<String>),
    /// It can't be read.
    Everybody,
}

impl Ahead {
    fn of(folder: &Folder, packet: &PacketName) -> Result<Ahead> {
        let Some(file) = unless_gone(folder.dir().open_read(&layout::packet_file(packet)))? else {
            return Ok(Ahead::These(HashSet::new()));
        };
        match Progress::open(folder, packet, &file, Sync::None) {
            Ok(progress) => {
                let packet = progress.packet();
                let ahead = (progress.next()..packet.len()).map(|index| packet.address(index).to_owned());
                Ok(Ahead::These(ahead.collect()))
            }
            Err(Unusable::Bad(_)) => Ok(Ahead::Everybody),
            Err(Unusable::Disk(error)) => Err(error),
        }
    }

    fn contains(&self, recipient: &str) -> bool {
        match self {
            Ahead::These(recipients) => recipients.contains(recipient),
            Ahead::Everybody => true,
        }
    }
}

/// Makes the report of that id about these failures, spool header lines included.
pub type Render<'r> = dyn Fn(&MessageId, &[Failure]) -> Result<Vec<u8>> + 'r;

/// Reports what can be reported of the message in `folder` to `recipient`. `priority` is where the message is.
pub fn make(
    spool: &Spool,
    folder: &Folder,
    priority: Priority,
    recipient: &str,
    now: Epoch,
    render: &Render,
) -> Result<Made> {
    let lock = folder.dir().open_dir(".")?;
    if !lock.try_lock()? {
        return Ok(Made::Elsewhere);
    }
    let mut reported = Reported::read(folder.dir())?;
    let mut shown = 0;
    for number in folder.contents()?.reports {
        if number > reported.reports {
            draft::discard(folder.dir(), &FileName::Report(number).to_string())?;
        } else if let Some(id) = folder.id().report(number) {
            show(spool, folder, priority, number, id)?;
            shown += 1;
        }
    }
    for batch in unreported(folder)?.chunks(BATCH) {
        let number = reported.reports + 1;
        let Some(id) = folder.id().report(number) else { return Ok(Made::NoName) };
        let (failures, ends): (Vec<Failure>, Vec<u64>) = batch.iter().cloned().unzip();
        build(folder, number, &render(&id, &failures)?, recipient)?;
        let octets = ends.last().copied().unwrap_or(reported.octets);
        reported = Reported { reports: number, octets, time: now.0 };
        reported.write(folder.dir())?;
        show(spool, folder, priority, number, id)?;
        shown += 1;
    }
    Ok(Made::Reports(shown))
}

fn build(folder: &Folder, number: u32, report: &[u8], recipient: &str) -> Result<()> {
    let name = FileName::Report(number).to_string();
    folder.dir().make_dir(&name)?;
    let dir = folder.dir().open_dir(&name)?;
    let write = |file: &FileName, content: &[u8]| -> Result<()> {
        let file: SpoolFile = dir.create(&file.to_string())?;
        file.write_at(content, 0)?;
        file.sync_data()
    };
    let packet = PacketName::fresh(Mode::mail(), Serial::new(1));
    write(&FileName::Packet(packet), format!("{recipient}\n").as_bytes())?;
    write(&FileName::Message, report)?;
    dir.sync()?;
    folder.dir().sync()
}

fn show(spool: &Spool, folder: &Folder, priority: Priority, number: u32, id: MessageId) -> Result<()> {
    let place = spool.at(priority);
    let name = FileName::Report(number).to_string();
    let fate = |error: DiskError| error.fate("the report waits in its message's folder");
    folder.dir().rename(&name, place, &MessageName::from(id).to_string()).map_err(fate)?;
    place.sync()?;
    folder.dir().sync()
}
