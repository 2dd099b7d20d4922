//! The scheduler's figures in the OpenMetrics text format, for Prometheus.
//!
//! Base units, `_total` on counters, and no label whose values a list or a message could add to, but for so many lists as
//! `metrics.lists` names. A scrape reads the view and the tally: no directory, no file, and no lock that a worker waits for.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::row::{LevelRow, ListRow};
use super::stuck::Reason;
use super::view::View;
use crate::daemon::clock;
use crate::mail::{Level, Priority};

pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What of one level is counted, by its label.
type Count<L> = (&'static str, fn(&L) -> u64);

/// What readers of the format before OpenMetrics ask for.
pub const PLAIN_CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The same in the older format, which names a counter with its `_total` in the comments, too, and has no end mark.
pub fn plain_text(view: &Arc<View>, lists: usize) -> Result<String, fmt::Error> {
    let text = text(view, lists)?;
    let counters: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter")).collect();
    let mut plain = String::with_capacity(text.len());
    for line in text.lines().filter(|line| *line != "# EOF") {
        let comment = line.strip_prefix("# HELP ").or(line.strip_prefix("# TYPE "));
        match comment.and_then(|rest| rest.split_once(' ')).filter(|(name, _)| counters.contains(name)) {
            Some((name, rest)) => plain += &format!("{} {name}_total {rest}\n", &line[..6]),
            None => {
                plain += line;
                plain.push('\n');
            }
        }
    }
    Ok(plain)
}

/// All of them, as text; so many lists by name.
pub fn text(view: &Arc<View>, lists: usize) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Scrape { view: view.clone(), lists }));
    let mut text = String::with_capacity(32 * 1024);
    prometheus_client::encoding::text::encode(&mut text, &registry)?;
    Ok(text)
}

#[derive(Debug)]
struct Scrape {
    view: Arc<View>,
    lists: usize,
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("View")
    }
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        self.queue(&mut encoder)?;
        self.lists(&mut encoder)?;
        self.work(&mut encoder)?;
        self.relays(&mut encoder)
    }
}

impl Scrape {
    /// What waits.
    fn queue(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        const MESSAGES: &[Count<LevelRow>] = &[
            ("active", |level| level.active - level.elsewhere),
            ("elsewhere", |level| level.elsewhere),
            ("waiting", |level| level.waiting),
            ("scheduled", |level| level.scheduled),
            ("deferred", |level| level.deferred_messages),
            ("held", |level| level.messages - level.active - level.waiting - level.scheduled - level.deferred_messages),
        ];
        const RECIPIENTS: &[Count<LevelRow>] = &[
            ("left", |level| level.recipients_left),
            ("deferred", |level| level.deferred),
            ("failed", |level| level.failed),
        ];
        let levels = self.view.summary().levels;
        for (name, help, counts) in [
            (
                "sympa_dist_queue_messages",
                "Messages in the spool; elsewhere: only another scheduler on this spool is sending them",
                MESSAGES,
            ),
            ("sympa_dist_queue_recipients", "Recipients of messages in the spool who have not got them", RECIPIENTS),
        ] {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for level in &levels {
                for (state, count) in counts {
                    let labels = [("priority", level.priority.as_str()), ("state", state)];
                    gauge(family.encode_family(&labels)?, count(level) as f64)?;
                }
            }
        }
        let help = "Messages that are due and of which nothing is sent, by what is in the way";
        let name = "sympa_dist_queue_stuck_messages";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        // Nothing is in the way of what is held but whoever holds it.
        for level in levels.iter().filter(|level| level.priority != Priority::Held.to_string()) {
            for (reason, count) in Reason::IN_THE_WAY.iter().zip(level.in_the_way) {
                let labels = [("priority", level.priority.as_str()), ("reason", reason.as_str())];
                gauge(family.encode_family(&labels)?, count as f64)?;
            }
        }
        let help = "Time since the oldest message arrived, of those that are being sent or wait for their turn: not for a date, a \
             window or deferred recipients' next try";
        let name = "sympa_dist_queue_oldest_message_age_seconds";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        let now = clock::epoch().0;
        for level in &levels {
            let age = level.oldest_due.map_or(0, |at| now.saturating_sub(at));
            gauge(family.encode_family(&[("priority", level.priority.as_str())])?, age as f64)?;
        }
        Ok(())
    }

    /// What waits, by list, where somebody asked for that.
    fn lists(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        const RECIPIENTS: &[Count<ListRow>] = &[
            ("left", |list| list.recipients_left),
            ("deferred", |list| list.deferred),
            ("failed", |list| list.failed),
        ];
        if self.lists == 0 {
            return Ok(());
        }
        let lists = self.view.lists(self.lists);
        let help = "Messages in the spool, by list: those with the most recipients left, and all others";
        let name = "sympa_dist_list_queue_messages";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for list in &lists {
            gauge(family.encode_family(&[("list", list.list.as_str())])?, list.messages as f64)?;
        }
        let help = "Recipients of messages in the spool who have not got them, by list";
        let name = "sympa_dist_list_queue_recipients";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for list in &lists {
            for (state, count) in RECIPIENTS {
                let labels = [("list", list.list.as_str()), ("state", state)];
                gauge(family.encode_family(&labels)?, count(list) as f64)?;
            }
        }
        Ok(())
    }

