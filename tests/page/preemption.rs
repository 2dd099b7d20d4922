//! A message that gives way is seen to.

use serde_json::Value;

use super::browser::Browser;
use super::house::{House, row};
use crate::support::relay::{Counter, Dot, Gate, Policy, Relay};
use crate::support::spool::{TestSpool, members};

const BIG: &str = "big@preemption.example.org.1700000000.1";
const URGENT: &str = "urgent@preemption.example.org.1700000000.2";

#[test]
fn a_preemption_is_shown_while_it_lasts_and_for_how_long_it_did() {
    let browser = Browser::open();
    let spool = TestSpool::new();
    spool.put_packets("6", BIG, &[members("big", 400)]);
    // The big one is held up in its first transaction, the urgent one in its only one.
    let (first, second, count) = (Gate::new(), Gate::new(), Counter::default());
    let (theirs, theirs_too) = (first.clone(), second.clone());
    let relay = Relay::start(Policy::new().dot(move |_| {
        match count.next() {
            0 => theirs.pass(),
            1 => theirs_too.pass(),
            _ => {}
        }
        Dot::Take
    }));
    let house = House::start(spool, relay, 1);
    first.wait_for(1);
    house.visit(&browser);
    browser.wait_for("the big message", |browser| browser.count(&row(BIG)) == 1);
    // How long after it happened it is in the document, by the browser's own clock.
    browser.script(
        "window.shown = null; window.happened = null;
        new EventSource('/api/v1/events').addEventListener('preempted', (e) => { happened ??= JSON.parse(e.data).at; });
        new MutationObserver(() => { shown ??= Date.now() / 1000; })
            .observe(document.querySelector('#preemptions'), { childList: true })",
        Value::Null,
    );
    house.spool.put_packets("0", URGENT, &[members("urgent", 3)]);
    browser.wait_for("the urgent message", |browser| browser.count(&row(URGENT)) == 1);
    assert_eq!(browser.count("#preemptions li"), 0);
    first.open();
    second.wait_for(1);
    browser.wait_for_text("#preemptions li.open", "big@preemption.example.org gave way");
    browser.wait_for_text("#preemptions li.open", "urgent@preemption.example.org");
    browser.wait_for_text("#preemptions li.open", "so far");
    browser.wait_for("the event", |browser| browser.script("return happened !== null", Value::Null) == true);
    let after = browser.script("return shown - happened", Value::Null).as_f64().unwrap();
    println!("a preemption is shown after {:.0} ms", after * 1000.0);
    // A tenth of a second, and on a machine that has much else to do not much more; never at the next question only.
    assert!(after < 10.0, "{after} s");
    // Who doesn't look is told.
    browser.wait_for_text("#say[aria-live=polite]", "big@preemption.example.org, priority 6, gave way to urgent@");
    browser.wait_for_text("#workers", "urgent@preemption.example.org");
    // Whoever opens the page now finds it there.
    house.visit(&browser);
    let said = browser.text("#preemptions li.open").unwrap();
    assert!(said.contains("gave way") && said.contains("so far"), "{said}");
    second.open();
    browser.wait_for("it is over", |browser| browser.count("#preemptions li:not(.open)") == 1);
    let said = browser.text("#preemptions li").unwrap();
    assert!(!said.contains("so far") && said.contains("for "), "{said}");
    house.spool.wait_until_empty();
    browser.wait_for("nothing is queued", |browser| browser.count("#rows .row") == 0);
    // And so does who comes later.
    let lasted = |browser: &Browser| browser.text("#preemptions .pre-for").unwrap();
    let before = lasted(&browser);
    house.visit(&browser);
    assert_eq!((browser.count("#preemptions li"), browser.count("#preemptions li.open")), (1, 0));
    assert_eq!(lasted(&browser), before);
    assert!(browser.text("#pre-since").unwrap().starts_with("since "));
    assert_eq!(browser.console(), Vec::<Value>::new());
}
