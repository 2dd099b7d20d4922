//! What a relay says, as the client takes it: a whole transaction over a loopback socket with one hostile answer in it.

use std::net::TcpListener;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use sympa_dist::deliver::settings::Starttls;
use sympa_dist::deliver::{Interrupt, Receipt, RelaySettings, Trouble};
use sympa_dist::mail::{Envelope, Outcome, Reply};

use crate::inputs::mutated;
use crate::memory::peak_of;
use crate::oracle::{self, Answer};
use crate::server::{self, End, Script, Step};
use crate::support::delivery::{THREE, hello, sender, settings};
use crate::target::{self, Verdict};

/// Far above what one connection is meant to need, far below what a relay without end says.
const MEMORY: usize = 1024 * 1024;

const PIECES: &[&str] = &[
    "250",
    "250 ",
    "250-",
    "220 ",
    "354 ",
    "421 ",
    "450 4.2.1 busy",
    "452 ",
    "550 5.1.1 no",
    "552-",
    "199 ",
    "650 ",
    "2",
    "\r\n",
    "\n",
    "\r",
    "\0",
    "é",
    "\u{85}",
    "5.1.1 ",
    "250-SIZE 5\r\n",
    "250-PIPELINING\r\n",
    "250-LIMITS RCPTMAX=1\r\n",
];

fn step() -> impl Strategy<Value = Step> {
    let rcpt = (0..3_usize).prop_map(Step::Rcpt);
    let other = select(&[Step::Greeting, Step::Hello, Step::Mail, Step::Data, Step::Dot, Step::Dot][..]);
    prop_oneof![1 => rcpt, 2 => other]
}

fn reply() -> impl Strategy<Value = Vec<u8>> {
    let code =
        prop_oneof![select(&[220, 250, 250, 251, 354, 421, 450, 451, 452, 500, 550, 552, 554][..]), 200..600_u16];
    let text = prop_oneof![
        4 => "([245]\\.[0-9]\\.[0-9]{1,3} )?[ -~]{0,30}",
        1 => "[é漢\u{85}\u{1b} a-z\t]{0,20}",
        1 => "[a-z]{500,520}",
    ];
    let lines = prop_oneof![4 => vec(text, 1..4), 1 => vec("[a-z]{0,3}", 1..60)];
    (code, lines, select(&["\r\n", "\n"][..])).prop_map(|(code, lines, end)| {
        let last = lines.len() - 1;
        let line = |(at, text): (usize, &String)| format!("{code}{}{text}{end}", if at == last { ' ' } else { '-' });
        lines.iter().enumerate().map(line).collect::<String>().into_bytes()
    })
}

/// Lines and replies about as long as they may be, and without end.
fn long() -> impl Strategy<Value = Vec<u8>> {
    let line = (4085..4105_usize, select(&[b'x', 0, b'\r', 0xff][..]))
        .prop_map(|(length, octet)| [b"250-a\r\n250 ".to_vec(), vec![octet; length], b"\r\n".to_vec()].concat());
    let reply = (60..=72_usize).prop_map(|lines| {
        let line = [b"250-".to_vec(), vec![b'y'; 1018], b"\r\n".to_vec()].concat();
        [line.repeat(lines), b"250 end\r\n".to_vec()].concat()
    });
    let endless = select(&["250-x\r\n", "\0", "2", "\r", "250-x\r\n250-\0\n"][..])
        .prop_map(|of| of.as_bytes().repeat(200_000 / of.len()));
    prop_oneof![2 => line, 2 => reply, 1 => endless]
}

fn answer() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => reply(),
        10 => mutated(reply(), PIECES),
        3 => vec(select(PIECES), 0..8).prop_map(|pieces| pieces.concat().into_bytes()),
        2 => vec(any::<u8>(), 0..200),
        2 => long(),
    ]
}

fn script() -> impl Strategy<Value = Script> {
    let pieces =
        prop_oneof![1 => Just(vec![usize::MAX]), 2 => vec(1..40_usize, 1..40), 1 => vec(500..5000_usize, 1..15)];
    (any::<bool>(), step(), answer(), pieces, select(&[End::HangUp, End::HangUp, End::Silence][..]))
        .prop_map(|(pipelining, step, answer, pieces, end)| Script { pipelining, step, answer, pieces, end: Some(end) })
}

