//! inotify on the eleven directories, and on that of the pauses, by notify.
//!
//! What it tells is a hint: names that may have come or gone, or a directory to be listed again. The scan is the truth,
//! so losing every event costs time and never mail. Events are not queued: names are collected in a set of bounded size,
//! and one that is full becomes "list that directory". The scheduler thread is woken through a channel of one.

use std::collections::HashSet;
use std::ffi::OsString;
use std::sync::Arc;

use crossbeam_channel::Sender;
use notify::event::{CreateKind, EventKind, ModifyKind, RenameMode};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use parking_lot::Mutex;

use crate::mail::Priority;
use crate::spool::{Spool, layout};

/// As many names as are looked at one by one; with more, one listing is cheaper.
const MAX_NAMES: usize = 1024;

/// What may have changed since it was taken last.
#[derive(Default)]
pub struct Hints {
    pub names: HashSet<(Priority, OsString)>,
    /// Directories to list again, by [`Priority::index`].
    pub rescan: [bool; Priority::COUNT],
    /// Pauses may have come or gone.
    pub pauses: bool,
}

impl Hints {
    fn note(&mut self, priority: Priority, name: OsString) {
        if self.names.len() < MAX_NAMES {
            self.names.insert((priority, name));
        } else {
            self.rescan[priority.index()] = true;
        }
    }

    fn everything(&mut self) {
        self.rescan = [true; Priority::COUNT];
        self.pauses = true;
    }
}

/// The armed watch; it ends when this is dropped.
pub struct Watch {
    hints: Arc<Mutex<Hints>>,
    _watcher: RecommendedWatcher,
}

#[derive(Debug, thiserror::Error)]
#[error("cannot watch {path}: {source}; new messages would only be found by the periodic scan")]
pub struct WatchError {
    path: String,
    source: notify::Error,
}

impl Watch {
    /// Arms the watch. To be done before the first scan: the other way round loses what arrives in between.
    pub fn arm(spool: &Spool, wake: Sender<()>) -> Result<Watch, WatchError> {
        let hints = Arc::new(Mutex::new(Hints::default()));
        let roots: Vec<_> = Priority::all()
            .map(|priority| (spool.path().join(layout::DISTRIBUTE).join(priority.dir_name()), priority))
            .collect();
        let paused = spool.path().join(layout::PAUSED);
        let (told, known, pauses) = (hints.clone(), roots.clone(), paused.clone());
        let on_event = move |event: notify::Result<notify::Event>| {
            let mut hints = told.lock();
            match event {
                Ok(event) if event.need_rescan() => hints.everything(),
                // Opening a directory to list it is an event, too.
                Ok(event) if !is_arrival_or_departure(&event.kind) => return,
                Ok(event) => {
                    for path in event.paths {
                        if path.starts_with(&pauses) {
                            hints.pauses = true;
                            continue;
                        }
                        let place = path.parent().and_then(|dir| known.iter().find(|(root, _)| root == dir));
                        match (place, path.file_name()) {
                            (Some((_, priority)), Some(name)) => hints.note(*priority, name.to_owned()),
                            // A watched directory itself: removed, or renamed.
                            _ => hints.everything(),
                        }
                    }
                }
                Err(_) => hints.everything(),
            }
            drop(hints);
            // Full: the scheduler thread has not yet looked, and will see this as well.
            let _ = wake.try_send(());
        };
        let fail = |path: &std::path::Path, source| WatchError { path: path.display().to_string(), source };
        let mut watcher = notify::recommended_watcher(on_event).map_err(|error| fail(spool.path(), error))?;
        for root in roots.iter().map(|(root, _)| root).chain([&paused]) {
            watcher.watch(root, RecursiveMode::NonRecursive).map_err(|error| fail(root, error))?;
        }
        Ok(Watch { hints, _watcher: watcher })
    }

    /// What may have changed since the last call.
    pub fn take(&self) -> Hints {
        std::mem::take(&mut self.hints.lock())
    }
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
