//! What a recipient costs in system calls: the figure that a busy machine doesn't change.
//!
//! One worker drains a message into a sink, under strace. Each kind of call may be up to 15 % above what was counted when
//! the limit was last set; one more call a transaction is more than that. A limit is raised only together with what it
//! pays for.

mod support;

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Instant;

use support::program::{self, Program};
use support::spool::{TestSpool, members, wait_until};
use sympa_dist::deliver::sink::{Sink, SinkOptions};

const PACKETS: usize = 20;
const PACKET: usize = 1000;
const TRANSACTIONS: usize = PACKETS * PACKET / 50;

/// Calls on the path of a transaction. Those of other threads and of the start are not counted.
const COUNTED: &[(&str, usize)] = &[
    // The group and the body; the answers to each, waited for.
    ("sendto", 2 * TRANSACTIONS),
    ("recvfrom", 2 * TRANSACTIONS),
    ("ppoll", 2 * TRANSACTIONS),
    // The checkpoint; the last transaction of a packet has none.
    ("pwrite64", TRANSACTIONS),
    ("fdatasync", TRANSACTIONS),
    // The boundary.
    ("newfstatat", TRANSACTIONS + 3 * PACKETS),
    // The log, gathered.
    ("write", TRANSACTIONS / 4),
    // Each packet's file and its checkpoint; the rest is the start.
    ("openat", 8 * PACKETS + 10),
    ("fsync", PACKETS + 4),
    ("unlinkat", 2 * PACKETS + 4),
];

/// Calls a second, however much is sent: the look at what is paused opens and lists its directory twice, for what is over and
/// for what is not. On a machine that is busy enough they are more than the packets' 15 %.
const EACH_SECOND: &[(&str, usize)] = &[("openat", 4)];

#[test]
fn a_transaction_takes_no_more_system_calls_than_it_did() {
    let spool = TestSpool::new();
    let everybody = members("m", PACKETS * PACKET);
    let packets: Vec<Vec<String>> = everybody.chunks(PACKET).map(<[String]>::to_vec).collect();
    spool.put_packets("5", "big@effort.example.org.1700000000.1", &packets);
    let sink = Sink::start(SinkOptions::default()).unwrap();
    let (summary, log) = (spool.path().join("incoming/.calls"), spool.path().join("incoming/.log"));
    let traced = program::command();
    let mut command = Command::new("strace");
    // -D: the tracer is the grandchild, so that the child is the program itself.
    command.args(["-D", "-f", "-c", "-o"]).arg(&summary).arg(traced.get_program());
    command.args(["--log-level", "info", "--log-format", "json", "--spool"]).arg(spool.path());
    command.args(["run", "--workers", "1", "--relay", &sink.url().to_string()]);
    command.env("SYMPA_DIST_HTTP_LISTEN", "");
    command.stderr(std::fs::File::create(&log).unwrap());
    let started = Instant::now();
    let mut program = Program::start(&mut command);
    wait_until("all is sent", || spool.waiting().is_empty(), || format!("{:?}", spool.waiting()));
    assert!(program.stop().success());
    let seconds = started.elapsed().as_secs() as usize;
    let counts = || -> BTreeMap<String, usize> {
        let text = std::fs::read_to_string(&summary).unwrap_or_default();
        // % time, seconds, usecs/call, calls, perhaps errors, name.
        let rows = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        rows.filter_map(|row| Some(((*row.last()?).to_owned(), row.get(3)?.parse().ok()?))).collect()
    };
    wait_until("the summary", || counts().contains_key("total"), String::new);
    assert_eq!(sink.transactions(), TRANSACTIONS as u64);
    let counts = counts();
    println!("{PACKETS} packets, {TRANSACTIONS} transactions: {counts:?}");
    for (call, limit) in COUNTED {
        let each_second = EACH_SECOND.iter().find(|(of, _)| of == call).map_or(0, |(_, count)| *count);
        let count = counts.get(*call).copied().unwrap_or(0).saturating_sub(each_second * seconds);
        assert!(count * 100 <= limit * 115, "{count} {call}, and {limit} were enough");
    }
}
