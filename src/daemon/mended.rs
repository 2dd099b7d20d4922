//! Putting back what was set aside: the checks of all who do so.
//!
//! What would only be set aside again stays in `bad/`, and whoever asked is told what has to be mended.

use crate::mail::{Epoch, Priority};
use crate::render::{head, mode};
use crate::spool::bad::{self, EntryName};
use crate::spool::check::Knowledge;
use crate::spool::folder::Folder;
use crate::spool::layout::REASON;
use crate::spool::note::Note;
use crate::spool::{Result, Spool};

pub const KNOWLEDGE: Knowledge = Knowledge {
    bad_head: |message| head::split(message).err().map(|error| error.to_string()),
    is_built_in: mode::is_built_in,
};

/// What nothing keeps from being put back.
pub struct Mended<'e> {
    entry: &'e EntryName,
    folder: Folder,
    /// Where it would go.
    pub to: Priority,
}

/// Why an entry is not put back.
#[derive(Debug, PartialEq, Eq)]
pub enum Stays {
    /// It is not in `bad/`.
    Gone,
    /// It has to be mended.
    Broken(Vec<String>),
}

/// Looks at an entry that is to go to `to`, else to where it was, else to `default`.
pub fn look<'e>(
    spool: &Spool,
    entry: &'e EntryName,
    to: Option<Priority>,
    default: Priority,
    now: Epoch,
) -> Result<std::result::Result<Mended<'e>, Stays>> {
    let Some(folder) = bad::open(spool, entry)? else { return Ok(Err(Stays::Gone)) };
    let obstacles = bad::obstacles(spool, &folder, &KNOWLEDGE, now)?;
    if !obstacles.is_empty() {
        return Ok(Err(Stays::Broken(obstacles)));
    }
    let from = || Note::read(folder.dir(), REASON).and_then(|note| note.from_priority());
    let to = to.or_else(from).unwrap_or(default);
    Ok(Ok(Mended { entry, folder, to }))
}

impl Mended<'_> {
    /// Gives where it is now.
    pub fn put_back(self, spool: &Spool) -> Result<std::result::Result<Priority, Stays>> {
        let is_back = bad::put_back(spool, self.entry, &self.folder, self.to)?;
        Ok(if is_back { Ok(self.to) } else { Err(Stays::Gone) })
    }
}

/// Looks, and puts it back.
pub fn retry(
    spool: &Spool,
    entry: &EntryName,
    to: Option<Priority>,
    default: Priority,
    now: Epoch,
) -> Result<std::result::Result<Priority, Stays>> {
    match look(spool, entry, to, default, now)? {
        Ok(mended) => mended.put_back(spool),
        Err(stays) => Ok(Err(stays)),
    }
}
