//! Flat drops, and what can't be read: adopted, waited for, or set aside with its reason while the rest goes on.

use std::fs::File;
use std::io::Write;

use crate::support::log;
use crate::support::relay::{Policy, Relay};
use crate::support::scheduler::{Running, settings};
use crate::support::spool::{TestSpool, lines, members, message, wait_until};

const GOOD: &str = "good@drops.example.org.1700000000.1";

#[test]
fn a_flat_drop_is_adopted_and_a_status_that_came_along_is_honoured() {
    const ID: &str = "my-list@flat.example.org.1192613090.972";
    let spool = TestSpool::new();
    let relay = Relay::start(Policy::new());
    let running = Running::start(settings(spool.path(), relay.url(), 2));
    let at = spool.at("4");
    std::fs::write(at.join(format!("{ID}.recipients.mail.001")), lines(&members("a", 25))).unwrap();
    std::fs::write(at.join(format!("{ID}.recipients.mail.001.status")), "a000007@example.org\n").unwrap();
    std::fs::write(at.join(format!("{ID}.recipients.mail.002")), lines(&members("b", 5))).unwrap();
    std::fs::write(at.join(format!(".{ID}")), message(ID)).unwrap();
    std::fs::rename(at.join(format!(".{ID}")), at.join(ID)).unwrap();
    relay.wait_for_recipients(23);
    spool.wait_until_empty();
    running.stop();
    let record = relay.record();
    let mut got: Vec<&str> = record.recipients().collect();
    got.sort_unstable();
    let expected: Vec<String> = members("a", 25).into_iter().skip(7).chain(members("b", 5)).collect();
    assert_eq!(got, expected);
    assert!(record.taken.iter().all(|taken| taken.envelope.sender == "my-list-owner@flat.example.org"));
    log::wait_for_line(&["flat drop is adopted", ID]);
}

#[test]
fn a_flat_message_file_that_is_still_being_written_is_waited_for() {
    const ID: &str = "slow@flat.example.org.1192613090.973";
    let spool = TestSpool::new();
    let relay = Relay::start(Policy::new());
    let mut settings = settings(spool.path(), relay.url(), 1);
    settings.run.rescan = std::time::Duration::from_millis(50);
    let running = Running::start(settings);
    let at = spool.at("4");
    std::fs::write(at.join(format!("{ID}.recipients.mail.001")), lines(&members("a", 5))).unwrap();
    let mut writing = File::create(at.join(ID)).unwrap();
    writing.write_all(b"Subject: half a message").unwrap();
    writing.flush().unwrap();
    // Another message goes all the way meanwhile.
    spool.put_packets("9", GOOD, &[members("good", 1)]);
    relay.wait_for_recipients(1);
    assert_eq!(relay.record().copies().len(), 1);
    writing.write_all(b" becomes a whole one\n\nHello\n").unwrap();
    drop(writing);
    relay.wait_for_recipients(6);
    running.stop();
    assert_eq!(relay.record().taken[1].subject, "half a message becomes a whole one");
}

#[test]
fn a_variant_larger_than_any_message_is_set_aside_and_holds_up_nobody() {
    const HUGE: &str = "huge@drops.example.org.1700000000.1";
    let prepare = |spool: &TestSpool| {
        let (message, packet) = (message(HUGE), lines(&members("huge", 2)));
        spool.put("0", HUGE, &[("message", &message), ("message.notice", ""), ("recipients.notice.0001", &packet)]);
        let variant = std::fs::File::create(spool.at("0").join(HUGE).join("message.notice")).unwrap();
        variant.set_len(300 * 1024 * 1024).unwrap();
    };
    set_aside(prepare, HUGE, &["message.notice"]);
}

