//! What the page knows is not undone by what it hears late.

use serde_json::{Value, json};

use super::browser::{Browser, ENTER, RIGHT};
use super::house::{House, row};
use crate::support::program::command;
use crate::support::relay::{Dot, Gate, Policy, Relay};
use crate::support::spool::{TestSpool, members, now};

const FIRST: &str = "first@order.example.org.1700000000.1";
const SECOND: &str = "second@order.example.org.1700000000.2";

#[test]
fn an_answer_from_before_a_cancel_does_not_bring_the_message_back() {
    let browser = Browser::open();
    let (spool, later) = (TestSpool::new(), now().0 + 86_400);
    for id in [FIRST, SECOND] {
        spool.put_packets("5", &format!("{id}:at{later}"), &[members("m", 30)]);
    }
    let house = House::start(spool, Relay::start(Policy::new()), 1);
    house.visit(&browser);
    browser.wait_for("both messages", |browser| browser.count("#rows .row") == 2);
    browser.keys(['x']);
    house.unlock(&browser);
    browser.wait_for_text("#unlock", "Lock");

    // The page asks for it, because somebody moves it, and the answer is a long time on its way.
    let hold_back = "window.heldBack = []; window.holding = true; window.answers = 0;
        const real = window.fetch;
        window.fetch = async (path, ...more) => {
            const answer = await real(path, ...more);
            if (path.includes('ids=') && window.holding) await new Promise((go) => window.heldBack.push(go));
            if (path.includes('/queue')) window.answers++;
            return answer;
        }";
    browser.script(hold_back, Value::Null);
    let moved =
        command().arg("--spool").arg(house.spool.path()).args(["requeue", SECOND, "--to", "6"]).output().unwrap();
    assert!(moved.status.success(), "{moved:?}");
    browser
        .wait_for("the answer with the message", |browser| browser.script("return heldBack.length", Value::Null) == 1);
    browser.click(&format!("{} [data-act=\"cancel\"]", row(SECOND)));
    browser.wait_for("the question why", |browser| browser.count("dialog #reason") == 1);
    browser.keys("not wanted".chars().chain([ENTER]));
    browser.wait_for("it has gone", |browser| browser.count(&row(SECOND)) == 0);
    // Not for a moment either.
    let watch = "window.cameBack = 0;
        new MutationObserver((all) => all.forEach((one) => one.addedNodes.forEach((node) => {
            if (node.dataset?.id === arguments[0]) cameBack++;
        }))).observe(document.querySelector('#rows'), { childList: true })";
    browser.script(watch, SECOND);
    let before = browser.script("holding = false; heldBack.forEach((go) => go()); return answers", Value::Null);
    browser.wait_for("what was asked after that", |browser| {
        browser.script("return answers", Value::Null).as_u64() >= before.as_u64().map(|before| before + 2)
    });
    assert_eq!(browser.count(&row(SECOND)), 0);
    assert_eq!(browser.script("return cameBack", Value::Null), 0);
    assert_eq!(browser.count(&row(FIRST)), 1);
    assert_eq!(house.spool.bad().len(), 1);
    assert_eq!(browser.console(), Vec::<Value>::new());
}

