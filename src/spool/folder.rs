//! One message's folder, held open.
//!
//! The descriptor stays good while operators rename the folder, so a worker reads and writes through it and asks at each
//! boundary, with one look, whether the folder is still where it thinks it is.

use std::ffi::OsString;

use crate::mail::{MessageId, Mode, PacketName, Priority};

use super::Spool;
use super::disk::{Dir, Identity, Kind, Result, SpoolFile, unless_gone};
use super::layout::{self, FileName, MessageName};

/// A message is read into memory; relays take 10 to 50 MiB, so this is no limit one meets.
pub const MAX_MESSAGE: u64 = 256 * 1024 * 1024;

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
}
