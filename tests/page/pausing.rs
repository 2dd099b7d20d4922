//! Pausing and resuming from the page.

use serde_json::Value;

use super::browser::{Browser, DOWN, ENTER};
use super::house::{House, row};
use crate::support::relay::{Policy, Relay};
use crate::support::spool::{TestSpool, members, wait_until};

const WAITS: &str = "waits@pausing.example.org.1700000000.1";

#[test]
fn a_priority_and_everything_are_paused_and_resumed_from_the_page() {
    let browser = Browser::open();
    let house = House::start(TestSpool::new(), Relay::start(Policy::new()), 1);
    house.visit(&browser);

    browser.keys(['p']);
    browser.wait_for("the question what", |browser| browser.count("dialog #what") == 1);
    // Below everything, a list, and priorities 0 to 4.
    browser.keys([DOWN; 7]);
    browser.click("dialog #reason");
    browser.keys("the relay is moved".chars().chain([ENTER]));
    house.unlock(&browser);
    browser.wait_for_text("#pauses li", "priority 5");
    browser.wait_for_text("#pauses li", "the relay is moved");
    house.spool.put_packets("5", WAITS, &[members("m", 30)]);
    browser.wait_for("the message", |browser| browser.count(&row(WAITS)) == 1);
    browser.wait_for_text(&format!("{} .why.stuck", row(WAITS)), "paused by http: the relay is moved");
    browser.wait_for("it is counted", |browser| figure(browser, "Stuck") == "1");

    browser.click("#pauses button");
    browser.wait_for("nothing is paused", |browser| browser.count("#pauses-panel[hidden]") == 1);
    house.spool.wait_until_empty();
    browser.wait_for("the message has gone", |browser| browser.count(&row(WAITS)) == 0);

    // What was done last is undone: it is paused again.
    browser.wait_for_text(".toast:first-child", "Resumed: priority 5");
    browser.keys(['u']);
    browser.wait_for_text("#pauses li", "the relay is moved");
    browser.click("#pauses button");
    browser.wait_for("nothing is paused", |browser| browser.count("#pauses-panel[hidden]") == 1);
    wait_until("the pause's file has gone", || paused(&house).is_empty(), || format!("{:?}", paused(&house)));
    assert_eq!(browser.console(), Vec::<Value>::new());
}

fn figure(browser: &Browser, name: &str) -> String {
    let value = "return [...document.querySelectorAll('#figures dt')].find((e) => e.textContent === arguments[0])?.nextElementSibling.textContent ?? ''";
    browser.script(value, name).as_str().unwrap().to_owned()
}

fn paused(house: &House) -> Vec<String> {
    let pauses = house.spool.path().join("pauses");
    let Ok(entries) = std::fs::read_dir(pauses) else { return Vec::new() };
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}
