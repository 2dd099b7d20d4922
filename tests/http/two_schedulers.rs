//! Two schedulers on one spool: each shows what the other one does.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::served::{BIG, Served};
use crate::support::relay::{Dot, Gate, Policy, Rcpt, Relay};
use crate::support::spool::{TestSpool, members, message, wait_until};

/// Once the message is shown so: its state, workers, and recipients done, deferred and left.
fn becomes(served: &Served, wanted: &Value) {
    let figures = || {
        let message = served.get(&format!("/api/v1/messages/{BIG}"));
        let names = ["state", "workers", "recipients_done", "deferred", "recipients_left"];
        Value::from_iter(names.map(|name| message[name].clone()))
    };
    wait_until("it is shown", || figures() == *wanted, || format!("{} and not {wanted}", figures()));
}

fn at_5(served: &Served, state: &str) -> f64 {
    served.metric(&format!("sympa_dist_queue_messages{{priority=\"5\",state=\"{state}\"}}"))
}

#[test]
fn each_shows_what_the_other_one_sends_and_how_far_that_was_once_it_has_ended() {
    let spool = Arc::new(TestSpool::new());
    let gate = Gate::new();
    let theirs = gate.clone();
    let policy = Policy::new().rcpt(|address, _| match address {
        "m000004@example.org" => Rcpt::Say("450 4.2.1 later"),
        _ => Rcpt::Take,
    });
    let relay = Relay::start(policy.dot(move |envelope| {
        if envelope.order == 3 {
            theirs.pass();
        }
        Dot::Take
    }));
    // No scan tells of anything.
    let settings = [("SYMPA_DIST_RUN_RECIPIENTS_PER_TRANSACTION", "10"), ("SYMPA_DIST_RUN_RESCAN", "1h")];
    let start = || Served::start(spool.clone(), &relay.url().to_string(), &settings);
    let both = [start(), start()];
    // One packet: only one of them can send.
    let (recipients, head) = (members("m", 50).join("\n") + "\n", "X-Sympa-Dist-Recipients: 50\n");
    spool.put("5", BIG, &[("recipients.mail.0001", &recipients), ("message", &(head.to_owned() + &message(BIG)))]);
    gate.wait_for(1);
    let on_its_way = json!(["active", 1, 29, 1, 20]);
    both.iter().for_each(|served| becomes(served, &on_its_way));
    let counted = both.each_ref().map(|served| ["active", "elsewhere", "waiting"].map(|state| at_5(served, state)));
    let (busy, idle) = ([1.0, 0.0, 0.0], [0.0, 1.0, 0.0]);
    assert!(counted == [busy, idle] || counted == [idle, busy], "{counted:?}");
    gate.open();
    both.iter().for_each(|served| becomes(served, &json!(["deferred", 0, 49, 1, 0])));
}
