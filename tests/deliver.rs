//! What a relay answers in a transaction, and what becomes of whom: SMTP over real sockets.

mod support;

use proptest::prelude::*;

use support::delivery::*;
use support::scripted::{Act, Scripted, bye, say, usual};
use sympa_dist::deliver::{Interrupt, Receipt, Trouble};
use sympa_dist::mail::{Body, Envelope, Outcome, Reply, ReversePath};

#[test]
fn a_transaction_says_what_it_must_and_no_more() {
    for capabilities in [ALL, PLAIN] {
        let relay = Scripted::start(|line| usual(line, capabilities));
        let mut connection = connect(&settings("smtp", &relay.place)).unwrap();
        let (result, outcomes) = try_deliver(&mut *connection, THREE, &hello());
        assert_eq!(result, Ok(Receipt { reply: Reply::new(250, "2.0.0 queued"), about_all: true }));
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
fn an_answer_too_many_is_not_taken_for_the_answer_to_the_dot() {
    for (verb, text) in [("DATA", "354 go ahead\r\n250 2.0.0 queued"), ("RCPT TO:<b", "250 ok\r\n250 ok")] {
        let relay = answering(ALL, verb, text);
        let (result, outcomes) = once(&relay);
        assert_unavailable(&result, &outcomes, "protocol error");
        assert!(relay.bodies().is_empty());
    }
}

/// The rules of a transaction without any wire: who gets which outcome, from the codes alone.
fn by_the_book(mail: u16, rcpts: &[u16], data: u16, dot: u16) -> Vec<Outcome> {
    let refusal = |code| if code / 100 == 5 { failed(code, "text") } else { deferred(code, "text") };
    let outcomes = rcpts.iter().enumerate().map(|(i, &code)| match code {
        _ if mail != 250 => refusal(mail),
        250 => [data, dot].into_iter().find(|code| *code >= 400).map_or(Outcome::Sent, refusal),
        // Too many is what comes behind those that were taken; a relay that takes one more meant this recipient.
        452 | 552 if rcpts[..i].contains(&250) && !rcpts[i..].contains(&250) => Outcome::TooMany,
        452 | 552 => deferred(code, "text"),
        code => refusal(code),
    });
    outcomes.collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn outcomes_follow_the_rules_with_and_without_pipelining_time_after_time(
        mail in prop::sample::select(&[250, 250, 250, 451, 550][..]),
        rcpts in prop::collection::vec(prop::sample::select(&[250, 250, 450, 550, 452, 552][..]), 1..8),
        data in prop::sample::select(&[354, 354, 354, 451, 554][..]),
        dot in prop::sample::select(&[250, 250, 452, 552, 554][..]),
    ) {
        let expected = by_the_book(mail, &rcpts, data, dot);
        let addresses: Vec<String> = (0..rcpts.len()).map(|i| format!("{i}@example.org")).collect();
        let recipients: Vec<&str> = addresses.iter().map(String::as_str).collect();
        for capabilities in [ALL, PLAIN] {
            let codes = rcpts.clone();
            let relay = Scripted::start(move |line| {
                let code = match line.strip_prefix("RCPT TO:<").and_then(|rest| rest.split('@').next()) {
                    Some(i) => codes[i.parse::<usize>().expect("a number")],
                    None if line.starts_with("MAIL") => mail,
                    None if line == "DATA" => data,
                    None if line == "." => dot,
                    None => return usual(line, capabilities),
                };
                say(&format!("{code} text"))
            });
            let mut connection = connect(&settings("smtp", &relay.place)).unwrap();
            for _ in 0..2 {
                let (result, outcomes) = try_deliver(&mut *connection, &recipients, &hello());
                prop_assert!(result.is_ok(), "{:?}", result);
                prop_assert_eq!(&outcomes, &expected);
                prop_assert!(!connection.is_stale());
            }
        }
    }
}
