//! What a scheduler lets other processes know of its work, in the spool's `running/`.

use sympa_dist::spool::running::{self, Scheduler, Work};

use crate::support::relay::{Dot, Gate, Policy, Rcpt, Relay};
use crate::support::scheduler::{Running, settings};
use crate::support::spool::{TestSpool, members, wait_until};

const BIG: &str = "big@showing.example.org.1700000000.1";

/// What the one scheduler says, once it is what is waited for.
fn said(spool: &TestSpool, what: &str, is_wanted: impl Fn(&Scheduler) -> bool) -> Scheduler {
    let look = || running::list(&spool.open()).unwrap().pop();
    wait_until(what, || look().is_some_and(|scheduler| is_wanted(&scheduler)), || format!("{:?}", look()));
    look().unwrap()
}

#[test]
fn what_workers_are_on_and_how_fast_it_goes_stands_in_the_spool_as_long_as_something_is_sent() {
    let spool = TestSpool::new();
    spool.put_packets("6", BIG, &[members("m", 50)]);
    let gates = [Gate::new(), Gate::new()];
    let theirs = gates.clone();
    let relay = Relay::start(Policy::new().dot(move |envelope| {
        match envelope.order {
            1 => theirs[0].pass(),
            3 => theirs[1].pass(),
            _ => {}
        }
        Dot::Take
    }));
    let scheduler = Running::start(settings(spool.path(), relay.url(), 2));
    gates[0].wait_for(1);
    let busy = said(&spool, "the worker's place", |said| said.work.iter().any(|work| work.done == 10));
    let expected = Work {
        worker: busy.work[0].worker,
        message: BIG.into(),
        packet: "recipients.mail.0001".into(),
        priority: "6".into(),
        recipients: 50,
        done: 10,
        since: busy.work[0].since,
    };
    assert_eq!(busy.work, [expected]);
    assert!(busy.work[0].since >= busy.since);
    gates[0].open();
    gates[1].wait_for(1);
    let moving = said(&spool, "the worker's next place", |said| said.work.iter().any(|work| work.done == 30));
    assert!(moving.rates[BIG] > 0.0 && moving.sent[6] == 30, "{moving:?}");
    // All of it is this message.
    assert_eq!((moving.pace.rate, moving.pace.levels[6]), (moving.rates[BIG], moving.rates[BIG]));
    gates[1].open();
    spool.wait_until_empty();
    let idle = said(&spool, "rest", |said| said.work.is_empty());
    assert!(idle.rates.is_empty());
    assert_eq!(idle.sent, std::array::from_fn(|level| if level == 6 { 50 } else { 0 }));
    // And again, with the next message.
    spool.put_packets("2", BIG, &[members("n", 10)]);
    said(&spool, "the next one", |said| said.sent[2] == 10 && said.work.is_empty());
    scheduler.stop();
}

#[test]
fn whoever_is_deferred_counts_once_when_tried_first_and_all_rates_end_with_the_work() {
    let spool = TestSpool::new();
    spool.put_packets("6", BIG, &[members("m", 50)]);
    let relay = Relay::start(Policy::new().rcpt(|_, asked| match asked {
        0 => Rcpt::Say("450 4.2.1 later"),
        _ => Rcpt::Take,
    }));
    let scheduler = Running::start(settings(spool.path(), relay.url(), 2));
    spool.wait_until_empty();
    relay.wait_for_recipients(50);
    let rests = |said: &Scheduler| said.sent[6] == 50 && said.work.is_empty() && said.pace.rate == 0.0;
    let idle = said(&spool, "rest", rests);
    let at_6 = |figure| std::array::from_fn(|level| if level == 6 { figure } else { 0 });
    assert_eq!((idle.pace.passed, idle.sent), (at_6(50), at_6(50)));
    assert_eq!(idle.pace.levels, [0.0; 10]);
    scheduler.stop();
}
