//! Postfix, with a configuration and a queue of its own.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::sinks::{Far, Kind};
use crate::subject::Drain;
use crate::support::postfix::Postfix;

/// Recipients of each message that Postfix is given: its smtpd takes no more at a time.
const EACH: u64 = 1000;

/// Lets Postfix distribute so many recipients that lie in its queue, 50 a transaction.
pub fn postfix(recipients: u64, concurrency: usize) -> Drain {
    let mut sink = Far::start(Kind::SmtpSink);
    let mut postfix = Postfix::new(sink.port);
    let settings = format!(
        "in_flow_delay = 0\ndisable_dns_lookups = yes\ndefault_process_limit = 200\n\
         smtp_destination_recipient_limit = 50\nsmtp_destination_concurrency_limit = {concurrency}\n\
         initial_destination_concurrency = {concurrency}\nqmgr_message_recipient_limit = 200000\n\
         qmgr_message_active_limit = 20000"
    );
    // Without its queue manager it takes mail in, and sends none.
    postfix.write_services(|service| !service.starts_with("qmgr"));
    postfix.restart(&settings);
    let messages = (recipients / EACH).to_string();
    let fed = Command::new("/usr/sbin/smtp-source")
        .args(["-s", "4", "-l", "4096", "-m", &messages, "-r", &EACH.to_string()])
        .args(["-f", "big-owner@lists.example.org", "-t", "user@example.org", &format!("127.0.0.1:{}", postfix.port)])
        .stdout(Stdio::null())
        .status()
        .expect("smtp-source (package postfix)");
    assert!(fed.success(), "smtp-source");
    postfix.go_down();
    postfix.write_services(|_| true);
    let _ = Command::new("sync").status();
    let transactions = recipients / 50;
    let started = Instant::now();
    postfix.restart(&settings);
    let patience = started + Duration::from_secs(300);
    while sink.transactions() < transactions && Instant::now() < patience {
        std::thread::sleep(Duration::from_millis(1));
    }
    let took = started.elapsed().as_secs_f64();
    let cpu = group_cpu(postfix.pid().expect("it runs"));
    sink.expect(transactions);
    Drain { took, span: sink.span(), cpu, peak: 0.0 }
}

/// CPU seconds of all processes of a group, and of those that its leader has waited for.
fn group_cpu(leader: u32) -> f64 {
    let mut ticks = 0;
    for entry in std::fs::read_dir("/proc").expect("/proc") {
        let Ok(stat) = std::fs::read_to_string(entry.expect("an entry").path().join("stat")) else { continue };
        // proc(5): pid (name) state ppid pgrp …; utime, stime, cutime, cstime are the fields 14 to 17.
        let Some((pid, fields)) = stat.split_once(" (").and_then(|(pid, rest)| Some((pid, rest.rsplit_once(") ")?.1)))
        else {
            continue;
        };
        let fields: Vec<&str> = fields.split(' ').collect();
        if fields[2] != leader.to_string() {
            continue;
        }
        let field = |number: usize| fields[number - 3].parse::<u64>().unwrap_or(0);
        ticks += field(14) + field(15);
        if pid == leader.to_string() {
            ticks += field(16) + field(17);
        }
    }
    ticks as f64 / rustix::param::clock_ticks_per_second() as f64
}
