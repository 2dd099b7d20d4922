//! What is not to be sent until it is resumed: a list, a priority, a relay, or everything; one file a pause in `paused/`.
//!
//! The name says what is paused, the content since when, by whom, why and until when. A file whose content can't be read
//! pauses all the same, and without an end: mail that waits can still be sent, mail that was sent can't be called back.
//!
//! A pause is written beside its place, synced, renamed into it, and the directory synced: a crash before the rename has
//! paused nothing, after it the pause is there. Resuming is one removal.

use serde::{Deserialize, Serialize};

use crate::mail::{Epoch, Level};

use super::disk::{Dir, DiskError, Kind, Op, Result, unless_gone};
use super::layout::{self, PauseName};
use super::{Spool, note, running};

/// Who paused what, when and why.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Pause {
    /// Unix seconds.
    pub since: u64,
    /// A person's login and host.
    pub by: String,
    pub why: String,
    /// Unix seconds; none: until it is resumed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
}

impl Pause {
    pub fn is_over(&self, now: Epoch) -> bool {
        self.until.is_some_and(|until| until <= now.0)
    }
}

/// A pause that is there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Paused {
    pub name: PauseName,
    /// `None`: it can't be read.
    pub pause: Option<Pause>,
}

impl Paused {
    /// Whether it stops a message; those of a relay stop none by themselves.
    pub fn stops(&self, list: &str, level: Level) -> bool {
        match &self.name {
            PauseName::Everything => true,
            PauseName::Level(paused) => *paused == level,
            PauseName::List(paused) => paused == list,
            PauseName::Relay(_) => false,
        }
    }

    fn is_over(&self, now: Epoch) -> bool {
        self.pause.as_ref().is_some_and(|pause| pause.is_over(now))
    }
}

/// Longer ones were not written by this program.
const MAX_LENGTH: u64 = 64 * 1024;
const FATE: &str = "nothing was paused or resumed";

/// Pauses; a pause of the same thing that is there is replaced.
pub fn pause(spool: &Spool, name: &PauseName, pause: &Pause) -> Result<()> {
    put(spool, name, pause).map_err(|error| error.fate(FATE))
}

fn put(spool: &Spool, name: &PauseName, pause: &Pause) -> Result<()> {
    // A spool of an earlier version has no such directory.
    match spool.root.make_dir(layout::PAUSED) {
        Ok(()) => spool.root.sync()?,
        Err(error) if error.is_exists() => {}
        Err(error) => return Err(error),
    }
    let place = spool.root.open_dir(layout::PAUSED)?;
    if !name.fits() {
        let why = std::io::Error::new(std::io::ErrorKind::InvalidFilename, "its name is too long for a file's");
        return Err(DiskError::new(Op::Create, place.path(), name.to_string().as_ref(), why));
    }
    // One at a time on this host; other hosts write beside theirs.
    let _turn = place.lock()?;
    let draft = format!(".{}.{}", running::host(), std::process::id());
    unless_gone(place.remove(&draft))?;
    let file = place.create(&draft)?;
    // One that can't be read would have no end.
    let pause = Pause { why: note::shortened(pause.why.clone()), ..pause.clone() };
    let mut text = serde_json::to_vec(&pause).expect("strings and numbers are always JSON");
    text.push(b'\n');
    file.write_at(&text, 0)?;
    file.belong_to_owner_of(&spool.distribute)?;
    file.sync_data()?;
    place.replace(&draft, &name.to_string())?;
    place.sync()
}

/// Resumes what was paused by that name. `false`: it was not.
pub fn resume(spool: &Spool, name: &PauseName) -> Result<bool> {
    let resume = || {
        let Some(place) = unless_gone(spool.root.open_dir(layout::PAUSED))? else { return Ok(false) };
        let there = unless_gone(place.remove(&name.to_string()))?.is_some();
        place.sync()?;
        Ok(there)
    };
    resume().map_err(|error: DiskError| error.fate(FATE))
}

/// What is paused now, by name. Pauses that are over are left out.
pub fn list(spool: &Spool, now: Epoch) -> Result<Vec<Paused>> {
    let Some(place) = unless_gone(spool.root.open_dir(layout::PAUSED))? else { return Ok(Vec::new()) };
    let mut pauses = all(&place)?;
    pauses.retain(|paused| !paused.is_over(now));
    Ok(pauses)
}

/// Removes pauses that are over, and gives them.
pub fn clear(spool: &Spool, now: Epoch) -> Result<Vec<Paused>> {
    let Some(place) = unless_gone(spool.root.open_dir(layout::PAUSED))? else { return Ok(Vec::new()) };
    if !all(&place)?.iter().any(|paused| paused.is_over(now)) {
        return Ok(Vec::new());
    }
    // Read again under the lock: one of them may have been replaced by a longer one meanwhile.
    let Some(_turn) = place.lock_soon()? else { return Ok(Vec::new()) };
    let mut over = all(&place)?;
    over.retain(|paused| paused.is_over(now));
    for paused in &over {
        unless_gone(place.remove(&paused.name.to_string()))?;
    }
    Ok(over)
}

