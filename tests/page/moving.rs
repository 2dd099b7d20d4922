//! What is done on the page is done in the spool.

use serde_json::{Value, json};

use super::browser::{Browser, DOWN, ENTER};
use super::house::{House, row};
use crate::support::relay::{Policy, Relay};
use crate::support::spool::{TestSpool, members, now};

const FIRST: &str = "first@moving.example.org.1700000000.1";
const SECOND: &str = "second@moving.example.org.1700000000.2";

/// Two messages that nothing sends: their time is tomorrow.
fn house() -> (House, Browser, [String; 2]) {
    let browser = Browser::open();
    let (spool, later) = (TestSpool::new(), now().0 + 86_400);
    let names = [FIRST, SECOND].map(|id| format!("{id}:at{later}"));
    for name in &names {
        spool.put_packets("5", name, &[members("m", 30)]);
    }
    let house = House::start(spool, Relay::start(Policy::new()), 1);
    house.visit(&browser);
    browser.wait_for("both messages", |browser| browser.count("#rows .row") == 2);
    (house, browser, names)
}

#[track_caller]
fn shows(browser: &Browser, id: &str, priority: &str) {
    let badge = format!("{} button.pri", row(id));
    browser.wait_for(&format!("{id} at {priority}"), |browser| browser.text(&badge).as_deref() == Some(priority));
}

#[test]
fn a_message_is_requeued_by_the_mouse_by_choosing_by_dragging_to_the_dock_and_to_a_level() {
    let (house, browser, [first, second]) = house();
    browser.click(&format!("{} button.pri", row(FIRST)));
    browser.wait_for("the choice", |browser| browser.count("dialog .tile") == 11);
    browser.click("dialog .tile:nth-of-type(3)");
    browser.click("dialog .go");
    house.unlock(&browser);
    house.wait_until_at("2", &first);
    shows(&browser, FIRST, "2");

    browser.drag(&format!("{} .c-list", row(SECOND)), "#dock [data-drop=\"8\"]");
    browser.wait_for_text(".toast", "moved from 5 to 8");
    house.wait_until_at("8", &second);
    shows(&browser, SECOND, "8");

    browser.drag(&format!("{} .grip", row(SECOND)), "#levels [data-drop=\"1\"] .bar");
    house.wait_until_at("1", &second);
    shows(&browser, SECOND, "1");

    // That move's, and not the one's before.
    browser.wait_for_text(".toast:first-child", "moved from 8 to 1");
    browser.click(".toast:first-child button");
    house.wait_until_at("8", &second);
    shows(&browser, SECOND, "8");
    assert_eq!(browser.console(), Vec::<Value>::new());
}

#[test]
fn on_a_phone_a_finger_scrolls_on_a_message_and_moves_it_by_its_grip() {
    let (house, browser, [first, second]) = house();
    let metrics = json!({ "width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": true });
    browser.tell("Emulation.setDeviceMetricsOverride", metrics);
    browser.tell("Emulation.setTouchEmulationEnabled", json!({ "enabled": true }));
    let grip = format!("{} .grip", row(SECOND));
    let into_view = "document.querySelector(arguments[0]).scrollIntoView({ block: 'center' })";
    browser.script(into_view, grip.as_str());
    let touch = |kind: &str, at: Option<(i64, i64)>| {
        let points: Vec<Value> = at.into_iter().map(|(x, y)| json!({ "x": x, "y": y })).collect();
        browser.tell("Input.dispatchTouchEvent", json!({ "type": kind, "touchPoints": points }));
    };
    let (x, y) = browser.middle(&grip);
    touch("touchStart", Some((x, y)));
    touch("touchMove", Some((x + 10, y + 10)));
    touch("touchMove", Some((x + 30, y + 30)));
    browser.wait_for("the dock", |browser| browser.count("#dock:not([hidden])") == 1);
    let slot = "#dock [data-drop=\"1\"]";
    touch("touchMove", Some(browser.middle(slot)));
    browser.wait_for("it is over the priority", |browser| browser.count(&format!("{slot}.over")) == 1);
    touch("touchEnd", None);
    house.unlock(&browser);
    browser.wait_for_text(".toast", "moved from 5 to 1");
    house.wait_until_at("1", &second);
    shows(&browser, SECOND, "1");

    let name = format!("{} .list-name", row(FIRST));
    browser.script(into_view, name.as_str());
    let (x, y) = browser.middle(&name);
    touch("touchStart", Some((x, y)));
    touch("touchMove", Some((x, y - 20)));
    touch("touchMove", Some((x, y - 60)));
    assert_eq!(browser.count("#dock:not([hidden])"), 0);
    touch("touchEnd", None);
    assert_eq!(house.spool.waiting(), [format!("1/{second}"), format!("5/{first}")]);
    assert_eq!(browser.console(), Vec::<Value>::new());
}

