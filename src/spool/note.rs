//! Why a message is held, or was set aside: one JSON object in the file `held` or `reason` of its folder.

use serde::{Deserialize, Serialize};

use crate::mail::{Epoch, Priority};

use super::disk::{Dir, Result, unless_gone};

/// Who did what to a message, when and why.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Note {
    /// Unix seconds.
    pub since: u64,
    /// A person's login, or `sympa-dist` where the program decided.
    pub by: String,
    pub why: String,
    /// The priority it stood at: `0` to `9` or `z`.
    pub from: String,
}

/// Notes are short; what is longer was not written by this program.
const MAX_LENGTH: u64 = 64 * 1024;

/// Octets of a reason. In JSON each may become six: the file stays one that is read.
const LONGEST_REASON: usize = 8 * 1024;

/// A reason as long as one is kept.
pub(super) fn shortened(mut why: String) -> String {
    if why.len() > LONGEST_REASON {
        why.truncate(why.floor_char_boundary(LONGEST_REASON));
        why.push('…');
    }
    why
}

impl Note {
    pub fn new(since: Epoch, by: &str, why: impl Into<String>, from: Priority) -> Note {
        Note { since: since.0, by: by.to_owned(), why: shortened(why.into()), from: from.to_string() }
    }

    /// The same from elsewhere.
    pub fn from_priority(&self) -> Option<Priority> {
        self.from.parse().ok()
    }

    /// Writes it as `name` in `dir`, in place of an earlier one, and makes it durable.
    pub(super) fn write(&self, dir: &Dir, name: &str) -> Result<()> {
        unless_gone(dir.remove(name))?;
        let file = dir.create(name)?;
        let mut text = serde_json::to_vec(self).expect("strings and numbers are always JSON");
        text.push(b'\n');
        file.write_at(&text, 0)?;
        file.belong_to_owner_of(dir)?;
        file.sync_data()?;
        dir.sync()
    }

    /// `None` where there is no such file, or none that can be read: a note is for people, and never decides whether
    /// mail is sent.
    pub fn read(dir: &Dir, name: &str) -> Option<Note> {
        serde_json::from_slice(&dir.read(name, MAX_LENGTH).ok()?).ok()
    }
}
