//! What relays answer about single recipients, and when messages and recipients are due.

use parking_lot::Mutex;

use crate::support::log;
use crate::support::relay::{Counter, Dot, Policy, Rcpt, Relay};
use crate::support::reports::{self, Failed};
use crate::support::scheduler::{Running, settings};
use crate::support::scripted::{Act, Scripted, bye, usual};
use crate::support::spool::{TestSpool, members, now, wait_until};

#[test]
fn those_that_the_relay_takes_get_it_and_each_of_the_others_has_an_outcome_of_its_own() {
    const ID: &str = "list@partial.example.org.1700000000.1";
    let spool = TestSpool::new();
    spool.put_packets("3", ID, &[members("m", 25)]);
    let relay = Relay::start(Policy::new().rcpt(|recipient, tries| match recipient {
        "m000003@example.org" | "m000025@example.org" => Rcpt::Say("550 5.1.1 unknown"),
        "m000004@example.org" | "m000017@example.org" if tries == 0 => Rcpt::Say("450 4.2.1 later"),
        "m000005@example.org" if tries == 0 => Rcpt::Say("451 4.7.1 greylisted"),
        "m000005@example.org" => Rcpt::Say("553 5.1.3 no, never"),
        _ => Rcpt::Take,
    }));
    let running = Running::start(settings(spool.path(), relay.url(), 2));
    spool.wait_until_empty();
    running.stop();
    let record = relay.record();
    assert_eq!(record.copies().len(), 22);
    assert!(record.copies().values().all(|&count| count == 1));
    assert_eq!(record.tries["m000004@example.org"], 2);
    let [report] = &record.reports[..] else { panic!("{} reports", record.reports.len()) };
    let report = reports::read(report);
    assert_eq!((&*report.to, &*report.about), ("<list-owner@partial.example.org>", ID));
    assert!(report.header.contains(&format!("Subject: {ID}")), "{}", report.header);
    let failed = |who: &str, status: &str, reply: &str| Failed {
        recipient: who.to_owned(),
        status: status.to_owned(),
        reply: reply.to_owned(),
    };
    let mut found = report.failed;
    found.sort();
    assert_eq!(
        found,
        [
            failed("m000003@example.org", "5.1.1", "550 5.1.1 unknown"),
            failed("m000005@example.org", "5.1.3", "553 5.1.3 no, never"),
            failed("m000025@example.org", "5.1.1", "550 5.1.1 unknown"),
        ]
    );
    assert_eq!(spool.bad(), [""; 0]);
}

#[test]
fn with_452_in_the_middle_the_rest_is_sent_at_once_in_a_new_transaction() {
    let spool = TestSpool::new();
    spool.put_packets("3", "list@limit.example.org.1700000000.1", &[members("m", 30)]);
    // Takes four a transaction.
    let of_this_one = Mutex::new(0);
    let relay = std::sync::Arc::new(of_this_one);
    let counter = relay.clone();
    let relay = Relay::start(
        Policy::new()
            .rcpt(move |_, _| {
                let mut taken = counter.lock();
                if *taken == 4 {
                    return Rcpt::Say("452 4.5.3 too many recipients");
                }
                *taken += 1;
                Rcpt::Take
            })
            .dot(move |_| {
                *relay.lock() = 0;
                Dot::Take
            }),
    );
    let running = Running::start(settings(spool.path(), relay.url(), 1));
    spool.wait_until_empty();
    running.stop();
    let record = relay.record();
    assert_eq!(record.recipients().collect::<Vec<_>>(), members("m", 30));
    assert_eq!(record.taken.len(), 8);
    assert_eq!(spool.bad(), [""; 0]);
    assert_eq!(record.connections.len(), 1);
}

