//! Reaching a relay, waiting for it, and being interrupted meanwhile.

mod support;

use std::sync::Arc;
use std::time::Duration;

use support::delivery::*;
use support::scripted::{Act, Scripted, usual};
use sympa_dist::deliver::{Interrupt, Receipt, Trouble};
use sympa_dist::mail::{Envelope, Outcome};

#[test]
fn a_relay_that_does_not_want_to_talk_is_unavailable() {
    for (verb, text) in [
        ("", "554 5.7.1 go away"),
        ("", "421 4.3.2 busy"),
        ("", "250 confused"),
        ("EHLO", "421 4.3.2 busy"),
        ("EHLO", "451 4.3.0 later"),
        ("EHLO", "354 confused"),
    ] {
        let relay = answering(ALL, verb, text);
        match connect(&settings("smtp", &relay.place)) {
            Err(trouble @ Trouble::Unavailable { .. }) => {
                assert!(trouble.to_string().contains(text), "{trouble}");
            }
            other => panic!("{:?}", other.err()),
        }
    }
}

#[test]
fn a_relay_that_never_answers_is_given_up() {
    for verb in ["MAIL", "DATA", "."] {
        let relay = Scripted::start(move |line| if line.starts_with(verb) { Act::Hang } else { usual(line, ALL) });
        let mut settings = settings("smtp", &relay.place);
        settings.command_timeout = Duration::from_millis(200);
        settings.dot_timeout = Duration::from_millis(200);
        let mut connection = connect(&settings).unwrap();
        let (result, outcomes) = try_deliver(&mut *connection, THREE, &hello());
        match (verb, &result) {
            (".", Err(Trouble::Uncertain { why, .. })) => assert_eq!(why, "no answer within 200 ms"),
            (".", other) => panic!("{other:?}"),
            _ => assert_unavailable(&result, &outcomes, "no answer within 200 ms"),
        }
    }
}

#[test]
fn a_group_larger_than_all_windows_does_not_lock_up() {
    // Answers long enough that the answers to a part of the group fill the windows, too.
    let answer: &'static str = Box::leak(format!("250 {}", "x".repeat(400)).into_boxed_str());
    let relay = answering(ALL, "RCPT", answer);
    let addresses: Vec<String> = (0..60_000).map(|i| format!("{}{i}@example.org", "y".repeat(200))).collect();
    let recipients: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let mut connection = connect(&settings("smtp", &relay.place)).unwrap();
    let (result, outcomes) = try_deliver(&mut *connection, &recipients, &hello());
    assert!(result.is_ok(), "{result:?}");
    assert!(outcomes.len() == 60_000 && outcomes.iter().all(|outcome| *outcome == Outcome::Sent));
}

#[test]
fn a_relay_that_reads_nothing_is_given_up() {
    let relay = Scripted::start(|line| if line.starts_with("MAIL") { Act::Hang } else { usual(line, ALL) });
    let addresses: Vec<String> = (0..60_000).map(|i| format!("{}{i}@example.org", "y".repeat(200))).collect();
    let recipients: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let mut settings = settings("smtp", &relay.place);
    settings.command_timeout = Duration::from_millis(300);
    let mut connection = connect(&settings).unwrap();
    let (result, outcomes) = try_deliver(&mut *connection, &recipients, &hello());
    assert_unavailable(&result, &outcomes, "no answer within 300 ms");
}

#[test]
fn announced_limits_are_kept() {
    let relay = Scripted::start(|line| usual(line, &["PIPELINING", "LIMITS RCPTMAX=2 MAILMAX=2"]));
    let mut connection = connect(&settings("smtp", &relay.place)).unwrap();
    let (result, outcomes) = try_deliver(&mut *connection, THREE, &hello());
    assert!(result.is_ok());
    assert_eq!(outcomes, [Outcome::Sent, Outcome::Sent, Outcome::TooMany]);
    assert!(!connection.is_stale());
    assert!(try_deliver(&mut *connection, &THREE[2..], &hello()).0.is_ok());
    assert!(connection.is_stale(), "two transactions are all this connection may have");
    assert!(!relay.heard().iter().take(5).any(|line| line.contains("<c@")));
}

#[test]
fn an_idle_connection_that_the_relay_closed_is_stale() {
    let relay = Scripted::start(|line| usual(line, ALL));
    let mut connection = connect(&settings("smtp", &relay.place)).unwrap();
    try_deliver(&mut *connection, THREE, &hello()).0.unwrap();
    assert!(!connection.is_stale());
    drop(relay);
    support::spool::wait_until("it is seen once it has been idle", || connection.is_stale(), String::new);
    connection.close();
}

#[test]
fn a_goodbye_is_said_and_not_waited_for() {
    let relay = Scripted::start(|line| if line == "QUIT" { Act::Hang } else { usual(line, ALL) });
    connect(&settings("smtp", &relay.place)).unwrap().close();
    while relay.heard().last().map(String::as_str) != Some("QUIT") {
        std::thread::yield_now();
    }
}

