//! inotify on the eleven directories, and on that of the pauses, by notify.
//!
//! What it tells is a hint: names that may have come or gone, or a directory to be listed again ([`super::hints`]). On a
//! network file system it tells of what this host does alone; what comes to be is announced to the others from here.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;

use notify::event::{CreateKind, EventKind, ModifyKind, RenameMode};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};

use crate::claim::Claims;
use crate::mail::Priority;
use crate::spool::Spool;
use crate::spool::layout::{self, Entry};

use super::hints::{self, Desk, Spot, Step};

/// Renames of which one side was told: the other one follows at once, unless the name has left for good.
const HALVES: usize = 64;

/// The armed watch; it ends when this is dropped.
pub struct Watch(#[expect(dead_code, reason = "held for its end")] RecommendedWatcher);

#[derive(Debug, thiserror::Error)]
#[error("cannot watch {path}: {source}; new messages would only be found by the periodic scan")]
pub struct WatchError {
    path: String,
    source: notify::Error,
}

impl Watch {
    /// Arms the watch. To be done before the first scan: the other way round loses what arrives in between.
    pub fn arm(spool: &Spool, desk: Arc<Desk>, claims: Arc<dyn Claims>) -> Result<Watch, WatchError> {
        let fail = |path: &Path, source| WatchError { path: path.display().to_string(), source };
        // As events will name them.
        let spool = std::path::absolute(spool.path()).map_err(|error| fail(spool.path(), notify::Error::io(error)))?;
        let roots: Vec<_> = Priority::all()
            .map(|priority| (spool.join(layout::DISTRIBUTE).join(priority.dir_name()), priority))
            .collect();
        let paused = spool.join(layout::PAUSED);
        let (known, pauses) = (roots.clone(), paused.clone());
        let mut halves = Halves::default();
        let on_event = move |event: notify::Result<notify::Event>| {
            let event = match event {
                // Opening a directory to list it is an event, too.
                Ok(event) if !event.need_rescan() && !is_arrival_or_departure(&event.kind) => return,
                Ok(event) if !event.need_rescan() => event,
                _ => return desk.drop_in(hints::Hints::everything),
            };
            let arrives = is_arrival(&event.kind);
            let mut news = Vec::new();
            desk.drop_in(|hints| {
                for path in &event.paths {
                    if path.starts_with(&pauses) {
                        hints.pauses = true;
                        news.push(hints::PAUSES.to_owned());
                        continue;
                    }
                    let place = path.parent().and_then(|dir| known.iter().find(|(root, _)| root == dir));
                    match (place, path.file_name()) {
                        (Some((_, priority)), Some(name)) => {
                            if arrives && let Some(name) = name.to_str() {
                                news.push(hints::announced(*priority, name));
                            }
                            if let Some(step) = halves.step(&event.kind, event.attrs.tracker(), *priority, name) {
                                hints.step(step);
                            }
                            hints.note(*priority, name.to_owned());
                        }
                        // A watched directory itself: removed, or renamed.
                        _ => hints.everything(),
                    }
                }
            });
            news.iter().for_each(|name| claims.announce(name));
        };
        let mut watcher = notify::recommended_watcher(on_event).map_err(|error| fail(&spool, error))?;
        for root in roots.iter().map(|(root, _)| root).chain([&paused]) {
            watcher.watch(root, RecursiveMode::NonRecursive).map_err(|error| fail(root, error))?;
        }
        Ok(Watch(watcher))
    }
}

/// Names that were renamed away, with the kernel's numbers of these renames: notify pairs those alone that come one right
/// behind the other, and two processes may rename at a time.
#[derive(Default)]
struct Halves(VecDeque<(usize, Spot)>);

impl Halves {
    /// What a name's coming is, or its going, once the other side is known.
    fn step(&mut self, kind: &EventKind, rename: Option<usize>, priority: Priority, name: &OsStr) -> Option<Step> {
        let Ok(Entry::Message(name)) = layout::parse(name) else { return None };
        let spot = Spot { priority, name };
        if matches!(kind, EventKind::Modify(ModifyKind::Name(RenameMode::From))) {
            if self.0.len() == HALVES {
                self.0.pop_front();
            }
            self.0.extend(rename.map(|rename| (rename, spot)));
            return None;
        }
        if !is_arrival(kind) {
            return None;
        }
        let other = rename.and_then(|rename| self.0.iter().position(|(number, _)| *number == rename));
        Some(Step { from: other.and_then(|at| self.0.remove(at)).map(|(_, from)| from), to: spot })
    }
}

/// A message that has come to be: a folder is renamed into place.
fn is_arrival(kind: &EventKind) -> bool {
    matches!(kind, EventKind::Create(CreateKind::Folder) | EventKind::Modify(ModifyKind::Name(RenameMode::To)))
}

/// A flat message file counts when it is closed or renamed into place; its creation is a hint that it is on its way, and
/// adoption is tried then: the file comes last, but it may still be written to.
fn is_arrival_or_departure(kind: &EventKind) -> bool {
    match kind {
        EventKind::Create(CreateKind::Folder) | EventKind::Remove(_) => true,
        EventKind::Modify(ModifyKind::Name(mode)) => !matches!(mode, RenameMode::Both),
        EventKind::Access(notify::event::AccessKind::Close(notify::event::AccessMode::Write)) => true,
        // Symbolic links and FIFOs are never closed after writing.
        EventKind::Create(_) => true,
        EventKind::Any | EventKind::Other => true,
        _ => false,
    }
}
