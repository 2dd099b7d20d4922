//! What is on the screen is what is in the spool.

use serde_json::Value;

use super::browser::Browser;
use super::house::{House, row};
use crate::support::relay::{Dot, Gate, Policy, Relay};
use crate::support::spool::{TestSpool, members, now};

/// As the page writes numbers.
fn figure(n: u64) -> String {
    let digits = n.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().map(|group| std::str::from_utf8(group).unwrap()).collect();
    groups.join(",")
}

fn number(row: &Value, name: &str) -> u64 {
    row[name].as_u64().unwrap_or_else(|| panic!("no {name} in {row}"))
}

#[test]
fn every_level_and_every_message_shows_the_figures_that_its_files_have() {
    let browser = Browser::open();
    let (spool, later) = (TestSpool::new(), now().0 + 86_400);
    let active = "active@values.example.org.1700000000.1";
    let scheduled = format!("scheduled@values.example.org.1700000000.2:at{later}");
    spool.put_packets("5", active, &[members("a", 1200), members("b", 300)]);
    spool.put_packets("7", &scheduled, &[members("c", 1500)]);
    spool.put_packets("z", "held@values.example.org.1700000000.3", &[members("d", 20)]);
    let gate = Gate::new();
    let theirs = gate.clone();
    let policy = Policy::new().dot(move |envelope| {
        if envelope.order == 3 {
            theirs.pass();
        }
        Dot::Take
    });
    let retry = format!("recipients.mail.0001.r1:at{later}");
    let message = crate::support::spool::message("deferred@values.example.org.1700000000.4");
    let files = [("message", message.as_str()), (&retry, "a@example.org\nb@example.org\n")];
    spool.put("7", "deferred@values.example.org.1700000000.4", &files);
    let house = House::start(spool, Relay::start(policy), 2);
    gate.wait_for(2);
    house.visit(&browser);

    browser.wait_for("the spool's figures", |browser| shows_all_of(browser, &house.queue()));
    assert_eq!(browser.count("#rows .row"), 4);
    // The tile means the same: not the deferred ones, and what is held beside them.
    let left: u64 =
        house.queue().iter().filter(|row| row["priority"] != "z").map(|row| number(row, "recipients_left")).sum();
    browser.wait_for_text("#figures > div", &format!("Recipients left{}and 20 held", figure(left)));
    let state = |id: &str| browser.text(&format!("{} .pill", row(id))).unwrap();
    assert_eq!(state(active), "active");
    assert_eq!(state("scheduled@values.example.org.1700000000.2"), "scheduled");
    assert_eq!(state("held@values.example.org.1700000000.3"), "held");
    let who = browser.text(&format!("{} .why", row(active))).unwrap();
    assert!(who.starts_with("workers ") && who.contains('0') && who.contains('1'), "{who}");
    browser.wait_for_text("#work-sum", "2 of 2 busy");

    gate.open();
    browser.wait_for("the message has gone from the page", |browser| browser.count(&row(active)) == 0);
    browser.wait_for("what is left", |browser| shows_all_of(browser, &house.queue()));
    assert_eq!(browser.console(), Vec::<Value>::new());
}

#[test]
fn a_levels_bar_has_the_recipients_of_active_messages_and_an_express_worker_one_name() {
    let browser = Browser::open();
    let spool = TestSpool::new();
    let urgent = "urgent@values.example.org.1700000000.1";
    spool.put_packets("1", urgent, &[members("u", 30)]);
    let gate = Gate::new();
    let theirs = gate.clone();
    let policy = Policy::new().dot(move |_| {
        theirs.pass();
        Dot::Take
    });
    let house = House::start_with(spool, Relay::start(policy), 1, &[("SYMPA_DIST_RUN_EXPRESS_WORKERS", "1")]);
    gate.wait_for(1);
    // Whoever of the two has it, the other one gets the next, and the third one waits.
    house.spool.put_packets("1", "second@values.example.org.1700000000.2", &[members("s", 30)]);
    gate.wait_for(2);
    house.spool.put_packets("1", "waits@values.example.org.1700000000.3", &[members("w", 340)]);
    house.visit(&browser);
    let bar = |kind: &str| {
        let width = "return document.querySelector(arguments[0]).style.width";
        browser.script(width, format!("#levels [data-drop=\"1\"] .bar .{kind}")).as_str().unwrap_or_default().to_owned()
    };
    browser.wait_for("60 of 400 recipients", |_| bar("active") == "max(3px, 15%)" && bar("waiting") == "max(3px, 85%)");
    browser.wait_for_text("#workers .worker-n", "x0");
    browser.wait_for_text("#rows .why", "worker x0");
    assert!(browser.texts("#rows .why").iter().all(|why| !why.contains("1024")));
    gate.open();
    assert_eq!(browser.console(), Vec::<Value>::new());
}

fn shows_all_of(browser: &Browser, queue: &[Value]) -> bool {
    "0123456789z".chars().all(|priority| {
        let here: Vec<&Value> = queue.iter().filter(|row| row["priority"] == priority.to_string()).collect();
        let sum = |name| here.iter().map(|row| number(row, name)).sum::<u64>();
        let cell = |class: &str| browser.text(&format!("#levels [data-drop=\"{priority}\"] .{class}"));
        cell("v-messages") == Some(figure(here.len() as u64)) && cell("v-left") == Some(figure(sum("recipients_left")))
    }) && queue.iter().all(|message| {
        let row = row(message["queue_id"].as_str().unwrap());
        let progress = format!(
            "{} of {}",
            figure(number(message, "recipients_done")),
            figure(number(message, "recipients_total"))
        );
        browser.text(&format!("{row} button.pri")).as_deref() == message["priority"].as_str()
            && browser
                .text(&format!("{row} .figures-of"))
                .is_some_and(|text| text.split(" · ").next() == Some(&progress))
    })
}

#[test]
fn text_from_outside_is_text_and_never_markup() {
    const ID: &str = "held@values.example.org.1700000000.1";
    const WHY: &str = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>&amp;";
    let browser = Browser::open();
    let spool = TestSpool::new();
    let note = serde_json::json!({ "since": now().0, "by": "<b>pat</b>", "why": WHY, "from": "3" }).to_string();
    let message = crate::support::spool::message(ID);
    let files = [("message", message.as_str()), ("recipients.mail.0001", "a@example.org\n"), ("held", &note)];
    spool.put("z", ID, &files);
    let house = House::start(spool, Relay::start(Policy::new()), 1);
    house.visit(&browser);
    let why = format!("{} .c-state .why", row(ID));
    browser.wait_for_text(&why, WHY);
    browser.wait_for_text(&why, "<b>pat</b>");
    browser.keys(['m', super::browser::ENTER]);
    browser.wait_for_text("dialog .facts", WHY);
    assert_eq!(browser.count("img, main script, dialog script, .why b"), 0);
    assert_ne!(browser.script("return document.title", Value::Null), "owned");
    assert_eq!(browser.console(), Vec::<Value>::new());
}
