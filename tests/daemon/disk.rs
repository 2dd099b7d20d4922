//! Disks that are full, can't be written to, or have gone while the scheduler runs.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use crate::support::log;
use crate::support::mount::Mount;
use crate::support::relay::{Counter, Dot, Policy, Rcpt, Relay};
use crate::support::scheduler::{Running, settings};
use crate::support::spool::{TestSpool, members, now, wait_until};

/// Writes until there is no room left but for `spare` octets.
fn fill(ballast: &Path, spare: u64) {
    let mut file = fs::File::create(ballast).unwrap();
    while file.write_all(&[b'x'; 4096]).is_ok() {}
    let full = file.metadata().unwrap().len();
    file.set_len(full.saturating_sub(spare)).unwrap();
}

#[track_caller]
fn each_got_it_once(relay: &Relay, count: usize) {
    let record = relay.record();
    let copies = record.copies();
    assert_eq!(copies.len(), count);
    assert!(copies.values().all(|&copies| copies == 1), "{copies:?}");
}

#[test]
fn what_was_sent_and_cannot_be_recorded_on_a_full_disk_is_recorded_when_there_is_room() {
    const ID: &str = "list@full.example.org.1700000000.1";
    let mount = Mount::new("size=4m");
    let spool = TestSpool::inside(mount.path());
    spool.put_packets("3", ID, &[members("m", 100)]);
    let ballast = mount.path().join("ballast");
    let (dots, theirs) = (Counter::default(), ballast.clone());
    // In the third transaction, the disk becomes full, and recipients have to be put on record: more than fits in the
    // file's last page.
    let later: &str = Box::leak(format!("450 4.2.1 {}", "later ".repeat(80)).into_boxed_str());
    let policy = Policy::new().rcpt(move |recipient, tries| match tries {
        0 if !recipient.contains("0@") => Rcpt::Say(later),
        _ => Rcpt::Take,
    });
    let relay = Relay::start(policy.dot(move |_| {
        if dots.next() == 2 {
            fill(&theirs, 0);
        }
        Dot::Take
    }));
    let running = Running::start(settings(spool.path(), relay.url(), 2));
    log::wait_for_line(&["ERROR", ID, "No space left on device", "sent and is not recorded"]);
    assert_eq!(relay.record().taken.len(), 3, "nothing more is sent");
    fs::remove_file(ballast).unwrap();
    spool.wait_until_empty();
    running.stop();
    each_got_it_once(&relay, 100);
    assert_eq!(log::lines_with(&["ERROR", ID, "sent and is not recorded"]).len(), 1);
    assert_eq!(log::lines_with(&["the disk takes writes again", ID]).len(), 1);
}

#[test]
fn nothing_is_sent_while_there_is_no_room_to_record_it() {
    const ID: &str = "list@noroom.example.org.1700000000.1";
    let mount = Mount::new("size=4m");
    let spool = TestSpool::inside(mount.path());
    spool.put_packets("3", ID, &[members("m", 30)]);
    let ballast = mount.path().join("ballast");
    fill(&ballast, 64 * 1024);
    let relay = Relay::start(Policy::new());
    let running = Running::start(settings(spool.path(), relay.url(), 2));
    let here = spool.path().display().to_string();
    log::wait_for_line(&["ERROR", &here, "No space left on device", "nothing is sent until"]);
    assert!(relay.record().tries.is_empty());
    fs::remove_file(ballast).unwrap();
    spool.wait_until_empty();
    running.stop();
    assert_eq!(log::lines_with(&["ERROR", &here]).len(), 1, "one line and not one a try");
    each_got_it_once(&relay, 30);
}

#[test]
fn nothing_is_sent_from_a_read_only_spool_until_it_can_be_written_to() {
    const ID: &str = "list@readonly.example.org.1700000000.1";
    let mount = Mount::new("size=4m");
    let spool = TestSpool::inside(mount.path());
    spool.put_packets("3", ID, &[members("m", 30)]);
    mount.remount("ro");
    let relay = Relay::start(Policy::new());
    let running = Running::start(settings(spool.path(), relay.url(), 2));
    let here = spool.path().display().to_string();
    log::wait_for_line(&["ERROR", &here, "Read-only file system", "nothing is sent until"]);
    assert!(relay.record().tries.is_empty());
    mount.remount("rw");
    spool.wait_until_empty();
    running.stop();
    each_got_it_once(&relay, 30);
}

#[test]
fn a_spool_that_has_gone_is_told_of_once_and_another_one_in_its_place_is_taken_up() {
    let dir = tempfile::tempdir().unwrap();
    let (path, away) = (dir.path().join("spool"), dir.path().join("away"));
    let later = format!("later@gone.example.org.1700000000.1:at{}", now().plus(3600));
    let first = TestSpool::inside(dir.path());
    first.put_packets("3", &later, &[members("later", 1)]);
    fs::rename(first.path(), &path).unwrap();
    let relay = Relay::start(Policy::new());
    let mut settings = settings(&path, relay.url(), 2);
    settings.run.rescan = Duration::from_millis(50);
    let running = Running::start(settings);
    let here = path.display().to_string();
    log::wait_for_line(&["distributing", &here]);
    fs::rename(&path, &away).unwrap();
    let line = log::wait_for_line(&["the spool has gone", &here]);
    assert!(line.contains("ERROR") && line.contains("nothing new is sent"), "{line}");
    let second = TestSpool::inside(dir.path());
    second.put_packets("3", "list@gone.example.org.1700000000.2", &[members("m", 5)]);
    fs::rename(second.path(), &path).unwrap();
    let is_done = || !path.join("distribute/3/list@gone.example.org.1700000000.2").exists();
    wait_until("the other spool's message is sent", is_done, String::new);
    assert_eq!(log::lines_with(&["the spool has gone", &here]).len(), 1);
    running.stop();
    each_got_it_once(&relay, 5);
    assert!(away.join("distribute/3").join(&later).join("recipients.mail.0001").exists());
}

#[test]
fn a_spool_that_is_deleted_and_made_again_is_taken_up() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("spool");
    let first = TestSpool::inside(dir.path());
    fs::rename(first.path(), &path).unwrap();
    let relay = Relay::start(Policy::new());
    let mut settings = settings(&path, relay.url(), 2);
    settings.run.rescan = Duration::from_millis(50);
    let running = Running::start(settings);
    let here = path.display().to_string();
    log::wait_for_line(&["distributing", &here]);
    fs::remove_dir_all(&path).unwrap();
    log::wait_for_line(&["the spool has gone", &here]);
    let second = TestSpool::inside(dir.path());
    second.put_packets("3", "list@deleted.example.org.1700000000.1", &[members("m", 5)]);
    fs::rename(second.path(), &path).unwrap();
    relay.wait_for_recipients(5);
    running.stop();
}
