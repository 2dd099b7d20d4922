//! What relays do, and what becomes of whom: SMTP over real sockets.

mod support;

use std::sync::Arc;
use std::time::Duration;

use support::scripted::{Act, Scripted, bye, say, usual};
use sympa_dist::deliver::{Connection, Interrupt, Receipt, RelaySettings, Trouble};
use sympa_dist::mail::{Body, Envelope, Outcome, Reply, ReversePath};

const ALL: &[&str] = &["PIPELINING", "SIZE 100000000", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES"];
const PLAIN: &[&str] = &["SIZE 100000000", "8BITMIME", "SMTPUTF8"];
const THREE: &[&str] = &["a@example.org", "b@example.org", "c@example.org"];

fn body(wire: &[u8]) -> Body {
    assert!(wire.ends_with(b".\r\n"));
    Body { wire: wire.to_vec(), eight_bit: false, utf8_header: false, long_line: None }
}

fn hello() -> Body {
    body(b"Subject: hello\r\n\r\n..\r\nhello\r\n.\r\n")
}

fn big(octets: usize) -> Body {
    let mut wire = b"Subject: big\r\n\r\n".to_vec();
    while wire.len() < octets {
        wire.extend_from_slice(&[b'x'; 70]);
        wire.extend_from_slice(b"\r\n");
    }
    wire.extend_from_slice(b".\r\n");
    body(&wire)
}

fn settings(scheme: &str, place: &str) -> RelaySettings {
    let mut settings = RelaySettings::new(format!("{scheme}://{place}").parse().unwrap());
    settings.helo = Some("sender.test".into());
    // Long enough never to matter in a test that passes, short enough to end one that doesn't.
    settings.connect_timeout = Duration::from_secs(60);
    settings.command_timeout = Duration::from_secs(60);
    settings.dot_timeout = Duration::from_secs(60);
    settings
}

fn sender() -> ReversePath {
    ReversePath::Address("list-owner@example.org".parse().unwrap())
}

fn connect(settings: &RelaySettings) -> Result<Box<dyn Connection>, Trouble> {
    settings.build().unwrap_or_else(|error| panic!("{error}")).connect(&Interrupt::new().unwrap())
}

fn try_deliver(
    connection: &mut dyn Connection,
    recipients: &[&str],
    body: &Body,
) -> (Result<Receipt, Trouble>, Vec<Outcome>) {
    let mut outcomes = vec![Outcome::TooMany];
    let envelope = Envelope { sender: &sender(), recipients };
    let result = connection.deliver(&envelope, body, &Interrupt::new().unwrap(), &mut outcomes);
    (result, outcomes)
}

/// Delivers to three recipients over a new connection.
fn once(relay: &Scripted) -> (Result<Receipt, Trouble>, Vec<Outcome>) {
    let mut connection = connect(&settings("smtp", &relay.place)).unwrap_or_else(|error| panic!("{error}"));
    try_deliver(&mut *connection, THREE, &hello())
}

fn deferred(code: u16, text: &str) -> Outcome {
    Outcome::Deferred(Box::new(Reply::new(code, text)))
}

fn failed(code: u16, text: &str) -> Outcome {
    Outcome::Failed(Box::new(Reply::new(code, text)))
}

#[track_caller]
fn assert_unavailable(result: &Result<Receipt, Trouble>, outcomes: &[Outcome], part: &str) {
    match result {
        Err(trouble @ Trouble::Unavailable { .. }) => {
            assert!(trouble.to_string().contains(part), "{trouble} does not say {part:?}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(outcomes, []);
}

/// A relay that answers `text` to every command that begins with `verb`, pipelining or not.
fn answering(capabilities: &'static [&'static str], verb: &'static str, text: &'static str) -> Scripted {
    Scripted::start(move |line| {
        if line.starts_with(verb) && !(verb.is_empty() && !line.is_empty()) {
            say(text)
        } else {
            usual(line, capabilities)
        }
    })
}

#[test]
fn a_transaction_says_what_it_must_and_no_more() {
    for capabilities in [ALL, PLAIN] {
        let relay = Scripted::start(|line| usual(line, capabilities));
        let mut connection = connect(&settings("smtp", &relay.place)).unwrap();
        let (result, outcomes) = try_deliver(&mut *connection, THREE, &hello());
        assert_eq!(result, Ok(Receipt { reply: Reply::new(250, "2.0.0 queued") }));
        assert_eq!(outcomes, [Outcome::Sent, Outcome::Sent, Outcome::Sent]);
        assert!(!connection.is_stale());
        let (_, outcomes) = try_deliver(&mut *connection, &THREE[..1], &hello());
        assert_eq!(outcomes, [Outcome::Sent]);
        assert_eq!(
            relay.heard(),
            [
                "EHLO sender.test",
                "MAIL FROM:<list-owner@example.org> SIZE=29",
                "RCPT TO:<a@example.org>",
                "RCPT TO:<b@example.org>",
                "RCPT TO:<c@example.org>",
                "DATA",
                "MAIL FROM:<list-owner@example.org> SIZE=29",
                "RCPT TO:<a@example.org>",
                "DATA",
            ]
        );
        assert_eq!(relay.bodies(), vec![b"Subject: hello\r\n\r\n..\r\nhello\r\n".to_vec(); 2]);
    }
}

#[test]
fn a_refused_recipient_keeps_its_own_answer_and_the_others_get_the_message() {
    for capabilities in [ALL, PLAIN] {
        let relay = Scripted::start(|line| match line {
            "RCPT TO:<a@example.org>" => say("550-5.1.1 no such\r\n550 5.1.1 user"),
            "RCPT TO:<c@example.org>" => say("450 4.2.0 greylisted"),
            line => usual(line, capabilities),
        });
        let (result, outcomes) = once(&relay);
        assert_eq!(result.unwrap().reply.code, 250);
        assert_eq!(
            outcomes,
            [failed(550, "5.1.1 no such 5.1.1 user"), Outcome::Sent, deferred(450, "4.2.0 greylisted")]
        );
        assert_eq!(relay.bodies().len(), 1);
    }
}

#[test]
fn too_many_recipients_are_for_another_transaction_but_the_first_is_deferred() {
    for code in [452, 552] {
        let text = format!("{code} 4.5.3 too many recipients");
        let relay = Scripted::start(move |line| match line {
            "RCPT TO:<a@example.org>" | "RCPT TO:<c@example.org>" => say(&text),
            line => usual(line, ALL),
        });
        let (result, outcomes) = once(&relay);
        assert_eq!(result.unwrap().reply.code, 250);
        assert_eq!(outcomes, [deferred(code, "4.5.3 too many recipients"), Outcome::Sent, Outcome::TooMany]);
    }
}

#[test]
fn a_relay_that_takes_nobody_gets_no_message_and_the_connection_goes_on() {
    for capabilities in [ALL, PLAIN] {
        let relay = Scripted::start(|line| match line {
            "RCPT TO:<z@example.org>" => usual(line, capabilities),
            line if line.starts_with("RCPT") => say("550 5.1.1 no"),
            line => usual(line, capabilities),
        });
        let mut connection = connect(&settings("smtp", &relay.place)).unwrap();
        let (result, outcomes) = try_deliver(&mut *connection, THREE, &hello());
        assert!(result.is_ok());
        assert_eq!(outcomes, vec![failed(550, "5.1.1 no"); 3]);
        // 354 though nobody was taken is ended by a lone dot; without PIPELINING, DATA isn't even asked.
        let lone: &[&[u8]] = if capabilities == ALL { &[b""] } else { &[] };
        assert_eq!(relay.bodies(), lone);
        let (result, outcomes) = try_deliver(&mut *connection, &["z@example.org"], &hello());
        assert!(result.is_ok(), "{result:?}");
        assert_eq!(outcomes, [Outcome::Sent]);
        assert_eq!(relay.heard().iter().any(|line| line == "RSET"), capabilities == PLAIN);
    }
}

#[test]
fn a_refused_mail_or_data_or_dot_is_everybodys_answer_and_refused_recipients_keep_theirs() {
    for capabilities in [ALL, PLAIN] {
        for (verb, text, of_b) in [
            ("MAIL", "451 4.3.0 later", deferred(451, "4.3.0 later")),
            ("MAIL", "552 5.3.4 too big", failed(552, "5.3.4 too big")),
            ("DATA", "451 4.3.0 later", deferred(451, "4.3.0 later")),
            ("DATA", "554 5.7.1 spam", failed(554, "5.7.1 spam")),
            (".", "452 4.3.1 disk full", deferred(452, "4.3.1 disk full")),
            (".", "554 5.7.1 spam", failed(554, "5.7.1 spam")),
        ] {
            let relay = Scripted::start(move |line| match line {
                _ if line.starts_with(verb) => say(text),
                "RCPT TO:<a@example.org>" if verb == "MAIL" => say("503 5.5.1 MAIL first"),
                "RCPT TO:<a@example.org>" => say("550 5.1.1 no"),
                "DATA" if verb == "MAIL" => say("503 5.5.1 MAIL first"),
                line => usual(line, capabilities),
            });
            let mut connection = connect(&settings("smtp", &relay.place)).unwrap();
            let (result, outcomes) = try_deliver(&mut *connection, THREE, &hello());
            assert_eq!(result.unwrap().reply.to_string(), text);
            let of_a = if verb == "MAIL" { of_b.clone() } else { failed(550, "5.1.1 no") };
            assert_eq!(outcomes, [of_a, of_b.clone(), of_b], "{verb} {text}");
            // The relay is where it was: the next transaction can begin.
            assert!(!connection.is_stale());
            try_deliver(&mut *connection, THREE, &hello()).0.unwrap();
            let resets = relay.heard().iter().filter(|line| *line == "RSET").count();
            assert_eq!(resets, usize::from(verb == "DATA"), "{verb}");
        }
    }
}

#[test]
fn a_message_for_nobody_after_a_refused_mail_is_ended_by_a_lone_dot() {
    let relay = answering(ALL, "MAIL", "550 5.7.1 not you");
    let (result, outcomes) = once(&relay);
    assert_eq!(result.unwrap().reply, Reply::new(550, "5.7.1 not you"));
    assert_eq!(outcomes, vec![failed(550, "5.7.1 not you"); 3]);
    assert_eq!(relay.bodies(), [b""]);
}

#[test]
fn a_421_blames_nobody_wherever_it_comes() {
    for capabilities in [ALL, PLAIN] {
        for verb in ["MAIL", "RCPT", "RCPT TO:<c", "DATA", "."] {
            let relay = Scripted::start(move |line| {
                if line.starts_with(verb) { bye("421 4.3.2 closing") } else { usual(line, capabilities) }
            });
            let (result, outcomes) = once(&relay);
            assert_unavailable(&result, &outcomes, "421 4.3.2 closing");
        }
    }
}

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
fn a_relay_without_ehlo_is_greeted_with_helo() {
    let relay = answering(ALL, "EHLO", "502 5.5.1 what?");
    let (result, outcomes) = once(&relay);
    assert!(result.is_ok());
    assert_eq!(outcomes, vec![Outcome::Sent; 3]);
    assert_eq!(relay.heard()[..3], ["EHLO sender.test", "HELO sender.test", "MAIL FROM:<list-owner@example.org>"]);
}

#[test]
fn a_connection_lost_before_the_dot_means_that_nobody_got_it() {
    for capabilities in [ALL, PLAIN] {
        for verb in ["MAIL", "RCPT TO:<c", "DATA"] {
            let relay =
                Scripted::start(move |line| if line.starts_with(verb) { bye("") } else { usual(line, capabilities) });
            let (result, outcomes) = once(&relay);
            assert_unavailable(&result, &outcomes, verb.split(' ').next().unwrap());
        }
    }
}

#[test]
fn a_connection_lost_behind_the_dot_is_uncertain() {
    let relay = Scripted::start(|line| if line == "." { bye("") } else { usual(line, ALL) });
    let (result, outcomes) = once(&relay);
    assert!(matches!(result, Err(Trouble::Uncertain { .. })), "{result:?}");
    assert_eq!(outcomes, []);
}

#[test]
fn nonsense_before_the_dot_is_unavailable_and_behind_it_uncertain() {
    let long: &'static str = Box::leak("250-no end\r\n".repeat(10_000).into_boxed_str());
    let line: &'static str = Box::leak("2".repeat(5_000).into_boxed_str());
    for text in ["hello", "250-a\r\n550 b", long, line, "199 x", "354 go on"] {
        for verb in ["MAIL", "RCPT", "DATA", "."] {
            if (verb, text) == ("DATA", "354 go on") {
                continue;
            }
            let relay = answering(ALL, verb, text);
            let (result, outcomes) = once(&relay);
            match (verb, &result) {
                (".", Err(Trouble::Uncertain { why, .. })) => assert!(why.contains("protocol error"), "{why}"),
                (".", other) => panic!("{other:?}"),
                _ => assert_unavailable(&result, &outcomes, "protocol error"),
            }
            assert_eq!(outcomes, []);
        }
    }
    let relay = answering(ALL, "DATA", "250 sure");
    let (result, outcomes) = once(&relay);
    assert_unavailable(&result, &outcomes, "DATA: protocol error: unexpected answer 250 sure");
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
fn an_answer_in_the_middle_of_the_message_is_the_answer() {
    for (text, expected) in [
        ("552 5.3.4 too big\r\n", Some(failed(552, "5.3.4 too big"))),
        ("451 4.3.0 enough\r\n", Some(deferred(451, "4.3.0 enough"))),
        ("421 4.3.2 closing\r\n", None),
        ("", None),
    ] {
        let relay = Scripted::start(move |line| match line {
            "DATA" => Act::Cut("354 go ahead\r\n", 100_000, text),
            line => usual(line, ALL),
        });
        let mut connection = connect(&settings("smtp", &relay.place)).unwrap();
        let (result, outcomes) = try_deliver(&mut *connection, &THREE[..1], &big(64 << 20));
        match expected {
            Some(outcome) => {
                assert!(result.is_ok(), "{result:?}");
                assert_eq!(outcomes, [outcome]);
                assert!(connection.is_stale(), "half a message is on its way");
            }
            None => assert_unavailable(&result, &outcomes, if text.is_empty() { "message" } else { "421" }),
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
fn parameters_of_mail_say_what_the_message_needs_if_the_relay_offers_it() {
    let needs = |eight_bit, utf8_header| Body { eight_bit, utf8_header, ..body(b"x\r\n.\r\n") };
    for (capabilities, body, recipient, expected) in [
        (ALL, needs(false, false), "a@example.org", " SIZE=3"),
        (ALL, needs(true, false), "a@example.org", " SIZE=3 BODY=8BITMIME"),
        (ALL, needs(true, true), "a@example.org", " SIZE=3 BODY=8BITMIME SMTPUTF8"),
        (ALL, needs(false, false), "ä@example.org", " SIZE=3 SMTPUTF8"),
        (&["8BITMIME", "SIZE"], needs(true, true), "a@example.org", " SIZE=3 BODY=8BITMIME"),
        (&["8BITMIME"], needs(true, true), "a@example.org", " BODY=8BITMIME"),
        (&[], needs(false, false), "a@example.org", ""),
    ] as [(&'static [&'static str], _, _, _); 7]
    {
        let relay = Scripted::start(move |line| usual(line, capabilities));
        let mut connection = connect(&settings("smtp", &relay.place)).unwrap();
        let (result, outcomes) = try_deliver(&mut *connection, &[recipient], &body);
        assert!(result.is_ok(), "{result:?}");
        assert_eq!(outcomes, [Outcome::Sent]);
        assert_eq!(relay.heard()[1], format!("MAIL FROM:<list-owner@example.org>{expected}"));
    }
}

#[test]
fn the_null_sender_is_an_empty_path() {
    let relay = Scripted::start(|line| usual(line, ALL));
    let mut connection = connect(&settings("smtp", &relay.place)).unwrap();
    let envelope = Envelope { sender: &ReversePath::Null, recipients: THREE };
    let mut outcomes = Vec::new();
    connection.deliver(&envelope, &hello(), &Interrupt::new().unwrap(), &mut outcomes).unwrap();
    assert_eq!(relay.heard()[1], "MAIL FROM:<> SIZE=29");
}

#[test]
fn a_message_that_the_relay_cannot_carry_is_not_begun() {
    let eight_bit = Body { eight_bit: true, ..hello() };
    for (capabilities, body, part) in [
        (&["SIZE 28"], hello(), "the message has 29 octets, and the relay takes no more than 28"),
        (&["SIZE 29"], eight_bit, "the relay does not offer 8BITMIME"),
    ] as [(&'static [&'static str], _, _); 2]
    {
        let relay = Scripted::start(move |line| usual(line, capabilities));
        let mut connection = connect(&settings("smtp", &relay.place)).unwrap();
        let (result, outcomes) = try_deliver(&mut *connection, THREE, &body);
        assert!(matches!(&result, Err(Trouble::Unfit { why, .. }) if why.contains(part)), "{result:?}");
        assert_eq!(outcomes, []);
        assert_eq!(relay.heard(), ["EHLO sender.test"]);
    }
    let relay = Scripted::start(|line| usual(line, &["SIZE 29"]));
    let mut connection = connect(&settings("smtp", &relay.place)).unwrap();
    assert!(try_deliver(&mut *connection, THREE, &hello()).0.is_ok());
}

#[test]
fn without_smtputf8_only_internationalised_recipients_fail() {
    let relay = Scripted::start(|line| usual(line, &["PIPELINING"]));
    let mut connection = connect(&settings("smtp", &relay.place)).unwrap();
    let (result, outcomes) = try_deliver(&mut *connection, &["ä@example.org", "b@example.org"], &hello());
    assert!(result.is_ok());
    let refused = failed(553, "5.6.7 the relay takes no internationalised addresses");
    assert_eq!(outcomes, [refused.clone(), Outcome::Sent]);
    // Nobody is left to ask about: the relay hears nothing.
    let before = relay.heard().len();
    let (result, outcomes) = try_deliver(&mut *connection, &["ä@example.org"], &hello());
    assert!(result.is_ok());
    assert_eq!((outcomes, relay.heard().len()), (vec![refused], before));
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
    assert!(connection.is_stale());
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

// LMTP

const LMTP: &[&str] = &["PIPELINING", "8BITMIME", "ENHANCEDSTATUSCODES"];

#[test]
fn an_lmtp_store_answers_for_each_recipient() {
    let scratch = tempfile::tempdir().unwrap();
    let script = |line: &str| match line {
        "." => Act::Say(b"250 2.1.5 a\r\n452 4.2.2 full\r\n550 5.2.1 off\r\n".to_vec()),
        "RCPT TO:<b@example.org>" => say("550 5.1.1 no"),
        line => usual(line, LMTP),
    };
    let tcp = Scripted::start(script);
    let unix = Scripted::start_unix(scratch.path().join("lmtp"), script);
    for store in [tcp, unix] {
        let mut connection = connect(&settings("lmtp", &store.place)).unwrap();
        let recipients = ["a@example.org", "b@example.org", "c@example.org", "d@example.org"];
        let (result, outcomes) = try_deliver(&mut *connection, &recipients, &hello());
        assert_eq!(result, Ok(Receipt { reply: Reply::new(250, "2.1.5 a") }));
        assert_eq!(
            outcomes,
            [Outcome::Sent, failed(550, "5.1.1 no"), deferred(452, "4.2.2 full"), failed(550, "5.2.1 off")]
        );
        assert_eq!(store.heard()[0], "LHLO sender.test");
        assert!(!connection.is_stale());
    }
}

#[test]
fn an_lmtp_store_that_dies_between_two_answers_leaves_the_rest_uncertain() {
    let store = Scripted::start(|line| match line {
        "." => Act::Bye(b"250 a\r\n550 5.2.1 c\r\n25".to_vec()),
        "RCPT TO:<b@example.org>" => say("450 4.2.1 no"),
        line => usual(line, LMTP),
    });
    let mut connection = connect(&settings("lmtp", &store.place)).unwrap();
    let recipients = ["a@example.org", "b@example.org", "c@example.org", "d@example.org", "e@example.org"];
    let (result, outcomes) = try_deliver(&mut *connection, &recipients, &hello());
    assert!(matches!(result, Err(Trouble::Uncertain { .. })), "{result:?}");
    assert_eq!(outcomes, [Outcome::Sent, deferred(450, "4.2.1 no"), failed(550, "5.2.1 c")]);
}

#[test]
fn an_lmtp_store_that_closes_with_421_is_unavailable_unless_somebody_is_settled() {
    let store = Scripted::start(|line| if line == "." { bye("421 4.3.2 closing") } else { usual(line, LMTP) });
    let mut connection = connect(&settings("lmtp", &store.place)).unwrap();
    let (result, outcomes) = try_deliver(&mut *connection, THREE, &hello());
    assert_unavailable(&result, &outcomes, "421");

    let store = Scripted::start(|line| match line {
        "." => Act::Bye(b"250 a\r\n421 4.3.2 closing\r\n".to_vec()),
        line => usual(line, LMTP),
    });
    let mut connection = connect(&settings("lmtp", &store.place)).unwrap();
    let (result, outcomes) = try_deliver(&mut *connection, THREE, &hello());
    assert!(matches!(result, Err(Trouble::Uncertain { .. })), "{result:?}");
    assert_eq!(outcomes, [Outcome::Sent, deferred(421, "4.3.2 closing")]);
}

#[test]
fn an_lmtp_store_that_takes_nobody_gets_no_message() {
    let store = answering(LMTP, "RCPT", "550 5.1.1 no");
    let mut connection = connect(&settings("lmtp", &store.place)).unwrap();
    let (result, outcomes) = try_deliver(&mut *connection, THREE, &hello());
    assert!(result.is_ok());
    assert_eq!(outcomes, vec![failed(550, "5.1.1 no"); 3]);
    assert!(connection.is_stale(), "the store waits for a message that nobody is to get");
}
