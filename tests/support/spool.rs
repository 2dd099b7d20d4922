//! A spool in a directory of its own, and what lies in it, seen with plain system calls.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sympa_dist::mail::{Epoch, MessageId, Priority};
use sympa_dist::spool::Spool;
use sympa_dist::spool::disk::Disk;
use tempfile::TempDir;

/// Removed when dropped.
pub struct TestSpool {
    dir: TempDir,
}

/// Files of a message: name and content.
pub type Files<'a> = &'a [(&'a str, &'a str)];

impl TestSpool {
    pub fn new() -> TestSpool {
        TestSpool::inside(&std::env::temp_dir())
    }

    /// In a directory of its own below that one.
    pub fn inside(place: &Path) -> TestSpool {
        let dir = tempfile::tempdir_in(place).unwrap();
        Spool::create(&Disk::default(), dir.path()).unwrap();
        TestSpool { dir }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn open(&self) -> Spool {
        Spool::open(&Disk::default(), self.path()).unwrap()
    }

    pub fn at(&self, priority: &str) -> PathBuf {
        self.path().join("distribute").join(priority)
    }

    /// A message in a folder, shown by one rename. `name` may end in `:at<time>`.
    pub fn put(&self, priority: &str, name: &str, files: Files) {
        let draft = self.path().join("incoming").join(name.split(':').next().unwrap());
        std::fs::create_dir(&draft).unwrap();
        for (file, content) in files {
            std::fs::write(draft.join(file), content).unwrap();
        }
        std::fs::rename(draft, self.at(priority).join(name)).unwrap();
    }

    /// A message with packets of the addresses given.
    pub fn put_packets(&self, priority: &str, name: &str, packets: &[Vec<String>]) {
        let message = message(name);
        let names: Vec<String> = (1..=packets.len()).map(|n| format!("recipients.mail.{n:04}")).collect();
        let texts: Vec<String> = packets.iter().map(|packet| lines(packet)).collect();
        let mut files: Vec<(&str, &str)> = names.iter().zip(&texts).map(|(n, t)| (n.as_str(), t.as_str())).collect();
        files.push(("message", &message));
        self.put(priority, name, &files);
    }

    /// Names below `distribute/`, as `9/<name>`, sorted.
    pub fn waiting(&self) -> Vec<String> {
        let mut names = Vec::new();
        for priority in Priority::all() {
            names.extend(list(&self.at(priority.dir_name())).into_iter().map(|name| format!("{priority}/{name}")));
        }
        names
    }

    /// Names in `bad/`, sorted.
    pub fn bad(&self) -> Vec<String> {
        list(&self.path().join("bad"))
    }

    pub fn incoming(&self) -> Vec<String> {
        list(&self.path().join("incoming"))
    }

    /// Why something was set aside.
    #[track_caller]
    pub fn reason(&self, name: &str) -> String {
        self.reason_if_any(name).unwrap_or_else(|| panic!("bad/{name} has no reason"))
    }

    /// `None` also where a disk that failed left a piece of one.
    pub fn reason_if_any(&self, name: &str) -> Option<String> {
        let text = std::fs::read(self.path().join("bad").join(name).join("reason")).ok()?;
        let note: serde_json::Value = serde_json::from_slice(&text).ok()?;
        Some(note["why"].as_str()?.to_owned())
    }

    /// The address that a packet's status file names.
    pub fn checkpoint(&self, priority: &str, name: &str, packet: &str) -> Option<String> {
        let path = self.at(priority).join(name).join(format!("{packet}.status"));
        let text = std::fs::read_to_string(path).ok()?;
        text.lines().next().filter(|line| !line.is_empty()).map(str::to_owned)
    }

    /// Whether nothing is left below `distribute/` or `incoming/`. A flat drop goes from the one to the other and back, so
    /// one look at each could miss it.
    pub fn is_empty(&self) -> bool {
        self.waiting().is_empty() && self.incoming().is_empty() && self.waiting().is_empty()
    }

    #[track_caller]
    pub fn wait_until_empty(&self) {
        wait_until("the spool is empty", || self.is_empty(), || format!("{:?} {:?}", self.waiting(), self.incoming()));
    }

    /// Waits until something lies in `bad/` under that name.
    #[track_caller]
    pub fn wait_until_bad(&self, name: &str) {
        // All of it: the file is there before its content is.
        let found = || self.reason_if_any(name).is_some();
        wait_until(name, found, || format!("{:?} {:?}", self.waiting(), self.bad()));
    }
}

/// What everything else becomes impossible without is waited for in small steps.
#[track_caller]
pub fn wait_until(what: &str, mut done: impl FnMut() -> bool, state: impl Fn() -> String) {
    let deadline = Instant::now() + super::PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "waited in vain for: {what}; {}", state());
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn list(dir: &Path) -> Vec<String> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) => panic!("{}: {error}", dir.display()),
    };
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// A small message whose subject is its name in the spool.
pub fn message(name: &str) -> String {
    format!("From: a@example.org\nSubject: {name}\n\nHello.\n")
}

/// A line an address.
pub fn lines(addresses: &[String]) -> String {
    addresses.iter().map(|address| format!("{address}\n")).collect()
}

/// `<prefix>000001@example.org` and so on.
pub fn members(prefix: &str, count: usize) -> Vec<String> {
    (1..=count).map(|n| format!("{prefix}{n:06}@example.org")).collect()
}

pub fn id(text: &str) -> MessageId {
    text.parse().unwrap()
}

pub fn now() -> Epoch {
    sympa_dist::daemon::clock::epoch()
}
