//! What goes wrong, goes wrong: three hosts with two processes each drain one message after another, while processes are
//! killed and halted, hosts are cut off from the database, the database goes down, and operators requeue.
//!
//! What befalls whom is drawn from a seed; what happens then is up to the kernel's scheduling. Whatever it is: nobody is
//! lost, no packet is in two hands at once, and whoever gets a message twice was in a transaction when something was wrong
//! with its sender, or with the database.

use std::ops::Range;
use std::time::{Duration, Instant};

use crate::hosts::Cluster;
use crate::on_both;
use crate::sink::{Account, Fault, audit, is_refused};
use crate::site::{Halted, Node};
use crate::support::PATIENCE;
use crate::support::database::Kind;
use crate::support::host::Sharing;
use crate::support::random::Random;

on_both! {
    whatever_goes_wrong_on_a_network_file_system_nobody_is_lost_and_no_packet_is_in_two_hands;
    whatever_goes_wrong_in_one_directory_nobody_is_lost_and_no_packet_is_in_two_hands;
}

const LEASE: Duration = Duration::from_secs(2);
const PACKETS: usize = 18;
const EACH: usize = 250;
/// A round's.
const MISHAPS: usize = 5;
/// What was wrong has its effect until what a process has was renewed, or taken over.
const AFTERMATH: Duration = Duration::from_secs(4 * LEASE.as_secs());

#[derive(Clone, Copy, Debug)]
enum Mishap {
    /// kill -9, and another one is started.
    Kill,
    /// SIGSTOP, for longer than a lease or not.
    Halt,
    CutOff,
    DatabaseGoesDown,
    DatabaseCrashes,
    DatabaseHalts,
    Requeue,
    Urgent,
}

const ALL: &[Mishap] = &[
    Mishap::Kill,
    Mishap::Kill,
    Mishap::Halt,
    Mishap::Halt,
    Mishap::CutOff,
    Mishap::CutOff,
    Mishap::DatabaseGoesDown,
    Mishap::DatabaseCrashes,
    Mishap::DatabaseHalts,
    Mishap::Urgent,
    Mishap::Requeue,
    Mishap::Requeue,
];
/// So many of them, at the end.
const RENAMES: usize = 2;

struct Chaos {
    cluster: Cluster,
    mishaps: &'static [Mishap],
    /// With the number of their host.
    nodes: Vec<(usize, Node)>,
    random: Random,
    faults: Vec<Fault>,
    everybody: Vec<String>,
    round: usize,
    urgent: usize,
    started: usize,
    over: Vec<Over>,
    /// By those that have been killed.
    taken_over: usize,
    recipients: usize,
    /// Times that a process lost a lease though nothing had been done to it.
    unplanned: usize,
}

/// What ends a mishap, and when.
struct Over {
    at: Instant,
    remedy: Remedy,
    faults: Range<usize>,
}

enum Remedy {
    GoOn(Halted),
    Reconnect(usize),
    ComeUp,
    Answer,
}

fn whatever_goes_wrong_on_a_network_file_system_nobody_is_lost_and_no_packet_is_in_two_hands(kind: Kind) {
    // On this one, another host's rename is not what it is on others.
    play(kind, Sharing::Fuse, &ALL[..ALL.len() - RENAMES]);
}

fn whatever_goes_wrong_in_one_directory_nobody_is_lost_and_no_packet_is_in_two_hands(kind: Kind) {
    play(kind, Sharing::Plain, ALL);
}

