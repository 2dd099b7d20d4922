//! Who comes later is told who gave way to whom.

use serde_json::{Value, json};

use crate::document::{document, fits};
use crate::served::Served;
use crate::support::relay::{Counter, Dot, Gate, Policy, Relay};
use crate::support::spool::{TestSpool, members, wait_until};

const BIG: &str = "big@preempted.example.org.1700000000.1";
const URGENT: &str = "urgent@preempted.example.org.1700000000.2";

#[test]
fn the_last_preemptions_are_told_while_they_last_and_for_how_long_they_did() {
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
    let served = Served::start(spool, &relay.url().to_string(), &[]);
    first.wait_for(1);
    let told = || {
        let told = served.get("/api/v1/preemptions");
        fits(&document(), &json!({"$ref": "#/components/schemas/Preemptions"}), &told);
        told
    };
    let none = told();
    assert!(none["preemptions"] == json!([]) && none["since"].as_f64() <= none["time"].as_f64(), "{none}");
    served.spool.put_packets("0", URGENT, &[members("urgent", 3)]);
    let arrived = || served.get("/api/v1/queue")["levels"][0]["messages"] == 1;
    wait_until("the urgent message is known", arrived, String::new);
    first.open();
    second.wait_for(1);
    wait_until("it is told", || told()["preemptions"] != json!([]), String::new);
    let one = &told()["preemptions"][0];
    let who = |one: &Value| ["message", "priority", "by", "by_priority"].map(|name| one[name].clone());
    assert_eq!(who(one), [BIG, "6", URGENT, "0"]);
    assert_eq!((&one["lasted"], &one["packets"]), (&Value::Null, &json!(1)));
    assert_eq!(one["waiting"], json!(["recipients.mail.0001"]));
    second.open();
    wait_until("it is over", || !told()["preemptions"][0]["lasted"].is_null(), || told().to_string());
    let after = told();
    assert_eq!((after["preemptions"].as_array().unwrap().len(), &after["since"]), (1, &none["since"]));
    let over = &after["preemptions"][0];
    assert_eq!((who(over), &over["at"], &over["waiting"]), (who(one), &one["at"], &json!([])));
}