type Told = (Result<Receipt, Trouble>, Vec<Outcome>);

/// One transaction with that script. Behind the answer, if no more comes, the client is interrupted.
fn converse(listener: &TcpListener, settings: &RelaySettings, script: &Script) -> Told {
    let interrupt = Interrupt::new().unwrap();
    let relay = settings.build().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            server::serve(listener, script, || {
                if script.end == Some(End::Silence) {
                    interrupt.raise(Duration::ZERO);
                }
            })
        });
        let mut outcomes = Vec::new();
        let result = relay.connect(&interrupt).and_then(|mut connection| {
            let envelope = Envelope { sender: &sender(), recipients: THREE };
            connection.deliver(&envelope, &hello(), &interrupt, &mut outcomes)
        });
        (result, outcomes)
    })
}

fn own_settings(listener: &TcpListener) -> RelaySettings {
    let mut settings = settings("smtp", &listener.local_addr().unwrap().to_string());
    settings.starttls = Starttls::Never;
    settings
}

/// What becomes of a transaction in which `reply` is the answer to `step`, by RFC 5321 and what the client promises.
fn judge(step: Step, reply: Reply, (result, outcomes): &Told) -> Verdict {
    let refused = |reply: &Reply| match reply.code / 100 {
        5 => Outcome::Failed(Box::new(reply.clone())),
        _ => Outcome::Deferred(Box::new(reply.clone())),
    };
    let said = || matches!(result, Err(Trouble::Unavailable { reply: Some(said), .. }) if **said == reply);
    let ok = || result.as_ref().is_ok_and(|receipt| receipt.reply.code == 250);
    let fine = match (step, reply.code / 100) {
        (_, _) if reply.code == 421 => said() && outcomes.is_empty(),
        (Step::Greeting, 2) if reply.code == 220 => ok() && outcomes == &[Outcome::Sent, Outcome::Sent, Outcome::Sent],
        // Its text may be anything, and with it what the relay is taken to be able to do.
        (Step::Hello, 2) if reply.code == 250 => matches!(result, Ok(_) | Err(Trouble::Unfit { .. })),
        (Step::Hello, 5) => ok() && *outcomes == [Outcome::Sent, Outcome::Sent, Outcome::Sent],
        (Step::Greeting | Step::Hello, 4 | 5) => said() && outcomes.is_empty(),
        (Step::Mail, 2) => ok() && *outcomes == [Outcome::Sent, Outcome::Sent, Outcome::Sent],
        (Step::Rcpt(_), 2) => ok() && *outcomes == [Outcome::Sent, Outcome::Sent, Outcome::Sent],
        (Step::Rcpt(n), 4 | 5) => {
            let mut expected = vec![Outcome::Sent; 3];
            expected[n] = match reply.code {
                452 | 552 if n == 2 => Outcome::TooMany,
                // Nobody was taken before, and its status names something else than too many.
                552 if n == 0 && reply.enhanced.is_some_and(|status| status.subject != 5) => refused(&reply),
                552 => Outcome::Deferred(Box::new(reply.clone())),
                _ => refused(&reply),
            };
            ok() && *outcomes == expected
        }
        (Step::Data, 3) if reply.code == 354 => ok() && *outcomes == [Outcome::Sent, Outcome::Sent, Outcome::Sent],
        (Step::Mail | Step::Data | Step::Dot, 4 | 5) => {
            result.as_ref().is_ok_and(|receipt| receipt.reply == reply) && *outcomes == vec![refused(&reply); 3]
        }
        (Step::Dot, 2) => {
            result.as_ref().is_ok_and(|receipt| receipt.reply == reply) && *outcomes == vec![Outcome::Sent; 3]
        }
        (Step::Dot, _) => matches!(result, Err(Trouble::Uncertain { .. })) && outcomes.is_empty(),
        _ => matches!(result, Err(Trouble::Unavailable { reply: None, .. })) && outcomes.is_empty(),
    };
    prop_assert!(fine, "{:?} answered with {}: {:?}, {:?}", step, reply, result, outcomes);
    Ok(())
}

