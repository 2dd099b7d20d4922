//! For who doesn't see the page, or sees it badly: axe-core looks at every state of it, in every appearance.

use std::path::Path;

use serde_json::{Value, json};

use super::browser::{Browser, ESCAPE};
use super::house::{House, row};
use crate::support::program::command;
use crate::support::relay::{Dot, Gate, Policy, Relay};
use crate::support::spool::{TestSpool, members, now};

const ACTIVE: &str = "active@reader.example.org.1700000000.1";
const HELD: &str = "held@reader.example.org.1700000000.3";

#[test]
fn axe_finds_nothing_in_the_page_and_its_dialogs_in_light_in_dark_and_on_a_phone() {
    let browser = Browser::open();
    let (spool, later) = (TestSpool::new(), now().0 + 86_400);
    spool.put_packets("5", ACTIVE, &[members("a", 500)]);
    spool.put_packets("4", "paused@reader.example.org.1700000000.4", &[members("p", 20)]);
    spool.put_packets("7", &format!("scheduled@reader.example.org.1700000000.2:at{later}"), &[members("c", 15)]);
    let note = json!({ "since": now().0, "by": "pat", "why": "wait for the dean", "from": "3" }).to_string();
    let message = crate::support::spool::message(HELD);
    spool.put("z", HELD, &[("message", &message), ("recipients.mail.0001", "a@example.org\n"), ("held", &note)]);
    let pause = ["pause", "--priority", "4", "--reason", "the relay is moved"];
    let paused = command().arg("--spool").arg(spool.path()).args(pause).output().unwrap();
    assert!(paused.status.success(), "{paused:?}");
    // The first of it is sent; the second is under way as long as the test lasts.
    let gate = Gate::new();
    let theirs = gate.clone();
    let policy = Policy::new().dot(move |envelope| {
        if envelope.order > 0 {
            theirs.pass();
        }
        Dot::Take
    });
    let house = House::start(spool, Relay::start(policy), 1);
    gate.wait_for(1);
    house.visit(&browser);
    browser.wait_for("all messages", |browser| browser.count("#rows .row") == 4);
    browser.script(&axe(), Value::Null);
    for (appearance, width) in [("light", 1440), ("dark", 1440), ("light", 390), ("dark", 390)] {
        let metrics = json!({ "width": width, "height": 1100, "deviceScaleFactor": 1, "mobile": width < 800 });
        browser.tell("Emulation.setDeviceMetricsOverride", metrics);
        let choose =
            "const s = document.querySelector('#theme'); s.value = arguments[0]; s.dispatchEvent(new Event('change'))";
        browser.script(choose, appearance);
        let look = |browser: &Browser, at: &str| {
            let what = format!("{at}, {appearance}, {width} px wide");
            let wide = browser.script("return document.documentElement.scrollWidth", Value::Null);
            assert!(wide.as_u64() <= Some(width), "{what}: it is {wide} px wide");
            assert_eq!(findings(browser), Vec::<Value>::new(), "{what}");
        };
        look(&browser, "the page");
        let dialogs = [
            ("pause", "#pause".to_owned()),
            ("unlock", "#unlock".into()),
            ("keys", "#keys".into()),
            ("requeue", format!("{} button.pri", row(ACTIVE))),
            ("hold", format!("{} [data-act=hold]", row(ACTIVE))),
            ("release", format!("{} [data-act=release]", row(HELD))),
            ("cancel", format!("{} [data-act=cancel]", row(ACTIVE))),
            ("details", format!("{} .list-name", row(ACTIVE))),
        ];
        for (name, opened_by) in dialogs {
            browser.script("document.querySelector(arguments[0]).click()", opened_by);
            browser.wait_for(name, |browser| browser.count("dialog[open]") == 1);
            if name == "details" {
                browser.wait_for("its packets", |browser| browser.count("dialog .packets tbody tr") == 1);
            }
            look(&browser, name);
            browser.keys([ESCAPE]);
            browser.wait_for("it is closed", |browser| browser.count("dialog") == 0);
        }
    }
    gate.open();
    assert_eq!(browser.console(), Vec::<Value>::new());
}

/// What axe has to say against what is shown now, in short.
fn findings(browser: &Browser) -> Vec<Value> {
    let run = "const found = await axe.run(document, { resultTypes: ['violations'] });
        return found.violations.map((v) => [v.id, v.help, v.nodes.slice(0, 5).map((n) => [n.html.slice(0, 160), n.failureSummary])])";
    let found = browser.script(&format!("return (async () => {{ {run} }})()"), Value::Null);
    found.as_array().expect("a list").clone()
}

/// axe-core, which `tests/run` fetches.
fn axe() -> String {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("tmp/ is in the target directory");
    let file = target.join("tools/axe.min.js");
    std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}, of tests/run: {error}", file.display()))
}