fn play(kind: Kind, sharing: Sharing, mishaps: &'static [Mishap]) {
    let number = |name: &str, default| std::env::var(name).map_or(default, |text| text.parse().expect("a number"));
    let rounds = number("CHAOS_ROUNDS", 1);
    let seed = number("CHAOS_SEED", u64::from(std::process::id()));
    // Shown when the test fails.
    println!("{kind:?}, {sharing:?}: CHAOS_SEED={seed}");
    let cluster = Cluster::new(kind, sharing);
    cluster.site.sink.takes(Duration::from_millis(100));
    cluster.site.sink.is_fussy_from_now_on();
    let (nodes, faults, everybody) = (Vec::new(), Vec::new(), Vec::new());
    let random = Random::new(seed);
    let mut chaos = Chaos {
        cluster,
        mishaps,
        nodes,
        random,
        faults,
        everybody,
        round: 0,
        urgent: 0,
        started: 0,
        over: Vec::new(),
        taken_over: 0,
        recipients: 0,
        unplanned: 0,
    };
    for host in [0, 0, 1, 1, 2, 2] {
        chaos.start(host);
    }
    let (mut repeats, mut handed_over, mut faults) = (0, 0, 0);
    for round in 0..rounds {
        chaos.round = round as usize;
        let account = chaos.play();
        println!("{kind:?}, {sharing:?}, round {round}: {account:?}");
        repeats += account.repeats;
        handed_over += account.handed_over;
        faults += chaos.faults.len();
    }
    let over = chaos.taken_over + chaos.nodes.iter().map(|(_, node)| taken_over(node)).sum::<usize>();
    println!(
        "{kind:?}, {sharing:?}, {rounds} rounds: {} recipients, {faults} faults ({} of them nobody's), 0 lost, {repeats} repeats, {over} leases \
         taken over, {handed_over} times a packet went from one process to another",
        chaos.recipients, chaos.unplanned
    );
}

impl Chaos {
    fn start(&mut self, host: usize) {
        self.started += 1;
        let who = format!("{}-{}", self.cluster.hosts[host].name, self.started);
        let node = self.cluster.site.node_on(&self.cluster.hosts[host], &who, &self.cluster.site.knobs);
        self.nodes.push((host, node));
    }