#[test]
fn a_452_about_one_mailbox_among_others_defers_that_recipient_and_a_lost_connection_then_repeats_nobody() {
    const ID: &str = "list@mailbox.example.org.1700000000.1";
    let spool = TestSpool::new();
    spool.put_packets("3", ID, &[members("m", 20)]);
    let dots = Counter::default();
    let relay = Relay::start(
        Policy::new()
            .rcpt(|recipient, tries| match recipient {
                "m000004@example.org" if tries == 0 => Rcpt::Say("452 4.2.2 mailbox full"),
                _ => Rcpt::Take,
            })
            // Whatever comes second is lost, and nobody got it.
            .data(move |_| match dots.next() {
                1 => crate::support::relay::Data::HangUp,
                _ => crate::support::relay::Data::Go,
            }),
    );
    let running = Running::start(settings(spool.path(), relay.url(), 1));
    spool.wait_until_empty();
    running.stop();
    let record = relay.record();
    let twice: Vec<_> = record.copies().into_iter().filter(|(_, count)| *count > 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
    assert_eq!(record.copies().len(), 20);
}

#[test]
fn those_deferred_behind_a_limit_of_recipients_are_in_one_packet_only_when_the_connection_is_lost() {
    let spool = TestSpool::new();
    spool.put_packets("3", "list@ahead.example.org.1700000000.1", &[members("m", 5)]);
    let transactions = Counter::default();
    let relay = Relay::start(
        Policy::new()
            .rcpt(|recipient, tries| match (recipient, tries) {
                ("m000002@example.org" | "m000003@example.org", 0) | ("m000004@example.org", 0 | 1) => {
                    Rcpt::Say("452 4.5.3 too many recipients")
                }
                ("m000003@example.org", 1) | ("m000005@example.org", 0) => Rcpt::Say("450 4.2.1 later"),
                _ => Rcpt::Take,
            })
            // Whatever comes third is lost, and nobody got it.
            .data(move |_| match transactions.next() {
                2 => crate::support::relay::Data::HangUp,
                _ => crate::support::relay::Data::Go,
            }),
    );
    let running = Running::start(settings(spool.path(), relay.url(), 1));
    spool.wait_until_empty();
    running.stop();
    let record = relay.record();
    assert!(record.tries.values().sum::<u64>() > 9, "the third transaction was not tried again: {:?}", record.tries);
    let mut recipients: Vec<_> = record.recipients().collect();
    recipients.sort_unstable();
    assert_eq!(recipients, members("m", 5));
}

#[test]
fn a_message_deferred_as_a_whole_is_tried_again() {
    let spool = TestSpool::new();
    spool.put_packets("3", "later@whole.example.org.1700000000.1", &[members("later", 3)]);
    let dots = Counter::default();
    let relay = Relay::start(Policy::new().dot(move |_| match dots.next() {
        0 => Dot::Say("451 4.3.0 try again"),
        _ => Dot::Take,
    }));
    let running = Running::start(settings(spool.path(), relay.url(), 1));
    spool.wait_until_empty();
    running.stop();
    assert_eq!(relay.record().recipients().collect::<Vec<_>>(), members("later", 3));
}

#[test]
fn a_relay_without_pipelining_is_served_alike() {
    let spool = TestSpool::new();
    spool.put_packets("3", "list@plain.example.org.1700000000.1", &[members("m", 25)]);
    let policy = Policy::new().without_pipelining().rcpt(|recipient, tries| match recipient {
        "m000007@example.org" if tries == 0 => Rcpt::Say("450 4.2.1 later"),
        _ => Rcpt::Take,
    });
    let relay = Relay::start(policy);
    let running = Running::start(settings(spool.path(), relay.url(), 1));
    spool.wait_until_empty();
    running.stop();
    assert!(relay.record().copies().values().all(|&count| count == 1));
    assert_eq!(relay.record().copies().len(), 25);
}

#[test]
fn a_scheduled_message_is_not_sent_before_its_time() {
    let spool = TestSpool::new();
    let due = now().plus(2);
    let (soon, late) = ("soon@due.example.org.1700000000.1", "late@due.example.org.1700000000.2");
    spool.put_packets("0", &format!("{soon}:at{due}"), &[members("soon", 1)]);
    spool.put_packets("0", &format!("{late}:at{}", due.plus(86400)), &[members("late", 1)]);
    spool.put_packets("9", "now@due.example.org.1700000000.3", &[members("now", 1)]);
    let early = std::sync::Arc::new(Counter::default());
    let theirs = early.clone();
    let relay = Relay::start(Policy::new().rcpt(move |recipient, _| {
        if recipient.starts_with("soon") && now() < due {
            theirs.next();
        }
        Rcpt::Take
    }));
    let running = Running::start(settings(spool.path(), relay.url(), 2));
    relay.wait_for_recipients(2);
    running.stop();
    assert_eq!(early.next(), 0, "it was sent before its time");
    assert_eq!(relay.record().recipients().collect::<Vec<_>>(), ["now000001@example.org", "soon000001@example.org"]);
    assert_eq!(spool.waiting(), [format!("0/{late}:at{}", due.plus(86400))]);
}

#[test]
fn a_deferred_recipient_that_would_be_due_after_the_expiry_has_failed() {
    // An id's time may be old; the file's own time gives it a day.
    let name = format!("list@expiry.example.org.{}.1", now());
    let spool = TestSpool::new();
    spool.put_packets("3", &name, &[members("m", 3)]);
    let relay = Relay::start(Policy::new().rcpt(|recipient, _| match recipient {
        "m000002@example.org" => Rcpt::Say("450 4.2.1 later"),
        _ => Rcpt::Take,
    }));
    let mut settings = settings(spool.path(), relay.url(), 1);
    settings.retry.expire = std::time::Duration::from_secs(3);
    let running = Running::start(settings);
    spool.wait_until_empty();
    running.stop();
    let failed = reports::failed(&relay.record().reports, &name);
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0].status, "4.4.7");
    assert!(failed[0].reply.contains("450 4.2.1 later"), "{}", failed[0].reply);
    assert_eq!(relay.record().recipients().count(), 2);
}

