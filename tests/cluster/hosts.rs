//! Three hosts, one directory, one database.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use crate::on_both;
use crate::sink::{Fault, Taken, audit};
use crate::site::{DONE, Knobs, Node, QUICKLY, SLOWLY, Site};
use crate::support::database::{Database, Kind};
use crate::support::host::{Host, Sharing, Wires};
use crate::support::spool::{id, wait_until};

on_both! {
    a_crowd_drains_through_three_hosts_and_each_gets_it_once;
    hold_requeue_pause_and_cancel_on_one_host_act_on_the_others;
    a_requeue_that_hides_an_open_folder_loses_nobody;
    an_urgent_message_on_one_host_preempts_on_another_that_can_only_have_been_told;
}

/// The hosts, and what they share.
pub struct Cluster {
    pub hosts: Vec<Host>,
    pub site: Site,
    pub database: Database,
    _wires: Arc<Wires>,
}

impl Cluster {
    pub fn new(kind: Kind, sharing: Sharing) -> Cluster {
        let wires = Wires::new();
        let database = Database::start_at(kind, wires.database(), |_| Vec::new());
        let mut site = Site::at(wires.relay(), &database.url());
        site.knobs.cluster = "tls = 'never'".to_owned();
        if sharing == Sharing::Plain {
            // Nobody is told by the kernel what others do there.
            site.knobs.watch = "poll";
        }
        site.runs("cluster init", DONE);
        let hosts = (0..3).map(|number| Host::new(&wires, number, site.spool.path(), sharing)).collect();
        Cluster { hosts, site, database, _wires: wires }
    }

    pub fn node(&self, host: usize, knobs: &Knobs) -> Node {
        self.site.node_on(&self.hosts[host], &self.hosts[host].name, knobs)
    }

    fn nodes(&self) -> Vec<Node> {
        (0..self.hosts.len()).map(|host| self.node(host, &self.site.knobs)).collect()
    }
}

const NAME: &str = "big@example.org.1700000000.1";
const URGENT: &str = "urgent@example.org.1700000000.2";

/// How many each of them sent to.
fn shares(taken: &[Taken]) -> HashMap<&str, usize> {
    let mut shares = HashMap::new();
    for one in taken {
        *shares.entry(one.who.as_str()).or_default() += one.recipients.len();
    }
    shares
}

fn a_crowd_drains_through_three_hosts_and_each_gets_it_once(kind: Kind) {
    let recipients: usize = std::env::var("CLUSTER_RECIPIENTS").map_or(10_000, |count| count.parse().unwrap());
    let cluster = Cluster::new(kind, Sharing::Fuse);
    // Nobody may be ready before the others are.
    cluster.site.sink.takes(SLOWLY);
    let everybody = cluster.site.put("5", NAME, "p", recipients.div_ceil(200), 200);
    let nodes = cluster.nodes();
    for (host, node) in cluster.hosts.iter().zip(&nodes) {
        node.wait_for_lines(1, &["\"distributing\"", "a look at the directories every 1s"]);
        cluster.site.sink.wait_for_more_from(&host.name);
    }
    let started = Instant::now();
    cluster.site.sink.takes(QUICKLY);
    wait_until_drained(&cluster, everybody.len());
    let taken = cluster.site.sink.taken();
    let account = audit(&taken, &everybody, &[]);
    let (count, took) = (everybody.len(), started.elapsed());
    println!("{kind:?}: {count} recipients in {took:.1?}; {:?}; {account:?}", shares(&taken));
    assert_eq!(account.repeats, 0);
    assert_eq!(cluster.database.sql(&format!("SELECT count(*) FROM {}", cluster.database.table("lease"))), "0");
}

/// A crowd takes as long as it takes, as long as there is any progress.
fn wait_until_drained(cluster: &Cluster, recipients: usize) {
    let mut so_far = 0;
    while so_far < recipients {
        let next = (so_far + 1000).min(recipients);
        cluster.site.sink.wait_for_recipients(next);
        so_far = cluster.site.sink.recipients();
    }
    cluster.site.spool.wait_until_empty();
}