#[test]
fn a_message_is_requeued_held_released_and_cancelled_by_the_keyboard_alone() {
    let (house, browser, [first, second]) = house();
    browser.keys(['m', DOWN]);
    let focused = |browser: &Browser| browser.script("return document.activeElement.dataset.id ?? null", Value::Null);
    assert_eq!(focused(&browser), SECOND);
    browser.keys(['r']);
    browser.wait_for("the choice", |browser| browser.count("dialog .tile") == 11);
    browser.keys(['0', ENTER]);
    house.unlock(&browser);
    house.wait_until_at("0", &second);
    shows(&browser, SECOND, "0");
    browser.wait_for("the focus is back on the message", |browser| focused(browser) == SECOND);
    // The badge follows the event, which may be before the answer.
    browser.wait_for_text(".toast", "moved from 5 to 0");
    // Who doesn't look is told.
    browser.wait_for_text("#say[aria-live=polite]", "second@moving.example.org moved from 5 to 0. u undoes it");
    browser.keys(['u']);
    house.wait_until_at("5", &second);
    shows(&browser, SECOND, "5");

    browser.wait_for("the focus stays on the message", |browser| focused(browser) == SECOND);
    browser.keys(['h']);
    browser.wait_for("the question why", |browser| browser.count("dialog #reason") == 1);
    browser.keys("wait for the dean".chars().chain([ENTER]));
    house.wait_until_at("z", &second);
    shows(&browser, SECOND, "z");
    browser.wait_for_text(&format!("{} .why", row(SECOND)), "wait for the dean");
    browser.wait_for("the focus stays on the message", |browser| focused(browser) == SECOND);
    browser.keys(['l']);
    browser.wait_for("the question where to", |browser| browser.count("dialog #to") == 1);
    browser.keys([ENTER]);
    house.wait_until_at("5", &second);
    shows(&browser, SECOND, "5");

    browser.wait_for("the focus stays on the message", |browser| focused(browser) == SECOND);
    browser.keys(['c']);
    browser.wait_for("the question why", |browser| browser.count("dialog #reason") == 1);
    browser.keys("not wanted".chars().chain([ENTER]));
    browser.wait_for("one has gone", |browser| browser.count("#rows .row") == 1);
    assert_eq!(browser.count(&row(FIRST)), 1);
    assert_eq!(house.spool.waiting(), [format!("5/{first}")]);
    let bad = house.spool.bad();
    assert!(bad.len() == 1 && bad[0].starts_with(SECOND), "{bad:?}");
    assert!(house.spool.reason(&bad[0]).contains("not wanted"));
    browser.wait_for_text("#say[aria-live=polite]", "is cancelled; what is left of it is in bad/. u undoes it");
    browser.keys(['u']);
    house.wait_until_at("5", &second);
    shows(&browser, SECOND, "5");
    browser.wait_for_text(".toast:first-child", "second@moving.example.org is back at 5");
    assert_eq!((browser.count("#rows .row"), house.spool.bad()), (2, vec![]));
    assert_eq!(browser.console(), Vec::<Value>::new());
}

#[test]
fn a_cancel_is_undone_by_the_mouse_unless_something_is_in_the_way_which_is_told() {
    let (house, browser, [first, second]) = house();
    let cancel = || {
        browser.click(&row(SECOND));
        browser.keys(['c']);
        browser.wait_for("the question why", |browser| browser.count("dialog #reason") == 1);
        browser.keys("not wanted".chars().chain([ENTER]));
    };
    cancel();
    house.unlock(&browser);
    browser.wait_for_text(".toast:first-child", "is cancelled");
    browser.click(".toast:first-child button");
    house.wait_until_at("5", &second);
    shows(&browser, SECOND, "5");

    cancel();
    browser.wait_for_text(".toast:first-child", "is cancelled");
    std::fs::write(house.spool.path().join("bad").join(&second).join("recipients.mail.0001"), "no address\n").unwrap();
    browser.click(".toast:first-child button");
    browser.wait_for_text(".toast.bad[role=alert]", "stays cancelled: it stays in bad/: recipients.mail.0001");
    assert_eq!((house.spool.waiting(), browser.count(&row(SECOND))), (vec![format!("5/{first}")], 0));
}

#[test]
fn a_wrong_token_moves_nothing_and_is_asked_for_again() {
    let (house, browser, [first, second]) = house();
    browser.keys(['m', 'r']);
    browser.wait_for("the choice", |browser| browser.count("dialog .tile") == 11);
    browser.keys(['3', ENTER]);
    browser.wait_for("the question for the token", |browser| browser.count("dialog #token") == 1);
    browser.keys("guessed".chars().chain([ENTER]));
    browser.wait_for_text("dialog [role=alert]", "The token was refused");
    assert_eq!(house.spool.waiting(), [format!("5/{first}"), format!("5/{second}")]);
    house.unlock(&browser);
    house.wait_until_at("3", &first);
    // It is in this tab, and nowhere else.
    let kept = browser
        .script("return [sessionStorage.getItem('token'), JSON.stringify(localStorage), document.cookie]", Value::Null);
    assert_eq!(kept, json!([super::house::TOKEN, "{}", ""]));
    // The browser logs the refusal by itself, and nothing else.
    let console = browser.console();
    assert!(console.len() == 1 && console[0]["source"] == "network", "{console:?}");
}
