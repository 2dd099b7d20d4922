//! One message's folder, held open.
//!
//! The descriptor stays good while operators rename the folder, so a worker reads and writes through it and asks at each
//! boundary, with one look, whether the folder is still where it thinks it is.
//!
//! A folder is finished when no packet is left in it; [`Folder::remove`] then takes it away in an order in which a crash
//! after any step leaves a finished or an empty folder, and never a packet without its message.

use std::ffi::OsString;
use std::thread;
use std::time::Duration;

use crate::mail::{Epoch, MessageId, Mode, PacketName, Priority};

use super::disk::{Dir, DiskError, Identity, Kind, Result, SpoolFile, unless_gone};
use super::layout::{self, FileName, MessageName};
use super::note::Note;
use super::{Spool, reports, set_aside};

/// A message is read into memory; relays take 10 to 50 MiB, so this is no limit one meets.
pub const MAX_MESSAGE: u64 = 256 * 1024 * 1024;

/// See [`Folder::remove_empty`].
const SERVERS_PAUSE: Duration = Duration::from_millis(20);

/// Entries that surely come in one call of a listing.
const ONE_CALL: usize = 5;

/// See the module.
pub struct Folder {
    dir: Dir,
    name: MessageName,
    identity: Identity,
}

/// What lies in a folder, by name alone.
#[derive(Default, Debug)]
pub struct Contents {
    pub message: bool,
    pub variants: Vec<Mode>,
    /// In the order in which they are sent.
    pub packets: Vec<PacketName>,
    pub statuses: Vec<PacketName>,
    pub failures: bool,
    /// Reports that are not shown yet.
    pub reports: Vec<u32>,
    pub held: bool,
    pub reason: bool,
    /// What the grammar doesn't know, or what is no regular file, and why.
    pub strange: Vec<(OsString, String)>,
}

/// What became of [`Folder::remove`].
#[derive(Debug, PartialEq, Eq)]
pub enum Removal {
    Removed,
    /// A packet is left: somebody works on it, or it waits.
    NotFinished,
    /// Its sender is to be told of failures first.
    Unreported,
    /// Went to `bad/` for the reason given: something in it has not been reported to anybody.
    SetAside(String),
}

impl std::fmt::Debug for Folder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.dir.path().display())
    }
}

impl Folder {
    /// Opens the folder; `None` if it is not there (any more).
    pub fn open(spool: &Spool, priority: Priority, name: &MessageName) -> Result<Option<Folder>> {
        let Some(dir) = unless_gone(spool.at(priority).open_dir(&name.to_string()))? else { return Ok(None) };
        Folder::of(dir, name).map(Some)
    }

    /// A message's folder that is open already, wherever it is.
    pub(super) fn of(dir: Dir, name: &MessageName) -> Result<Folder> {
        let identity = dir.look_self()?.identity;
        Ok(Folder { dir, name: name.clone(), identity })
    }

    pub fn name(&self) -> &MessageName {
        &self.name
    }

    pub fn id(&self) -> &MessageId {
        &self.name.id
    }

    pub fn dir(&self) -> &Dir {
        &self.dir
    }

    /// Whether this very folder is still at `priority` under its name: the truth that a worker looks at when it is at a
    /// boundary. One system call.
    pub fn is_at(&self, spool: &Spool, priority: Priority) -> Result<bool> {
        let found = spool.at(priority).look(&self.name.to_string())?;
        Ok(found.is_some_and(|look| look.identity == self.identity))
    }

    /// Whether this very file is still in the folder under its name.
    pub fn is_linked(&self, file: &SpoolFile) -> Result<bool> {
        let there = self.dir.look(file.name())?;
        Ok(there.is_some_and(|look| Ok(look.identity) == file.look().map(|own| own.identity).map_err(drop)))
    }

    /// Where this very folder is now, if it is anywhere below `distribute/`.
    pub fn whereabouts(&self, spool: &Spool) -> Result<Option<(Priority, MessageName)>> {
        let Some((priority, name)) = spool.locate(self.id())? else { return Ok(None) };
        let same = spool.at(priority).look(&name.to_string())?.is_some_and(|look| look.identity == self.identity);
        Ok(same.then_some((priority, name)))
    }

    pub fn contents(&self) -> Result<Contents> {
        let mut contents = Contents::default();
        for (name, kind) in self.dir.list()? {
            let file = match layout::parse::<FileName>(&name) {
                Ok(FileName::Report(number)) if kind == Kind::Directory => {
                    contents.reports.push(number);
                    continue;
                }
                Ok(file) if kind == Kind::File => file,
                Ok(_) => {
                    contents.strange.push((name, "not a regular file".into()));
                    continue;
                }
                Err(error) => {
                    contents.strange.push((name, error.reason));
                    continue;
                }
            };
            match file {
                FileName::Message => contents.message = true,
                FileName::Variant(mode) => contents.variants.push(mode),
                FileName::Packet(packet) => contents.packets.push(packet),
                FileName::Status(packet) => contents.statuses.push(packet),
                FileName::Failures => contents.failures = true,
                FileName::Reported => {}
                FileName::Report(_) => contents.strange.push((name, "not a folder".into())),
                FileName::Held => contents.held = true,
                FileName::Reason => contents.reason = true,
            }
        }
        contents.packets.sort_unstable();
        contents.reports.sort_unstable();
        Ok(contents)
    }