#[test]
fn the_sender_of_a_message_that_takes_long_is_told_now_and_then_and_at_its_end_of_the_others() {
    const ID: &str = "list@long.example.org.1700000000.1";
    let spool = TestSpool::new();
    spool.put_packets("3", ID, &[members("a", 2), members("b", 2), members("c", 2)]);
    let relay = Relay::start(
        Policy::new()
            .rcpt(|recipient, _| match recipient {
                "a000001@example.org" | "c000002@example.org" => Rcpt::Say("550 5.1.1 unknown"),
                _ => Rcpt::Take,
            })
            // Two packets take longer than the time between reports.
            .dot(|_| Dot::TakeAfter(std::time::Duration::from_millis(700))),
    );
    let mut settings = settings(spool.path(), relay.url(), 1);
    settings.report.every = std::time::Duration::from_secs(1);
    let running = Running::start(settings);
    spool.wait_until_empty();
    running.stop();
    let told: Vec<Vec<String>> = relay
        .record()
        .reports
        .iter()
        .map(|report| reports::read(report).failed.into_iter().map(|failed| failed.recipient).collect())
        .collect();
    assert_eq!(told, [["a000001@example.org"], ["c000002@example.org"]]);
}

#[test]
fn each_transaction_is_one_line_in_the_log_with_all_that_is_known_of_it() {
    const ID: &str = "list@line.example.org.1700000000.1";
    let spool = TestSpool::new();
    spool.put_packets("3", ID, &[members("m", 12)]);
    let relay = Relay::start(Policy::new().rcpt(|recipient, tries| match recipient {
        "m000002@example.org" if tries == 0 => Rcpt::Say("450 4.2.1 later"),
        _ => Rcpt::Take,
    }));
    let running = Running::start(settings(spool.path(), relay.url(), 1));
    spool.wait_until_empty();
    running.stop();
    wait_until("three lines", || log::lines_with(&["transaction", ID, "taken="]).len() == 3, String::new);
    let first = &log::lines_with(&["transaction", ID, "taken="])[0];
    for word in
        ["packet=recipients.mail.0001", "conn_use=1", "taken=9", "deferred=1", "failed=0", "delays=", "250 2.0.0 taken"]
    {
        assert!(first.contains(word), "{word}: {first}");
    }
    assert!(first.contains(&relay.url().to_string()), "{first}");
}

#[test]
fn recipients_that_an_lmtp_relay_answered_for_before_it_went_away_are_settled() {
    const ID: &str = "list@lmtp.example.org.1700000000.1";
    let spool = TestSpool::new();
    spool.put_packets("3", ID, &[members("m", 4)]);
    let dots = Counter::default();
    let relay = Scripted::start(move |line| match line {
        "." => match dots.next() {
            0 => bye("250 2.0.0 one\r\n550 5.2.1 mailbox off"),
            1 => Act::Say(b"250 2.0.0 three\r\n250 2.0.0 four\r\n".to_vec()),
            _ => Act::Say(b"250 2.0.0 the report\r\n".to_vec()),
        },
        line => usual(line, &["PIPELINING"]),
    });
    let url = format!("lmtp://{}", relay.place);
    let running = Running::start(settings(spool.path(), url.parse().unwrap(), 1));
    spool.wait_until_empty();
    running.stop();
    let rcpt = |n: usize| format!("RCPT TO:<m{n:06}@example.org>");
    let heard = relay.heard();
    let asked: Vec<usize> = (1..=4).map(|n| heard.iter().filter(|line| **line == rcpt(n)).count()).collect();
    assert_eq!(asked, [1, 1, 2, 2]);
    assert_eq!(heard.iter().filter(|line| **line == "RCPT TO:<list-owner@lmtp.example.org>").count(), 1, "the report");
}