fn hold_requeue_pause_and_cancel_on_one_host_act_on_the_others(kind: Kind) {
    let cluster = Cluster::new(kind, Sharing::Plain);
    let (site, hosts) = (&cluster.site, &cluster.hosts);
    site.sink.takes(SLOWLY);
    let everybody = site.put("5", NAME, "p", 6, 400);
    let _nodes = cluster.nodes();
    let all_send = || hosts.iter().for_each(|host| site.sink.wait_for_more_from(&host.name));
    let all_stop = |why: &str| {
        let mut before = usize::MAX;
        let is_quiet = || {
            std::thread::sleep(3 * SLOWLY);
            let now = site.sink.recipients();
            std::mem::replace(&mut before, now) == now
        };
        wait_until(why, is_quiet, String::new);
        assert!(site.sink.recipients() < everybody.len(), "{why}: it was sent to the end");
    };
    all_send();
    site.runs_on(&hosts[0], &format!("hold {NAME} --reason why-not"), DONE);
    all_stop("all hosts have stopped, since the message is held");
    site.runs_on(&hosts[1], &format!("release {NAME}"), DONE);
    all_send();
    site.runs_on(&hosts[2], "pause --list big@example.org --reason why-not", DONE);
    all_stop("all hosts have stopped, since the list is paused");
    site.runs_on(&hosts[0], "resume --list big@example.org", DONE);
    all_send();
    site.runs_on(&hosts[1], &format!("requeue {NAME} --to 2"), DONE);
    all_send();
    assert_eq!(site.spool.waiting(), [format!("2/{NAME}")]);
    assert_eq!(audit_so_far(&site.sink.taken()), 0);
    site.runs_on(&hosts[2], &format!("cancel {NAME} --yes --reason why-not"), DONE);
    all_stop("all hosts have stopped, since the message is cancelled");
    assert_eq!(audit_so_far(&site.sink.taken()), 0);
}

/// Where files are known by their path alone, whoever has the folder open loses sight of it. What it had not recorded is sent
/// again, from where the folder is now.
fn a_requeue_that_hides_an_open_folder_loses_nobody(kind: Kind) {
    let cluster = Cluster::new(kind, Sharing::Fuse);
    let (site, hosts) = (&cluster.site, &cluster.hosts);
    site.sink.takes(SLOWLY);
    let everybody = site.put("5", NAME, "p", 30, 100);
    let nodes = cluster.nodes();
    hosts.iter().for_each(|host| site.sink.wait_for_more_from(&host.name));
    let from = Instant::now();
    site.runs_on(&hosts[0], &format!("requeue {NAME} --to 2"), DONE);
    site.sink.takes(QUICKLY);
    site.spool.wait_until_empty();
    assert_eq!(site.spool.bad(), [""; 0]);
    audit(&site.sink.taken(), &everybody, &[Fault { who: None, from, to: Instant::now() }]);
    for node in nodes {
        assert_eq!(node.lines_with(&["until it could be recorded"]), [""; 0]);
    }
}

/// How many got it more than once, whoever has not got it yet.
fn audit_so_far(taken: &[Taken]) -> usize {
    let mut got: Vec<String> = taken.iter().flat_map(|taken| taken.recipients.clone()).collect();
    got.sort();
    got.dedup();
    audit(taken, &got, &[]).repeats
}

fn an_urgent_message_on_one_host_preempts_on_another_that_can_only_have_been_told(kind: Kind) {
    let cluster = Cluster::new(kind, Sharing::Fuse);
    let (site, hosts) = (&cluster.site, &cluster.hosts);
    site.sink.takes(SLOWLY);
    site.put("5", NAME, "p", 2, 1000);
    let lazy = Knobs { watch: "poll", interval: "1h", rescan: "1h", ..site.knobs.clone() };
    let node = cluster.node(1, &lazy);
    node.wait_for_lines(1, &[if kind == Kind::Postgres { "PostgreSQL's notifications" } else { "a table in MariaDB" }]);
    site.sink.wait_for_more_from(&hosts[1].name);
    // This one sees what its host does, and has nobody to send to: nothing listens there.
    let watching =
        Knobs { watch: "inotify", rescan: "1h", relay: Some("smtp://127.0.0.1:1".into()), ..site.knobs.clone() };
    let _other = cluster.node(0, &watching);
    let file = site.spool.path().with_extension("urgent");
    std::fs::write(&file, "u000-1@example.org\nu000-2@example.org\n").unwrap();
    let message = site.spool.path().with_extension("message");
    std::fs::write(&message, format!("From: a@example.org\nSubject: {URGENT}\n\nNow.\n")).unwrap();
    let (file, message) = (file.display(), message.display());
    let line = format!(
        "inject --list {} --priority 0 --id {URGENT} --message {message} --recipients mail={file}",
        id(URGENT).list()
    );
    site.runs_on(&hosts[0], &line, DONE);
    let mut first = None;
    site.sink.wait_for("the urgent message", |taken| {
        first = taken.iter().find(|taken| taken.subject == URGENT).map(|taken| taken.who.clone());
        first.is_some()
    });
    assert_eq!(first.as_ref(), Some(&hosts[1].name));
    assert!(site.spool.waiting().contains(&format!("5/{NAME}")), "the big one gave way");
    let _ = (std::fs::remove_file(file.to_string()), std::fs::remove_file(message.to_string()));
}