/// Starts a scheduler on a spool with something bad in it, sees the good message through, and waits for the bad one to be
/// set aside. Gives its reason.
#[track_caller]
fn set_aside(prepare: impl FnOnce(&TestSpool), name: &str, expected: &[&str]) -> TestSpool {
    let spool = TestSpool::new();
    prepare(&spool);
    spool.put_packets("9", GOOD, &[members("good", 30)]);
    let relay = Relay::start(Policy::new());
    let running = Running::start(settings(spool.path(), relay.url(), 2));
    spool.wait_until_bad(name);
    wait_until(
        "the good message is sent",
        || relay.record().recipients().filter(|recipient| recipient.starts_with("good")).count() == 30,
        || format!("{:?}", spool.waiting()),
    );
    running.stop();
    let reason = spool.reason(name);
    for words in expected {
        assert!(reason.contains(words), "{words:?} is not in the reason: {reason}");
    }
    log::wait_for_line(&["set aside", words_of(&reason)]);
    spool
}

/// What of a reason stands in the log as well.
fn words_of(reason: &str) -> &str {
    reason.split(';').next().unwrap_or(reason)
}

#[test]
fn an_empty_message_file_is_set_aside() {
    const ID: &str = "empty@drops.example.org.1700000000.2";
    let prepare = |spool: &TestSpool| {
        spool.put("2", ID, &[("message", ""), ("recipients.mail.0001", "a@example.org\n")]);
    };
    let spool = set_aside(prepare, ID, &["the message file is empty"]);
    assert!(spool.path().join("bad").join(ID).join("recipients.mail.0001").exists());
}

#[test]
fn a_folder_without_a_message_file_is_set_aside() {
    const ID: &str = "none@drops.example.org.1700000000.3";
    set_aside(
        |spool| spool.put("2", ID, &[("recipients.mail.0001", "a@example.org\n")]),
        ID,
        &["message file is missing"],
    );
}

#[test]
fn a_symbolic_link_in_place_of_a_message_file_is_set_aside_and_not_followed() {
    const ID: &str = "link@drops.example.org.1700000000.4";
    let spool = set_aside(
        |spool| {
            spool.put("2", ID, &[("recipients.mail.0001", "a@example.org\n")]);
            std::os::unix::fs::symlink("/etc/hostname", spool.at("2").join(ID).join("message")).unwrap();
        },
        ID,
        &["no regular file"],
    );
    assert!(spool.path().join("bad").join(ID).join("message").is_symlink());
}

#[test]
fn a_symbolic_link_in_place_of_a_flat_message_is_set_aside() {
    const ID: &str = "flatlink@drops.example.org.1700000000.5";
    set_aside(
        |spool| {
            std::fs::write(spool.at("2").join(format!("{ID}.recipients.mail.001")), "a@example.org\n").unwrap();
            std::os::unix::fs::symlink("/etc/hostname", spool.at("2").join(ID)).unwrap();
        },
        ID,
        &["is not a regular file"],
    );
}

#[test]
fn a_fifo_in_place_of_a_flat_message_is_set_aside_without_waiting_for_its_other_end() {
    const ID: &str = "fifo@drops.example.org.1700000000.6";
    set_aside(
        |spool| {
            std::fs::write(spool.at("2").join(format!("{ID}.recipients.mail.001")), "a@example.org\n").unwrap();
            let at = rustix::fs::CWD;
            rustix::fs::mkfifoat(at, spool.at("2").join(ID), rustix::fs::Mode::RWXU).unwrap();
        },
        ID,
        &["is not a regular file"],
    );
}

#[test]
fn a_fifo_among_a_messages_files_is_never_opened_and_is_kept() {
    const ID: &str = "inner@drops.example.org.1700000000.7";
    let spool = set_aside(
        |spool| {
            spool.put("2", ID, &[("message", &message(ID)), ("recipients.mail.0001", "a@example.org\n")]);
            let fifo = spool.at("2").join(ID).join("recipients.mail.0002");
            rustix::fs::mkfifoat(rustix::fs::CWD, fifo, rustix::fs::Mode::RWXU).unwrap();
        },
        ID,
        &["recipients.mail.0002", "not a regular file"],
    );
    assert!(spool.path().join("bad").join(ID).join("recipients.mail.0002").exists());
}

#[test]
fn a_flat_message_without_recipients_is_set_aside() {
    const ID: &str = "alone@drops.example.org.1700000000.8";
    set_aside(|spool| std::fs::write(spool.at("2").join(ID), message(ID)).unwrap(), ID, &["no recipients file"]);
}