fn all(place: &Dir) -> Result<Vec<Paused>> {
    let mut pauses = Vec::new();
    for (name, kind) in place.list()? {
        let Ok(name) = layout::parse::<PauseName>(&name) else { continue };
        if kind != Kind::File {
            continue;
        }
        let pause = match unless_gone(place.read(&name.to_string(), MAX_LENGTH)) {
            Ok(None) => continue,
            Ok(Some(text)) => serde_json::from_slice(&text).ok(),
            Err(_) => None,
        };
        pauses.push(Paused { name, pause });
    }
    pauses.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(pauses)
}

#[cfg(test)]
mod tests {
    use super::super::disk::Disk;
    use super::*;

    fn spool() -> (tempfile::TempDir, Spool) {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::create(&Disk::default(), dir.path()).unwrap();
        (dir, spool)
    }

    fn until(until: Option<u64>) -> Pause {
        Pause { since: 5, by: "pat@desk".into(), why: "a test".into(), until }
    }

    fn names(spool: &Spool, now: u64) -> Vec<String> {
        list(spool, Epoch(now)).unwrap().iter().map(|paused| paused.name.to_string()).collect()
    }

    #[test]
    fn a_pause_lasts_until_its_time_or_until_it_is_resumed() {
        let (_keep, spool) = spool();
        let (list, level) = (PauseName::List("a@x.org".into()), PauseName::Level(Level::LAST));
        pause(&spool, &list, &until(Some(10))).unwrap();
        pause(&spool, &level, &until(None)).unwrap();
        assert_eq!(names(&spool, 9), ["priority:9", "list:a@x.org"]);
        assert_eq!(names(&spool, 10), ["priority:9"]);
        assert!(clear(&spool, Epoch(9)).unwrap().is_empty());
        assert_eq!(clear(&spool, Epoch(10)).unwrap().len(), 1);
        assert!(!resume(&spool, &list).unwrap(), "it was over");
        assert!(resume(&spool, &level).unwrap());
        assert_eq!(names(&spool, 0), [""; 0]);
    }

    #[test]
    fn pausing_again_replaces() {
        let (_keep, spool) = spool();
        pause(&spool, &PauseName::Everything, &until(Some(10))).unwrap();
        pause(&spool, &PauseName::Everything, &until(None)).unwrap();
        assert!(clear(&spool, Epoch(11)).unwrap().is_empty());
        assert_eq!(names(&spool, 11), ["everything"]);
    }

    #[test]
    fn a_pause_with_a_reason_of_any_length_ends_all_the_same() {
        let (_keep, spool) = spool();
        let name = PauseName::Everything;
        pause(&spool, &name, &Pause { why: "\u{1}é".repeat(50_000), ..until(Some(10)) }).unwrap();
        assert!(list(&spool, Epoch(9)).unwrap()[0].pause.as_ref().is_some_and(|pause| pause.why.ends_with('…')));
        assert_eq!(names(&spool, 10), [""; 0]);
    }

    #[test]
    fn what_cannot_be_read_pauses_without_an_end() {
        let (dir, spool) = spool();
        std::fs::write(dir.path().join("paused/priority:3"), "{\"until\":").unwrap();
        std::fs::write(dir.path().join("paused/.draft"), "").unwrap();
        std::fs::create_dir(dir.path().join("paused/priority:4")).unwrap();
        let paused = list(&spool, Epoch(9)).unwrap();
        assert_eq!((paused.len(), &paused[0].pause), (1, &None));
        assert!(paused[0].stops("a@x.org", Level::new(3).unwrap()));
        assert!(!paused[0].stops("a@x.org", Level::new(4).unwrap()));
    }

    #[test]
    fn a_spool_without_the_directory_has_no_pauses_and_gets_it_with_the_first() {
        let (dir, spool) = spool();
        std::fs::remove_dir(dir.path().join("paused")).unwrap();
        assert_eq!(names(&spool, 0), [""; 0]);
        assert!(!resume(&spool, &PauseName::Everything).unwrap());
        pause(&spool, &PauseName::Everything, &until(None)).unwrap();
        assert_eq!(names(&spool, 0), ["everything"]);
        let long = PauseName::Relay("x".repeat(300));
        let error = pause(&spool, &long, &until(None)).unwrap_err().to_string();
        assert!(error.contains("too long") && error.ends_with(FATE), "{error}");
    }
}
