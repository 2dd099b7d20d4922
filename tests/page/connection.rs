//! The connection to the scheduler goes, and comes back; so does the one to the relay.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::browser::Browser;
use super::house::{House, row};
use crate::support::relay::{Policy, Relay};
use crate::support::spool::{TestSpool, members, now};

#[test]
fn after_a_kill_the_page_says_that_it_is_old_and_recovers_when_a_scheduler_is_back() {
    let browser = Browser::open();
    let (spool, later) = (TestSpool::new(), now().0 + 86_400);
    let before = "before@connection.example.org.1700000000.1";
    let after = "after@connection.example.org.1700000000.2";
    spool.put_packets("5", &format!("{before}:at{later}"), &[members("m", 30)]);
    let mut house = House::start(spool, Relay::start(Policy::new()), 1);
    house.visit(&browser);
    browser.wait_for("the message", |browser| browser.count(&row(before)) == 1);
    assert_eq!(browser.count("#old:not([hidden])"), 0);
    assert_eq!(browser.console(), Vec::<serde_json::Value>::new());

    house.scheduler.kill();
    browser.wait_for_text("#old:not([hidden])", "What you see is old: as of ");
    browser.wait_for_text("#live-text", "old");
    // What was known is still there to be read.
    assert_eq!(browser.count(&row(before)), 1);

    house.spool.put_packets("3", &format!("{after}:at{later}"), &[members("m", 3)]);
    house.restart();
    browser.wait_for("the page is current", |browser| browser.text("#live-text").as_deref() == Some("live"));
    browser.wait_for("what came in between", |browser| browser.count(&row(after)) == 1);
    assert_eq!(browser.count("#old:not([hidden])"), 0);
    // The browser itself notes that nobody answered; the page has no error of its own.
    let console = browser.console();
    assert!(console.iter().all(|line| line["source"] == "network"), "{console:?}");
}

#[test]
fn where_only_the_stream_is_refused_the_page_asks_instead_says_so_and_listens_once_it_may() {
    let browser = Browser::open();
    let (spool, later) = (TestSpool::new(), now().0 + 86_400);
    let (before, after) = ("before@connection.example.org.1700000000.1", "after@connection.example.org.1700000000.2");
    spool.put_packets("5", &format!("{before}:at{later}"), &[members("m", 30)]);
    let house = House::start(spool, Relay::start(Policy::new()), 1);
    house.wait_until_served();
    let listeners: Vec<TcpStream> = (0..LISTENERS).map(|_| listener(house.port)).collect();
    browser.go(&house.url());
    browser.wait_for("what is in the spool", |browser| browser.count(&row(before)) == 1);
    browser.wait_for_text("#live-text", "not live, every 4 s");
    browser.wait_for_text("#trouble:not([hidden])", "Not live: no stream of events could be had");
    assert_eq!(browser.count("#old:not([hidden])"), 0);
    house.spool.put_packets("3", &format!("{after}:at{later}"), &[members("m", 3)]);
    browser.wait_for("what has come since", |browser| browser.count(&row(after)) == 1);
    assert_ne!(browser.text("#live-text").as_deref(), Some("live"));
    drop(listeners);
    browser.wait_for("a stream could be had", |browser| browser.text("#live-text").as_deref() == Some("live"));
    assert_eq!(browser.count("#trouble:not([hidden])"), 0);
    // The browser itself notes that it was refused.
    let console = browser.console();
    assert!(console.iter().all(|line| line["source"] == "network"), "{console:?}");
}

/// As many as the server lets listen.
const LISTENERS: usize = 128;

fn listener(port: u16) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(b"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut status = [0; 12];
    stream.read_exact(&mut status).unwrap();
    assert_eq!(&status, b"HTTP/1.1 200");
    stream
}

#[test]
fn a_relay_that_is_out_of_use_is_told_of_above_everything_until_it_is_back() {
    let browser = Browser::open();
    let spool = TestSpool::new();
    let waits = "waits@connection.example.org.1700000000.1";
    spool.put_packets("5", waits, &[members("m", 30)]);
    let mut house = House::start(spool, Relay::start_down(Policy::new()), 1);
    house.visit(&browser);
    browser.wait_for_text("#trouble:not([hidden])", "No relay is in use, nothing is sent.");
    browser.wait_for_text("#trouble", "cannot connect");
    browser.wait_for_text("#relays .pill.bad", "out of use");
    let why = format!("{} .why.stuck", row(waits));
    browser.wait_for_text(&why, "no relay");
    // In the reader's time, as every other one.
    let why = browser.text(&why).unwrap();
    let next = why.split("; next try ").nth(1).unwrap_or_else(|| panic!("{why}"));
    assert!(next.contains(", ") && !next.contains('T') && !next.ends_with('Z'), "{why}");
    house.relay.come_up();
    house.spool.wait_until_empty();
    browser.wait_for("nothing is in the way", |browser| browser.count("#trouble[hidden]") == 1);
    browser.wait_for_text("#relays .pill.good", "in use");
    assert_eq!(browser.console(), Vec::<serde_json::Value>::new());
}