#[test]
fn an_answer_is_taken_for_what_it_says_and_anything_else_is_the_relays_trouble() {
    let listener = server::listen();
    let settings = own_settings(&listener);
    target::run("replies", 1000, script(), |mut script| {
        let read = oracle::answer(&script.answer);
        if let Answer::Whole(length, ..) = read {
            script.answer.truncate(length);
            script.end = None;
        }
        let (told, peak) = peak_of(|| converse(&listener, &settings, &script));
        prop_assert!(peak < MEMORY, "{} octets", peak);
        let (result, outcomes) = &told;
        match read {
            Answer::Whole(_, code, text) => {
                let reply = Reply::new(code, &text);
                prop_assert_eq!(&*reply.text, text.as_str());
                judge(script.step, reply, &told)?;
            }
            Answer::Half | Answer::Nonsense => {
                prop_assert!(outcomes.is_empty(), "{:?}", outcomes);
                let fine = match (result, script.step) {
                    (Err(Trouble::Uncertain { .. }), step) => step == Step::Dot,
                    (Err(Trouble::Unavailable { reply: None, .. }), step) => step != Step::Dot,
                    // Who is interrupted may not have read the nonsense yet.
                    (Err(Trouble::Interrupted { .. }), step) => step != Step::Dot && script.end == Some(End::Silence),
                    _ => false,
                };
                prop_assert!(fine, "{:?}: {:?} instead of {:?}", script.step, result, read);
            }
        }
        Ok(())
    });
}

#[test]
fn a_relay_that_falls_silent_within_an_answer_is_waited_for_no_longer_than_its_time() {
    let listener = server::listen();
    let settings = own_settings(&listener);
    let cases = (script(), any::<bool>())
        .prop_filter("a half answer", |(script, _)| oracle::answer(&script.answer) == Answer::Half);
    target::run("replies, silence", 60, cases, |(mut script, at_dot)| {
        // Where the machine is slow, an earlier answer may be late as well: no more certain, and no other trouble.
        fall_silent(&mut script, at_dot);
        let mut settings = settings.clone();
        if at_dot {
            settings.dot_timeout = Duration::from_millis(5);
        } else {
            settings.command_timeout = Duration::from_millis(5);
        }
        let interrupt = Interrupt::new().unwrap();
        let relay = settings.build().unwrap();
        let mut outcomes = Vec::new();
        let result = std::thread::scope(|scope| {
            scope.spawn(|| server::serve(&listener, &script, || ()));
            relay.connect(&interrupt).and_then(|mut connection| {
                let envelope = Envelope { sender: &sender(), recipients: THREE };
                connection.deliver(&envelope, &hello(), &interrupt, &mut outcomes)
            })
        });
        let fine = match result {
            Err(Trouble::Uncertain { .. }) => at_dot,
            Err(Trouble::Unavailable { reply: None, .. }) => !at_dot,
            _ => false,
        };
        prop_assert!(fine && outcomes.is_empty(), "{:?}", result);
        Ok(())
    });
}

fn fall_silent(script: &mut Script, at_dot: bool) {
    script.end = Some(End::Silence);
    if at_dot {
        script.step = Step::Dot;
    } else if script.step == Step::Dot {
        script.step = Step::Data;
    }
}

#[test]
fn answers_that_nobody_asked_for_end_in_a_result_and_never_in_waiting_for_ever() {
    let listener = server::listen();
    let mut settings = own_settings(&listener);
    // A half answer makes a continuation line of the next one, and then one is missing.
    settings.command_timeout = Duration::from_millis(50);
    settings.dot_timeout = Duration::from_millis(50);
    let cases = (script(), reply(), answer()).prop_map(|(script, reply, more)| Script {
        answer: [reply, more].concat(),
        end: None,
        ..script
    });
    target::run("replies, unasked", 300, cases, |script| {
        let ((result, outcomes), peak) = peak_of(|| converse(&listener, &settings, &script));
        prop_assert!(peak < MEMORY, "{} octets", peak);
        prop_assert_eq!(outcomes.len(), if result.is_ok() { THREE.len() } else { 0 });
        Ok(())
    });
}
