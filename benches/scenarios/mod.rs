//! What is measured. Each scenario checks, at the receiving end, that all was delivered that it claims.

mod distance;
mod http;
mod inject;
mod memory;
mod peers;
mod profile;
mod promptness;
mod scale;
mod start;
mod sweep;
mod throughput;

use super::decision::decision;
use super::record::Record;
use super::simulator;

/// One of them.
pub struct Scenario {
    pub name: &'static str,
    /// Quickly or not.
    pub measure: fn(&mut Record, bool),
    /// Only if it is named.
    pub optional: bool,
}

impl Scenario {
    /// By its name, or by the beginning of it before a hyphen: `simulate` is all of `simulate-…`.
    pub fn is_called(&self, name: &str) -> bool {
        self.name.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    }
}

const fn scenario(name: &'static str, measure: fn(&mut Record, bool)) -> Scenario {
    Scenario { name, measure, optional: false }
}

pub const ALL: &[Scenario] = &[
    scenario("throughput", throughput::throughput),
    scenario("peers", peers::peers),
    Scenario { optional: true, ..scenario("sympa", peers::sympa) },
    scenario("latency", promptness::latency),
    scenario("stop", promptness::stop),
    scenario("requeue", promptness::requeue),
    scenario("start", start::start),
    scenario("inject", inject::inject),
    scenario("memory", memory::memory),
    scenario("http", http::http),
    scenario("scale", scale::scale),
    scenario("decision", decision),
    scenario("simulate-university", simulator::university),
    scenario("simulate-newsletters", simulator::newsletters),
    scenario("simulate-internet", simulator::internet),
    scenario("distance", distance::distance),
    scenario("sweep", sweep::sweep),
    scenario("profile", profile::profile),
];