#[test]
fn a_status_that_names_nobody_of_its_packet_is_set_aside_with_it_and_the_other_packets_go_on() {
    const ID: &str = "status@drops.example.org.1700000000.9";
    let spool = set_aside(
        |spool| {
            spool.put(
                "2",
                ID,
                &[
                    ("message", &message(ID)),
                    ("recipients.mail.0001", "a@example.org\nb@example.org\n"),
                    ("recipients.mail.0001.status", "stranger@example.org\n"),
                    ("recipients.mail.0002", "c@example.org\n"),
                ],
            );
        },
        ID,
        &["recipients.mail.0001.status", "names stranger@example.org, which is not in recipients.mail.0001"],
    );
    let bad = spool.path().join("bad").join(ID);
    let mut names: Vec<String> =
        std::fs::read_dir(bad).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, ["message", "reason", "recipients.mail.0001", "recipients.mail.0001.status"]);
    spool.wait_until_empty();
}

#[test]
fn a_packet_with_a_line_that_is_no_address_is_set_aside_and_the_line_named() {
    const ID: &str = "line@drops.example.org.1700000000.10";
    set_aside(
        |spool| {
            let files = [("message", &*message(ID)), ("recipients.mail.0001", "a@example.org\nb@example.org\r\n")];
            spool.put("2", ID, &files);
        },
        ID,
        &["recipients.mail.0001", "line 2", "CR"],
    );
}

#[test]
fn packets_with_hostile_content_are_set_aside_each_with_its_reason() {
    let cases: [(&str, Vec<u8>, &str); 6] = [
        ("1", b"a@example.org\n\nb@example.org\n".to_vec(), "empty"),
        ("2", b"a@example.org\0\n".to_vec(), "NUL"),
        ("3", vec![b'x'; 10_000_000], "longer than 254"),
        ("4", b"\xff\xfe@example.org\n".to_vec(), "UTF-8"),
        ("5", [&[b'a'; 300][..], b"@example.org\n"].concat(), "longer than 254"),
        ("6", b"a@example.org> SIZE=1\n".to_vec(), "angle bracket"),
    ];
    let spool = TestSpool::new();
    for (n, packet, _) in &cases {
        let name = format!("hostile@drops.example.org.1700000001.{n}");
        let dir = spool.path().join("incoming").join(&name);
        std::fs::create_dir(&dir).unwrap();
        std::fs::write(dir.join("message"), message(&name)).unwrap();
        std::fs::write(dir.join("recipients.mail.0001"), packet).unwrap();
        std::fs::rename(dir, spool.at("5").join(&name)).unwrap();
    }
    let relay = Relay::start(Policy::new());
    let running = Running::start(settings(spool.path(), relay.url(), 2));
    for (n, _, why) in &cases {
        let name = format!("hostile@drops.example.org.1700000001.{n}");
        spool.wait_until_bad(&name);
        assert!(spool.reason(&name).contains(why), "{n}: {}", spool.reason(&name));
    }
    spool.wait_until_empty();
    running.stop();
    assert_eq!(relay.record().recipients().count(), 0, "a broken packet is not sent in part");
}

#[test]
fn names_that_are_none_of_the_spools_are_left_alone_and_named_once() {
    let spool = TestSpool::new();
    let strangers = ["README", "list@drops.example.org", ".hidden", "list@drops.example.org.1700000000.1:at"];
    for stranger in strangers {
        std::fs::write(spool.at("1").join(stranger), "x").unwrap();
    }
    let relay = Relay::start(Policy::new());
    let mut settings = settings(spool.path(), relay.url(), 1);
    settings.run.rescan = std::time::Duration::from_millis(20);
    let running = Running::start(settings);
    spool.put_packets("9", GOOD, &[members("good", 1)]);
    relay.wait_for_recipients(1);
    log::wait_for_line(&["list@drops.example.org.1700000000.1:at ", "left where it is"]);
    running.stop();
    let mut left = spool.waiting();
    left.retain(|name| name.starts_with("1/"));
    let mut expected: Vec<String> = strangers.iter().map(|name| format!("1/{name}")).collect();
    expected.sort();
    assert_eq!(left, expected);
    assert_eq!(log::lines_with(&["distribute/1/list@drops.example.org ", "left where it is"]).len(), 1);
}
