//! LMTP: an answer a recipient, over TCP and Unix sockets.

mod support;

use support::delivery::*;
use support::scripted::{Act, Scripted, bye, say, usual};
use sympa_dist::deliver::{Receipt, Trouble};
use sympa_dist::mail::{Outcome, Reply};

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
        assert_eq!(result, Ok(Receipt { reply: Reply::new(250, "2.1.5 a"), about_all: false }));
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
