//! 10,000 messages are a list like any other.

use serde_json::Value;

use super::browser::{Browser, END, ENTER};
use super::house::{House, row};
use crate::support::relay::{Policy, Relay};
use crate::support::spool::{TestSpool, now};

const MANY: usize = 10_000;
/// More rows than a screen of this height could show, by far.
const WINDOW: u64 = 60;

#[test]
fn of_ten_thousand_messages_the_document_holds_those_that_can_be_seen() {
    let browser = Browser::open();
    let (spool, later) = (TestSpool::new(), now().0 + 86_400);
    for n in 0..MANY {
        let (list, priority) = (format!("list{:03}@many.example.org", n % 500), (n % 9 + 1).to_string());
        let id = format!("{list}.1700000000.{n}:at{later}");
        spool.put(
            &priority,
            &id,
            &[("message", "From: a@example.org\n\nHello.\n"), ("recipients.mail.0001", "a@example.org\n")],
        );
    }
    let house = House::start(spool, Relay::start(Policy::new()), 1);
    house.visit(&browser);
    browser.wait_for_text("#count", "10,000 messages");
    let windowed = |browser: &Browser| {
        let rows = browser.count("#rows .row");
        assert!((1..=WINDOW).contains(&rows), "{rows} rows");
    };
    windowed(&browser);
    assert_eq!(
        browser.script("return document.querySelector('#grid').getAttribute('aria-rowcount')", Value::Null),
        "10001"
    );

    // By wheel and by key, to the last one.
    browser.script("document.querySelector('#rows').scrollTop = 200000", Value::Null);
    browser.wait_for("rows in the middle", |browser| browser.count("#rows [aria-rowindex=\"3850\"]") == 1);
    windowed(&browser);
    browser.keys(['m', END]);
    let focused = "return document.activeElement.getAttribute('aria-rowindex')";
    browser.wait_for("the last row has the focus", |browser| browser.script(focused, Value::Null) == "10001");
    windowed(&browser);

    browser.keys("/list123 .1700000000.9123".chars());
    browser.wait_for("what was searched for", |browser| browser.count("#rows .row") == 1);
    let found = row("list123@many.example.org.1700000000.9123");
    assert_eq!(browser.count(&found), 1);
    browser.keys([ENTER]);
    browser.wait_for("the focus", |browser| browser.count(&format!("{found}:focus")) == 1);
    browser.click("#clear");
    browser.click("#levels [data-drop=\"4\"] button");
    browser.wait_for_text("#count", "1,111 of 10,000 messages");
    windowed(&browser);
    assert_eq!(browser.console(), Vec::<Value>::new());
}

#[test]
fn what_is_stuck_beyond_those_that_the_page_has_is_counted_and_found() {
    let browser = Browser::open();
    let (spool, later) = (TestSpool::new(), now().0 + 86_400);
    let put = |priority: &str, id: &str, packet: &str| {
        let message = ("message", "From: a@example.org\n\nHello.\n");
        spool.put(priority, id, &[message, (packet, "a@example.org\n")]);
    };
    for n in 0..MANY {
        put("1", &format!("first@many.example.org.1700000000.{n}"), &format!("recipients.mail.0001.r1:at{later}"));
    }
    for n in 0..40 {
        put("9", &format!("stuck@many.example.org.1700000000.{n}"), "recipients.mail.0001");
    }
    for n in 0..3 {
        put("9", &format!("deferred@many.example.org.1700000000.{n}"), &format!("recipients.mail.0001.r1:at{later}"));
    }
    let house = House::start(spool, Relay::start_down(Policy::new()), 1);
    house.visit(&browser);
    browser.wait_for_text("#count", "the first 10,000 of 10,043 messages");
    let says = |name: &str, words: &str| {
        let figures = browser.texts("#figures > div");
        figures.iter().any(|figure| *figure == format!("{name}{words}"))
    };
    browser.wait_for("all that are stuck", |_| says("Stuck", "40paused, no relay"));
    browser.wait_for("all that are deferred", |_| says("Deferred", "10K10,003 messages waiting for it"));
    browser.script(
        "const e = document.querySelector('#by-state'); e.value = 'stuck'; e.dispatchEvent(new Event('change'))",
        Value::Null,
    );
    browser.wait_for_text("#count", "40 of 40 messages");
    browser.wait_for_text("#rows .row .list-name", "stuck@many.example.org");
    // The tile goes on counting all of them.
    assert!(says("Stuck", "40paused, no relay"));
    assert_eq!(browser.console(), Vec::<Value>::new());
}