#[test]
fn the_focus_stays_on_a_message_that_is_moved_out_of_sight_and_comes_to_its_neighbour_when_it_goes() {
    let browser = Browser::open();
    let (spool, later) = (TestSpool::new(), now().0 + 86_400);
    let id = |n: usize| format!("list{n:03}@order.example.org.1700000000.{n}");
    for n in 0..300 {
        let files = [("message", "From: a@example.org\n\nHello.\n"), ("recipients.mail.0001", "a@example.org\n")];
        spool.put("5", &format!("{}:at{later}", id(n)), &files);
    }
    let house = House::start(spool, Relay::start(Policy::new()), 1);
    house.visit(&browser);
    browser.wait_for_text("#count", "300 messages");
    let (chosen, name) = (id(150), format!("{}:at{later}", id(150)));
    browser.keys("/list150".chars());
    browser.wait_for("what was searched for", |browser| browser.count("#rows .row") == 1);
    browser.keys([ENTER]);
    let is_at = |browser: &Browser, id: &str, place: usize| {
        // In the list and inside what can be seen of it.
        let there = "const e = document.activeElement, of = document.querySelector('#rows').getBoundingClientRect();
            const box = e.getBoundingClientRect();
            return [e.dataset.id ?? null, Number(e.getAttribute('aria-rowindex')), box.top >= of.top - 1 && box.bottom <= of.bottom + 1]";
        browser.script(there, Value::Null) == json!([id, place + 2, true])
    };
    browser.wait_for("the focus is on it", |browser| is_at(browser, &chosen, 0));
    // Without the filter it is one of many.
    browser.click("#clear");
    browser.wait_for("no filter", |browser| browser.text("#count").as_deref() == Some("300 messages"));
    browser.keys([ENTER]);
    browser.wait_for("the focus is on it among all", |browser| is_at(browser, &chosen, 150));

    browser.keys(['r']);
    browser.wait_for("the choice", |browser| browser.count("dialog .tile") == 11);
    browser.keys(['0', ENTER]);
    house.unlock(&browser);
    house.wait_until_at("0", &name);
    browser.wait_for("it is the first and has the focus", |browser| is_at(browser, &chosen, 0));
    browser.wait_for_text(".toast", "moved from 5 to 0");
    browser.keys(['u']);
    house.wait_until_at("5", &name);
    browser.wait_for("it is back and has the focus", |browser| is_at(browser, &chosen, 150));

    // From its button, which is another one behind that.
    browser.keys([RIGHT, RIGHT, ENTER]);
    browser.wait_for("the question why", |browser| browser.count("dialog #reason") == 1);
    browser.keys("later".chars().chain([ENTER]));
    house.wait_until_at("z", &name);
    browser.wait_for("it is the last and has the focus", |browser| is_at(browser, &chosen, 299));
    browser.keys(['c']);
    browser.wait_for("the question why", |browser| browser.count("dialog #reason") == 1);
    browser.keys("not wanted".chars().chain([ENTER]));
    browser.wait_for("the focus is on the one before", |browser| is_at(browser, &id(299), 298));
    assert_eq!(browser.console(), Vec::<Value>::new());
}

#[test]
fn the_rate_at_the_top_counts_what_is_done_already() {
    let browser = Browser::open();
    let spool = TestSpool::new();
    spool.put_packets("3", "done@order.example.org.1700000000.1", &[members("done", 1000)]);
    let active = "active@order.example.org.1700000000.2";
    spool.put_packets("5", active, &[members("active", 100)]);
    let gate = Gate::new();
    let theirs = gate.clone();
    let policy = Policy::new().dot(move |envelope| {
        if envelope.recipients.iter().any(|address| address.starts_with("active")) {
            theirs.pass();
        }
        Dot::Take
    });
    let house = House::start(spool, Relay::start(policy), 2);
    // Nothing of what is active has been sent, all of the other one has.
    gate.wait_for(1);
    house.visit(&browser);
    browser.wait_for("the message", |browser| browser.count(&row(active)) == 1);
    let shown = "return [...document.querySelectorAll('#figures dt')].find((e) => e.textContent === 'Rate').nextElementSibling.textContent";
    let is_known =
        |browser: &Browser| browser.script(shown, Value::Null).as_str().is_some_and(|rate| rate.ends_with("/s"));
    browser.wait_for("a rate", is_known);
    let rate = "const at = [...document.querySelectorAll('#figures dt')].find((e) => e.textContent === 'Rate').nextElementSibling;";
    let watch = format!(
        "{rate} window.rates = [at.textContent]; window.told = 0;
        new MutationObserver(() => rates.push(at.textContent)).observe(at, {{ childList: true, characterData: true, subtree: true }});
        new EventSource('/api/v1/events').addEventListener('progress', () => window.told++)"
    );
    browser.script(&watch, Value::Null);
    // A rate is that of a minute: something is sent, and done, again and again.
    for step in 1..=3 {
        let done = format!("done@order.example.org.1700000000.{}", step + 2);
        house.spool.put_packets("3", &done, &[members("done", 50)]);
        let told = |browser: &Browser| browser.script("return told", Value::Null).as_u64() >= Some(step);
        browser.wait_for("progress is told", told);
    }
    let rates = browser.script("return rates", Value::Null);
    let rates: Vec<String> = serde_json::from_value(rates).unwrap();
    assert!(rates.iter().all(|rate| rate.ends_with("/s")), "{rates:?}");
    gate.open();
    assert_eq!(browser.console(), Vec::<Value>::new());
}
