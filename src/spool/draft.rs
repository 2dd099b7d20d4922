//! A message being written: under `incoming/`, where no scheduler looks, then shown by one rename.
//!
//! Promises I1: when its name becomes visible below `distribute/`, every file of it and the folder are on disk. A crash
//! before the rename leaves a folder under `incoming/` that nobody sends; it is cleared after a day (the writer holds a
//! lock on it while it lives, so a slow one is not mistaken for a dead one). A crash behind the rename leaves a
//! complete message.

use crate::mail::{Epoch, MessageId, Priority};

use super::disk::{Dir, DirLock, Kind, Result, SpoolFile, unless_gone};
use super::layout::{FileName, MessageName};
use super::note::Note;
use super::{Spool, layout};

/// See the module. Dropped before [`Draft::show`], it takes what it wrote away again.
pub struct Draft<'a> {
    spool: &'a Spool,
    id: MessageId,
    dir: Dir,
    shown: bool,
    _alive: DirLock,
}

impl<'a> Draft<'a> {
    /// Starts a message. `id` must not be in use anywhere in the spool.
    pub fn begin(spool: &'a Spool, id: MessageId) -> Result<Draft<'a>> {
        const FATE: &str = "nothing was queued";
        let in_use = |place: &str| {
            super::disk::DiskError::new(
                super::disk::Op::Create,
                std::path::Path::new(place),
                std::ffi::OsStr::new(id.as_str()),
                std::io::Error::new(std::io::ErrorKind::AlreadyExists, "a message of that id exists"),
            )
            .fate(FATE)
        };
        if let Some((priority, _)) = spool.locate(&id)? {
            return Err(in_use(&format!("{}/{priority}", layout::DISTRIBUTE)));
        }
        if spool.bad.look(id.as_str())?.is_some() {
            return Err(in_use(layout::BAD));
        }
        spool.incoming.make_dir(id.as_str()).map_err(|error| error.fate(FATE))?;
        let dir = spool.incoming.open_dir(id.as_str())?;
        let alive = dir.lock()?;
        Ok(Draft { spool, id, dir, shown: false, _alive: alive })
    }

    pub fn id(&self) -> &MessageId {
        &self.id
    }

    /// Creates one of the message's files. The caller writes it and calls `sync_data` on it.
    pub fn create(&self, name: &FileName) -> Result<SpoolFile> {
        self.dir.create(&name.to_string())
    }

    /// Says why the message is held from the start.
    pub fn note_held(&self, note: &Note) -> Result<()> {
        note.write(&self.dir, layout::HELD)
    }

    /// Where scratch files of the writer may lie; it removes them itself before [`Draft::show`].
    pub fn dir(&self) -> &Dir {
        &self.dir
    }

    /// Makes the message visible. All its files have been synced.
    pub fn show(mut self, priority: Priority, not_before: Option<Epoch>) -> Result<MessageName> {
        const FATE: &str = "nothing was queued";
        let name = MessageName::new(self.id.clone(), not_before);
        self.dir.sync().map_err(|error| error.fate(FATE))?;
        let place = self.spool.at(priority);
        self.spool.incoming.rename(self.id.as_str(), place, &name.to_string()).map_err(|error| error.fate(FATE))?;
        self.shown = true;
        place.sync().map_err(|error| error.fate("the message is queued, but a power loss now may lose it"))?;
        Ok(name)
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        if !self.shown {
            // Best effort: what can't be removed now is cleared after a day.
            let _ = discard(&self.spool.incoming, self.id.as_str());
        }
    }
}

/// Removes a folder with all that is in it. What has gone already is fine.
pub(super) fn discard(parent: &Dir, name: &str) -> Result<()> {
    let Some(dir) = unless_gone(parent.open_dir(name))? else { return Ok(()) };
    for (entry, kind) in dir.list()? {
        match (entry.to_str(), kind) {
            (Some(entry), Kind::Directory) => discard(&dir, entry)?,
            (Some(entry), _) => drop(unless_gone(dir.remove(entry))?),
            (None, _) => {}
        }
    }
    unless_gone(parent.remove_dir(name))?;
    Ok(())
}