    /// The message file's bytes, spool header lines included.
    pub fn read_message(&self) -> Result<Vec<u8>> {
        self.dir.read(layout::MESSAGE, MAX_MESSAGE)
    }

    /// Puts another message file in the place of the one that is there. A crash leaves the one or the other.
    pub fn replace_message(&self, spool: &Spool, content: &[u8]) -> Result<()> {
        let draft = format!(".{}.message", self.id());
        unless_gone(spool.incoming.remove(&draft))?;
        let file = spool.incoming.create(&draft)?;
        file.write_at(content, 0)?;
        file.belong_to_owner_of(&self.dir)?;
        file.sync_data()?;
        spool.incoming.replace_in(&draft, &self.dir, layout::MESSAGE)?;
        self.dir.sync()
    }

    /// What packets of `mode` get instead; `None` if there is no such file.
    pub fn read_variant(&self, mode: &Mode) -> Result<Option<Vec<u8>>> {
        unless_gone(self.dir.read(&FileName::Variant(mode.clone()).to_string(), MAX_MESSAGE))
    }

    /// Takes a finished message away. `priority` is where it was last seen. `may_report`: failures that nobody has been told
    /// of can be reported, and else are set aside with the message.
    ///
    /// Several processes may do this to one message at a time: what has gone already is fine. A power loss brings back a
    /// finished folder at worst.
    pub fn remove(&self, spool: &Spool, priority: Priority, now: Epoch, may_report: bool) -> Result<Removal> {
        let contents = match self.contents() {
            Err(error) if error.is_gone() => return Ok(Removal::Removed),
            contents => contents?,
        };
        if !contents.packets.is_empty() {
            return Ok(Removal::NotFinished);
        }
        // A listing takes more than one call where there is much: a retry packet that another process made before it removed
        // the packet it came from may be in neither part of it.
        if contents.statuses.len() > ONE_CALL && !self.contents()?.packets.is_empty() {
            return Ok(Removal::NotFinished);
        }
        let mut because = Vec::new();
        let unreported = match contents.failures.then(|| reports::unreported(self)).transpose() {
            Err(error) if error.source.kind() == std::io::ErrorKind::InvalidData => {
                because.push(error.to_string());
                0
            }
            failures => failures?.map_or(0, |failures| failures.len()),
        };
        if may_report && because.is_empty() && (unreported > 0 || !contents.reports.is_empty()) {
            return Ok(Removal::Unreported);
        }
        if !contents.reports.is_empty() {
            because.push("a report lies in it that can be sent to nobody".to_owned());
        }
        if unreported > 0 {
            because.push(format!("recipients that failed for good: {unreported}, see the file failures"));
        }
        if let Some((name, why)) = contents.strange.first() {
            because.push(format!("{} is no file of a message: {why}", name.display()));
        }
        if !because.is_empty() {
            let why = format!("all packets were distributed; {}", because.join("; "));
            return match self.set_aside(spool, priority, now, &why)? {
                true => Ok(Removal::SetAside(why)),
                false => Ok(Removal::Removed),
            };
        }
        if !contents.statuses.is_empty() {
            // A packet that a power loss brings back must find its checkpoint.
            self.dir.sync()?;
        }
        let statuses = contents.statuses.into_iter().map(FileName::Status);
        let variants = contents.variants.into_iter().map(FileName::Variant);
        for file in statuses.chain(variants) {
            unless_gone(self.dir.remove(&file.to_string()))?;
        }
        if contents.failures {
            // Without what says that they were reported, they would be reported again.
            unless_gone(self.dir.remove(layout::FAILURES))?;
            self.dir.sync()?;
        }
        // The message last: as long as it is there, the folder is a finished one and not a damaged one.
        for file in [layout::REPORTED, layout::HELD, layout::REASON, layout::MESSAGE] {
            unless_gone(self.dir.remove(file))?;
        }
        self.remove_empty(spool, priority)?;
        Ok(Removal::Removed)
    }

    /// Takes away a folder without a file in it: what a removal that was cut short leaves.
    pub fn remove_empty(&self, spool: &Spool, priority: Priority) -> Result<()> {
        let mut priority = priority;
        // An operator may move the folder while we empty it. Each turn of this loop needs one more requeue, or some time in
        // which a file server is told that nobody has the last file open any more; else, the next scan finds it empty.
        for _ in 0..10 {
            match spool.at(priority).remove_dir(&self.name.to_string()) {
                Err(error)
                    if is_not_empty(&error) && unless_gone(self.dir.list())?.is_none_or(|left| left.is_empty()) =>
                {
                    thread::sleep(SERVERS_PAUSE);
                }
                Err(error) if error.is_gone() => match self.whereabouts(spool)? {
                    Some((elsewhere, _)) => priority = elsewhere,
                    None => return Ok(()),
                },
                result => return result,
            }
        }
        Ok(())
    }

    /// Sets the whole message aside. `false`: it is not below `distribute/` any more.
    pub fn set_aside(&self, spool: &Spool, priority: Priority, now: Epoch, why: &str) -> Result<bool> {
        let mut place = Some((priority, self.name.clone()));
        while let Some((priority, name)) = place {
            let note = Note::new(now, set_aside::PROGRAM, why, priority);
            if set_aside::message(spool, priority, &name, &note)?.is_some() {
                return Ok(true);
            }
            place = self.whereabouts(spool)?;
        }
        Ok(false)
    }
}

fn is_not_empty(error: &DiskError) -> bool {
    error.source.kind() == std::io::ErrorKind::DirectoryNotEmpty
}
