//! An idle scheduler sleeps.

use std::time::Duration;

use crate::support::child::{Child, Orders};
use crate::support::relay::{Policy, Relay};
use crate::support::spool::{TestSpool, members, wait_until};

/// How often the process's threads have gone to sleep by themselves so far, by thread.
fn sleeps(process: u32) -> Vec<(String, u64)> {
    let mut threads = Vec::new();
    for task in std::fs::read_dir(format!("/proc/{process}/task")).unwrap() {
        let path = task.unwrap().path();
        let status = std::fs::read_to_string(path.join("status")).unwrap();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim().to_owned()
        };
        threads.push((field("Name:"), field("voluntary_ctxt_switches:").parse().unwrap()));
    }
    threads.sort();
    threads
}

#[test]
fn an_idle_scheduler_does_not_wake_up() {
    let spool = TestSpool::new();
    let relay = Relay::start(Policy::new());
    let mut child = Child::start(&Orders::new(spool.path(), relay.url(), 4));
    // Connections that are kept, messages that are held or not due yet: nothing of it is a reason to wake up.
    spool.put_packets("z", "held@idle.example.org.1700000000.1", &[members("held", 5)]);
    spool.put_packets("3", "due@idle.example.org.1700000000.2:at4000000000", &[members("due", 5)]);
    spool.put_packets("3", "list@idle.example.org.1700000000.3", &[members("m", 50), members("n", 50)]);
    relay.wait_for_recipients(100);
    wait_until("it is removed", || spool.waiting().len() == 2, || format!("{:?}", spool.waiting()));
    // What is still under way ends.
    let mut before = sleeps(child.id());
    wait_until(
        "rest",
        || {
            // It says that it rests some seconds after it has begun to.
            std::thread::sleep(Duration::from_millis(1500));
            let now = sleeps(child.id());
            now == std::mem::replace(&mut before, now.clone())
        },
        String::new,
    );
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(sleeps(child.id()), before);
    assert!(child.stop().success());
}
