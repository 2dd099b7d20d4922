//! How fast it goes is said alike of a message, its level and all, over HTTP and in the spool, by this scheduler and by another
//! one on the same spool, whatever becomes of the recipients.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use sympa_dist::daemon::{clock, lists::Lists};
use sympa_dist::monitor::survey::Survey;
use sympa_dist::spool::running::{self, Pace};

use crate::served::{BIG, Served};
use crate::support::relay::{Policy, Rcpt, Relay};
use crate::support::spool::{TestSpool, members, wait_until};

/// What the one that sends says of itself.
fn pace(spool: &TestSpool) -> Option<Pace> {
    let busy = running::list(&spool.open()).unwrap().into_iter().find(|scheduler| !scheduler.work.is_empty());
    busy.map(|scheduler| scheduler.pace).filter(|pace| pace.rate > 0.0)
}

/// What `look` gives while nothing new is said, and `is_wanted`, with the rate then.
fn seen<T>(spool: &TestSpool, mut look: impl FnMut() -> T, is_wanted: impl Fn(f64, &T) -> bool) -> (f64, T) {
    let mut seen = None;
    let is_seen = || {
        let before = pace(spool);
        let looked = look();
        let pace = pace(spool).filter(|after| before.as_ref() == Some(after) && is_wanted(after.rate, &looked));
        seen = pace.map(|pace| (pace.rate, looked));
        seen.is_some()
    };
    wait_until("a rate is known", is_seen, String::new);
    seen.unwrap()
}

#[test]
fn deferred_recipients_are_in_every_rate_and_all_views_say_the_same() {
    let spool = Arc::new(TestSpool::new());
    spool.put_packets("5", BIG, &[members("m", 40_000)]);
    // So that it lasts.
    let relay = Relay::start(Policy::new().rcpt(|_, _| {
        std::thread::sleep(Duration::from_millis(1));
        Rcpt::Say("450 4.2.1 later")
    }));
    let start = || Served::start(spool.clone(), &relay.url().to_string(), &[]);
    let served = [start(), start()];
    served.iter().for_each(|served| served.wait_until_counted(1));
    for served in &served {
        let look = || (served.get("/api/v1/queue"), served.get(&format!("/api/v1/messages/{BIG}")));
        // The one that does not send looks once a second.
        let is_current = |rate, (queue, _): &(Value, Value)| queue["rate"] == rate;
        let (rate, (queue, message)) = seen(&spool, look, is_current);
        let level = &queue["levels"][5];
        assert_eq!([&level["rate"], &message["rate"]].map(Value::as_f64), [Some(rate); 2]);
        for said in [level, &message] {
            let left = said["recipients_left"].as_f64().unwrap();
            assert!(left < 40_000.0 && (said["time_left"].as_f64().unwrap() * rate - left).abs() < 1.0, "{said}");
        }
    }
    let mut survey = Survey::new(spool.path().to_owned(), Lists::default());
    let (rate, top) = seen(&spool, || survey.look(clock::now()), |_, top| top.lines[0].workers > 0);
    assert_eq!([top.rate, top.levels[5].rate, top.lines[0].rate], [rate; 3]);
}