    /// One message, from its arrival to its end.
    #[track_caller]
    fn play(&mut self) -> Account {
        self.faults.clear();
        let (begun, started) = (self.cluster.site.sink.taken().len(), Instant::now());
        let name = format!("big@example.org.17000{:05}.1", self.round);
        self.everybody = self.cluster.site.put("5", &name, &format!("r{}p", self.round), PACKETS, EACH);
        let (mut left, deadline) = (MISHAPS, Instant::now() + 2 * PATIENCE);
        let (mut at, mut by) = self.next();
        while !self.over.is_empty() || !self.cluster.site.spool.is_empty() {
            assert!(Instant::now() < deadline, "not drained: {:?}", self.cluster.site.spool.waiting());
            self.mend(Instant::now());
            // It may wait for something that is still wrong.
            if left > 0 && (self.cluster.site.sink.recipients() >= at || Instant::now() > by) {
                let mishap = *self.random.one_of(self.mishaps);
                self.befall(mishap, &name);
                left -= 1;
                (at, by) = self.next();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        if let Some(name) = self.cluster.site.spool.bad().first() {
            let why = self.cluster.site.spool.reason(name);
            let logs: Vec<String> = self.nodes.iter().flat_map(|(_, node)| node.lines_with(&["bad/"])).collect();
            panic!("bad/{name}: {why}\n{}", logs.join("\n"));
        }
        self.notice_what_nobody_did(&name, started);
        let sink = &self.cluster.site.sink;
        let (refused, others): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.everybody).into_iter().partition(|to| is_refused(to));
        let reports = sink.reports();
        let unreported: Vec<&String> = refused.iter().filter(|to| !reports.contains(*to)).collect();
        assert!(unreported.is_empty(), "nobody was told that these failed: {unreported:?}");
        self.recipients += refused.len() + others.len();
        audit(&sink.taken()[begun..], &others, &self.faults)
    }

    /// On a machine that has much to do, the database may answer more slowly than a lease lasts. Whoever has lost one says so.
    fn notice_what_nobody_did(&mut self, name: &str, from: Instant) {
        for (_, node) in &self.nodes {
            let has_lost = ["the lease is lost", "its lease is over"]
                .iter()
                .any(|line| !node.lines_with(&[line, name]).is_empty());
            if has_lost {
                let is_planned = |fault: &Fault| fault.who.as_ref().is_none_or(|who| *who == node.who);
                self.unplanned += usize::from(!self.faults.iter().any(is_planned));
                self.faults.push(Fault { who: Some(node.who.clone()), from, to: Instant::now() });
            }
        }
    }

    /// When the next thing goes wrong: when so many recipients got their message, or then.
    fn next(&mut self) -> (usize, Instant) {
        let after = self.random.within(100..(PACKETS * EACH / MISHAPS) as u64) as usize;
        (self.cluster.site.sink.recipients() + after, Instant::now() + LEASE)
    }

    /// Longer than a lease, or not.
    fn a_while(&mut self) -> Duration {
        LEASE.mul_f64(self.random.within(5..25) as f64 / 10.0)
    }

    /// Ends what has lasted long enough.
    fn mend(&mut self, now: Instant) {
        while let Some(index) = self.over.iter().position(|over| over.at <= now) {
            let over = self.over.swap_remove(index);
            match over.remedy {
                Remedy::GoOn(halted) => drop(halted),
                Remedy::Reconnect(host) => self.cluster.hosts[host].mend_database(),
                Remedy::ComeUp => self.cluster.database.come_up(),
                Remedy::Answer => self.cluster.database.go_on(),
            }
            for fault in &mut self.faults[over.faults] {
                fault.to = Instant::now() + AFTERMATH;
            }
        }
    }

    fn befall(&mut self, mishap: Mishap, name: &str) {
        println!("round {}: {mishap:?}", self.round);
        let from = Instant::now();
        let whom = self.random.below(self.nodes.len());
        let (host, while_) = (self.nodes[whom].0, self.a_while());
        let who = self.nodes[whom].1.who.clone();
        // The database has one thing at a time.
        let database_is_well = !self.over.iter().any(|over| matches!(over.remedy, Remedy::ComeUp | Remedy::Answer));
        let (who, remedy) = match mishap {
            Mishap::Kill => {
                let mut node = self.nodes.swap_remove(whom).1;
                node.kill();
                self.taken_over += taken_over(&node);
                self.faults.push(Fault { who: Some(who), from, to: Instant::now() + AFTERMATH });
                return self.start(host);
            }
            Mishap::Halt => (vec![Some(who)], Remedy::GoOn(Halted::new(&self.nodes[whom].1))),
            Mishap::CutOff => {
                self.cluster.hosts[host].cut_off_database();
                let of_it = self.nodes.iter().filter(|(of, _)| *of == host);
                (of_it.map(|(_, node)| Some(node.who.clone())).collect(), Remedy::Reconnect(host))
            }
            Mishap::DatabaseGoesDown if database_is_well => {
                self.cluster.database.go_down();
                (vec![None], Remedy::ComeUp)
            }
            Mishap::DatabaseCrashes if database_is_well => {
                self.cluster.database.crash();
                (vec![None], Remedy::ComeUp)
            }
            Mishap::DatabaseHalts if database_is_well => {
                self.cluster.database.halt();
                (vec![None], Remedy::Answer)
            }
            Mishap::DatabaseGoesDown | Mishap::DatabaseCrashes | Mishap::DatabaseHalts => return,
            Mishap::Requeue => {
                let to = self.random.within(3..8);
                let operator = &self.cluster.hosts[host];
                // It may have been finished before.
                self.cluster.site.start_on(operator, &format!("requeue {name} --to {to}")).wait();
                return;
            }
            Mishap::Urgent => {
                self.urgent += 1;
                let name = format!("urgent@example.org.17000{:05}.2", self.urgent);
                let prefix = format!("u{}p", self.urgent);
                self.everybody.extend(self.cluster.site.put("0", &name, &prefix, 2, 20));
                return;
            }
        };
        let begun = self.faults.len();
        let to = from + 10 * PATIENCE;
        self.faults.extend(who.into_iter().map(|who| Fault { who, from, to }));
        self.over.push(Over { at: from + while_, remedy, faults: begun..self.faults.len() });
    }
}

/// How many leases it took from others.
fn taken_over(node: &Node) -> usize {
    node.lines_with(&["takes a packet over"]).len()
}