    /// What was done.
    fn work(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let tally = &self.view.live.tally;
        let levels = || Level::all().map(|level| (level.to_string(), &tally.levels[level.index()]));
        let help = "Recipients by what became of them; deferred ones are counted each time";
        let mut family = encoder.encode_descriptor("sympa_dist_recipients", help, None, MetricType::Counter)?;
        for (priority, level) in levels() {
            for (result, counter) in [("sent", &level.sent), ("deferred", &level.deferred), ("failed", &level.failed)] {
                counter.encode(family.encode_family(&[("priority", priority.as_str()), ("result", result)])?)?;
            }
        }
        let help = "Recipients of whom nobody knows whether they got the message";
        let family = encoder.encode_descriptor("sympa_dist_uncertain_recipients", help, None, MetricType::Counter)?;
        tally.uncertain.encode(family)?;
        let help = "Transactions that the relay answered to the end";
        let mut family = encoder.encode_descriptor("sympa_dist_transactions", help, None, MetricType::Counter)?;
        for (priority, level) in levels() {
            level.transactions.encode(family.encode_family(&[("priority", priority.as_str())])?)?;
        }
        let help = "Messages distributed";
        let mut family = encoder.encode_descriptor("sympa_dist_messages", help, None, MetricType::Counter)?;
        for (priority, level) in levels() {
            level.messages.encode(family.encode_family(&[("priority", priority.as_str())])?)?;
        }
        let packets = &tally.packets;
        let help = "Packets by how a worker's hold on them ended";
        let mut family = encoder.encode_descriptor("sympa_dist_packets", help, None, MetricType::Counter)?;
        for (result, counter) in [
            ("finished", &packets.finished),
            ("preempted", &packets.preempted),
            ("given_back", &packets.given_back),
            ("set_aside", &packets.set_aside),
        ] {
            counter.encode(family.encode_family(&[("result", result)])?)?;
        }
        let help = "Workers that gave way to another message";
        let mut family = encoder.encode_descriptor("sympa_dist_preemptions", help, None, MetricType::Counter)?;
        for from in Level::all() {
            for to in Level::all().filter(|to| *to <= from) {
                let counter = &tally.preemptions[from.index()][to.index()];
                let (from, to) = (from.to_string(), to.to_string());
                counter.encode(family.encode_family(&[("from", from.as_str()), ("to", to.as_str())])?)?;
            }
        }
        let histograms: [(&str, &str, &Histogram); 3] = [
            (
                "preemption_latency",
                "From finding an urgent message to a worker's giving way",
                &tally.preemption_latency,
            ),
            ("transaction_duration", "From MAIL to the reply to the final dot", &tally.transaction_duration),
            ("checkpoint_duration", "Writing down how far a packet is, sync included", &tally.checkpoint_duration),
        ];
        for (name, help, histogram) in histograms {
            let name = format!("sympa_dist_{name}_seconds");
            histogram.encode(encoder.encode_descriptor(&name, help, None, MetricType::Histogram)?)?;
        }
        Ok(())
    }

    fn relays(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        // The configuration bounds their number.
        let relays = self.view.live.relays();
        let help = "Connections to relays";
        let mut family = encoder.encode_descriptor("sympa_dist_smtp_connections", help, None, MetricType::Gauge)?;
        for relay in &relays {
            gauge(family.encode_family(&[("relay", relay.relay.relay.as_str())])?, relay.connections as f64)?;
        }
        let mut family =
            encoder.encode_descriptor("sympa_dist_relay_up", "Whether a relay is in use", None, MetricType::Gauge)?;
        for relay in &relays {
            let up = f64::from(u8::from(relay.relay.state == "closed"));
            gauge(family.encode_family(&[("relay", relay.relay.relay.as_str())])?, up)?;
        }
        let workers = self.view.live.workers().len() as f64;
        gauge(encoder.encode_descriptor("sympa_dist_workers", "Threads that send", None, MetricType::Gauge)?, workers)?;
        let help = "Whether mail could be sent now";
        let ready = f64::from(u8::from(self.view.live.readiness().is_ready()));
        gauge(encoder.encode_descriptor("sympa_dist_ready", help, None, MetricType::Gauge)?, ready)?;
        let help = "This program";
        let mut family = encoder.encode_descriptor("sympa_dist_build_info", help, None, MetricType::Gauge)?;
        gauge(family.encode_family(&[("version", env!("CARGO_PKG_VERSION"))])?, 1.0)
    }
}

fn gauge(encoder: MetricEncoder<'_>, value: f64) -> Result<(), fmt::Error> {
    ConstGauge::new(value).encode(encoder)
}
