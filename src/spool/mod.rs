//! All that touches the spool's files.
//!
//! `spool-layout/README.md` is the contract: the tree, the names, the legal states, every transition and what a crash
//! after each of its steps leaves. The modules here are that text in code, a transition each:
//!
//! - [`layout`]: the grammar of names; past it nobody splits one.
//! - [`disk`]: the system calls, with errors that say what and where.
//! - [`draft`]: a new message, from `incoming/` to its place, shown by one rename.
//! - [`adopt`]: flat files dropped by producers become a folder.
//! - [`folder`]: one message, held open; [`removal`]: how it goes once nothing is left to do.
//! - [`progress`]: one packet being sent: its recipients, checkpoint, deferred and failed ones.
//! - [`deferral`]: why a recipient waits in a retry packet.
//! - [`moves`]: requeue, hold, release, cancel.
//! - [`set_aside`]: what can't be read goes to `bad/`, whole, with its reason.
//! - [`census`]: depth and age, read from disk for people and dashboards.
//! - [`pause`]: what is not to be sent until it is resumed.
//! - [`running`]: what each scheduler says of itself.
//! - [`check`]: everything that breaks the contract.
//!
//! It promises that a visible name is complete, that a checkpoint only advances, and that nothing is deleted
//! unrecorded. It has no clock, no thread and no relay: times are given, and who may work on a packet is decided by a
//! claim, which comes before [`progress`].

pub mod adopt;
pub mod bad;
pub mod census;
pub mod check;
pub mod deferral;
pub mod disk;
pub mod draft;
pub mod failures;
pub mod fence;
pub mod folder;
pub mod layout;
pub mod mark;
pub mod moves;
pub mod note;
pub mod pause;
pub mod progress;
pub mod recipients;
pub mod removal;
pub mod reports;
pub mod running;
pub mod set_aside;

use std::ffi::OsStr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::mail::{MessageId, Priority};
use disk::{Dir, Disk, DiskError, Identity, Kind, Op};
use layout::MessageName;

pub use disk::Result;

/// A spool, held open: its eleven priorities, `incoming/` and `bad/`.
pub struct Spool {
    root: Dir,
    distribute: Dir,
    priorities: Vec<Dir>,
    incoming: Dir,
    bad: Dir,
}

/// What is where a spool was opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    Here,
    /// Another spool: this one was moved away, or restored, or a file system was mounted over it.
    Another,
}

impl Spool {
    /// Opens the spool at `root`, creating what is missing of it.
    pub fn create(disk: &Disk, root: &Path) -> Result<Spool> {
        std::fs::create_dir_all(root)
            .map_err(|error| DiskError::new(Op::MakeDirectory, root, OsStr::new(""), error))?;
        let top = disk.open_root(root)?;
        let make = |dir: &Dir, name: &str| match dir.make_dir(name) {
            Err(error) if !error.is_exists() => Err(error),
            _ => Ok(()),
        };
        for name in layout::TOP {
            make(&top, name)?;
        }
        let distribute = top.open_dir(layout::DISTRIBUTE)?;
        for priority in Priority::all() {
            make(&distribute, priority.dir_name())?;
        }
        Spool::open(disk, root)
    }

    /// Opens the spool at `root`, which must be complete.
    pub fn open(disk: &Disk, root: &Path) -> Result<Spool> {
        let fate = "this is no spool; `sympa-dist run` and `sympa-dist inject` make one where there is none";
        let open = || -> Result<Spool> {
            let top = disk.open_root(root)?;
            let distribute = top.open_dir(layout::DISTRIBUTE)?;
            let priorities =
                Priority::all().map(|priority| distribute.open_dir(priority.dir_name())).collect::<Result<_>>()?;
            let incoming = top.open_dir(layout::INCOMING)?;
            let bad = top.open_dir(layout::BAD)?;
            Ok(Spool { root: top, distribute, priorities, incoming, bad })
        };
        open().map_err(|error| if error.is_gone() { error.fate(fate) } else { error })
    }

    /// Whether this very spool is still where it was opened. An error if no spool is there.
    pub fn place(&self) -> Result<Place> {
        let there = Spool::open(&Disk::default(), self.path())?;
        let dirs = |spool: &Spool| -> Result<Vec<Identity>> {
            let dirs = spool.priorities.iter().chain([&spool.distribute, &spool.incoming, &spool.bad]);
            dirs.map(|dir| Ok(dir.look_self()?.identity)).collect()
        };
        Ok(if dirs(self)? == dirs(&there)? { Place::Here } else { Place::Another })
    }

    /// The same in one look, for whoever asks often: whether its `distribute/` is still there under its name.
    pub fn seems_here(&self) -> bool {
        let there = std::fs::metadata(self.path().join(layout::DISTRIBUTE));
        let identity = there.map(|there| Identity::new(there.dev(), there.ino()));
        identity.ok().is_some_and(|there| self.distribute.look_self().is_ok_and(|own| own.identity == there))
    }

    /// Where it is, as it was named.
    pub fn path(&self) -> &Path {
        self.root.path()
    }

    /// The directory of one priority.
    pub fn at(&self, priority: Priority) -> &Dir {
        &self.priorities[priority.index()]
    }

    pub fn incoming(&self) -> &Dir {
        &self.incoming
    }

    pub fn bad(&self) -> &Dir {
        &self.bad
    }

    /// Whether other hosts may do things here that this host's kernel does not hear of.
    pub fn is_on_network(&self) -> Result<bool> {
        self.distribute.is_on_network()
    }

    /// When a pause came or went.
    pub fn pauses_changed(&self) -> Option<(u64, u64)> {
        let look = self.root.open_dir(layout::PAUSED).ok()?.look_self().ok()?;
        Some((look.modified, look.modified_nanos))
    }

    /// Whether more than next to nothing can be written here.
    pub fn has_room(&self) -> bool {
        self.root.require_room().is_ok()
    }

    /// Refuses to go on as somebody other than the spool's owner: files that one user leaves behind, another could not
    /// take further.
    pub fn require_owner(&self) -> Result<()> {
        let owner = self.distribute.look_self()?.owner;
        let me = rustix::process::geteuid().as_raw();
        if owner == me {
            return Ok(());
        }
        let why = std::io::Error::new(
            std::io::ErrorKind::PermissionDenied,
            format!("it belongs to user {owner}, and this process runs as user {me}"),
        );
        Err(DiskError::new(Op::Open, self.distribute.path(), OsStr::new(""), why)
            .fate(format!("nothing was changed; run it as user {owner}")))
    }

    /// Where the message of that id is now, by its folder. Looks for the plain name first: that is eleven looks, while a
    /// name with a time behind it has to be listed for.
    pub fn locate(&self, id: &MessageId) -> Result<Option<(Priority, MessageName)>> {
        let plain = MessageName::from(id.clone());
        for priority in Priority::all() {
            if self.at(priority).look(id.as_str())?.is_some_and(|look| look.kind == Kind::Directory) {
                return Ok(Some((priority, plain)));
            }
        }
        for priority in Priority::all() {
            let found = self.messages(priority)?.into_iter().find(|name| name.id == *id);
            if let Some(name) = found {
                return Ok(Some((priority, name)));
            }
        }
        Ok(None)
    }

    /// The messages of one priority, in no order.
    pub fn messages(&self, priority: Priority) -> Result<Vec<MessageName>> {
        Ok(self
            .at(priority)
            .list()?
            .into_iter()
            .filter(|(_, kind)| *kind == Kind::Directory)
            .filter_map(|(name, _)| layout::parse(&name).ok())
            .collect())
    }
}
