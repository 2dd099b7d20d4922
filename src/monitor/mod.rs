//! What people and their tools see of a running scheduler: depth, age, progress, events, metrics.
//!
//! - [`view`]: what is known of every message, kept current by the scheduler's events and checked against the spool.
//! - [`by_id`]: how it is kept.
//! - [`row`]: how it is said.
//! - [`history`]: rates, and the last hour by minutes.
//! - [`metrics`]: all of it for Prometheus.
//! - [`http`]: all of it for a browser and for programs; the operators' moves, for who has the token.
//!
//! It looks and never decides: a scheduler without it distributes alike. Nothing here is waited for by a worker. What it
//! knows is lost with the process and made anew from the spool by the next one.

#[cfg(feature = "http")]
mod by_id;
#[cfg(feature = "http")]
pub mod history;
#[cfg(feature = "http")]
pub mod http;
#[cfg(feature = "http")]
pub mod metrics;
#[cfg(feature = "http")]
pub mod row;
#[cfg(feature = "http")]
pub mod view;