#[test]
fn a_relay_that_cannot_be_reached_is_unavailable() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let trouble = connect(&settings("smtp", &free.to_string())).err().expect("trouble");
    assert!(trouble.to_string().contains("cannot connect: Connection refused"), "{trouble}");
    let trouble = connect(&settings("smtp", "no-such-host.invalid")).err().expect("trouble");
    assert!(trouble.to_string().contains("cannot find its address"), "{trouble}");
    let trouble = connect(&settings("lmtp", "/nonexistent/socket")).err().expect("trouble");
    assert!(trouble.to_string().contains("cannot connect: No such file"), "{trouble}");
}

#[test]
fn a_host_is_found_by_its_name() {
    let relay = Scripted::start(|line| usual(line, ALL));
    let port = relay.place.rsplit(':').next().unwrap();
    assert!(connect(&settings("smtp", &format!("localhost:{port}"))).is_ok());
}

/// Delivers in a thread, and interrupts as soon as the relay says so. Returns what came of it.
fn interrupted(
    grace: Duration,
    script: impl Fn(&str, &dyn Fn()) -> Act + Send + Sync + 'static,
) -> (Result<Receipt, Trouble>, Vec<Outcome>) {
    let interrupt = Arc::new(Interrupt::new().unwrap());
    let theirs = Arc::clone(&interrupt);
    let relay = Scripted::start(move |line| script(line, &|| theirs.raise(grace)));
    let mut connection = connect(&settings("smtp", &relay.place)).unwrap();
    let mut outcomes = Vec::new();
    let envelope = Envelope { sender: &sender(), recipients: THREE };
    let result = connection.deliver(&envelope, &hello(), &interrupt, &mut outcomes);
    (result, outcomes)
}

#[test]
fn an_interrupt_before_the_dot_ends_the_transaction_at_once() {
    for verb in ["MAIL", "RCPT", "DATA"] {
        let (result, outcomes) = interrupted(Duration::from_secs(3600), move |line, interrupt| {
            if line.starts_with(verb) {
                interrupt();
                Act::Hang
            } else {
                usual(line, ALL)
            }
        });
        assert!(matches!(result, Err(Trouble::Interrupted { .. })), "{result:?}");
        assert_eq!(outcomes, []);
    }
}

#[test]
fn an_answer_within_the_grace_behind_the_dot_counts() {
    let (result, outcomes) = interrupted(Duration::from_secs(3600), |line, interrupt| {
        if line == "." {
            interrupt();
        }
        usual(line, ALL)
    });
    assert_eq!(result.unwrap().reply.code, 250);
    assert_eq!(outcomes, vec![Outcome::Sent; 3]);
}

#[test]
fn no_answer_within_the_grace_behind_the_dot_is_uncertain() {
    let (result, outcomes) = interrupted(Duration::from_millis(200), |line, interrupt| {
        if line == "." {
            interrupt();
            Act::Hang
        } else {
            usual(line, ALL)
        }
    });
    match result {
        Err(Trouble::Uncertain { why, .. }) => assert_eq!(why, "no answer within the time left at shutdown"),
        other => panic!("{other:?}"),
    }
    assert_eq!(outcomes, []);
}

#[test]
fn an_interrupt_while_the_message_is_being_written_means_that_nobody_got_it() {
    let interrupt = Arc::new(Interrupt::new().unwrap());
    let theirs = Arc::clone(&interrupt);
    let relay = Scripted::start(move |line| match line {
        "DATA" => Act::Then("354 go ahead\r\n", 100_000, {
            let theirs = Arc::clone(&theirs);
            Box::new(move || theirs.raise(Duration::from_secs(3600)))
        }),
        line => usual(line, ALL),
    });
    let mut connection = connect(&settings("smtp", &relay.place)).unwrap();
    let mut outcomes = Vec::new();
    let envelope = Envelope { sender: &sender(), recipients: THREE };
    let result = connection.deliver(&envelope, &big(64 << 20), &interrupt, &mut outcomes);
    assert!(matches!(result, Err(Trouble::Interrupted { .. })), "{result:?}");
}

#[test]
fn an_interrupt_that_came_earlier_lets_nothing_begin() {
    let relay = Scripted::start(|line| usual(line, ALL));
    let interrupt = Interrupt::new().unwrap();
    let built = settings("smtp", &relay.place).build().unwrap();
    let mut connection = built.connect(&interrupt).unwrap();
    interrupt.raise(Duration::from_secs(3600));
    let mut outcomes = Vec::new();
    let envelope = Envelope { sender: &sender(), recipients: THREE };
    let result = connection.deliver(&envelope, &hello(), &interrupt, &mut outcomes);
    assert!(matches!(result, Err(Trouble::Interrupted { .. })), "{result:?}");
    assert!(matches!(built.connect(&interrupt).err(), Some(Trouble::Interrupted { .. })));
    assert_eq!(relay.heard(), ["EHLO sender.test"]);
}
