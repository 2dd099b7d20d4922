//! What people and their tools see of a running scheduler: depth, age, progress, events, metrics.
//!
//! - [`view`]: what is known of every message, kept current by the scheduler's events and checked against the spool.
//! - [`by_id`]: how it is kept.
//! - [`row`]: how it is said.
//! - [`stuck`]: why nothing of a message is sent; [`age`]: how durations are said.
//! - [`history`]: the last hour by minutes.
//! - [`paces`]: how fast it goes, of all schedulers together.
//! - [`preemptions`]: the last ones.
//! - [`event_log`]: what happens, on disk, for later.
//! - [`metrics`]: all of it for Prometheus.
//! - [`survey`]: what the spool says to another process, whether or not a scheduler runs.
//! - [`http`]: all of it for a browser and for programs; the operators' moves, for who has the token.
//!
//! It looks and never decides: a scheduler without it distributes alike. Nothing here is waited for by a worker. What it
//! knows is lost with the process and made anew from the spool by the next one; the event log alone stays, and nothing here
//! goes by it.

pub mod age;
#[cfg(feature = "http")]
mod by_id;
pub mod event_log;
#[cfg(feature = "http")]
pub mod history;
#[cfg(feature = "http")]
pub mod http;
#[cfg(feature = "http")]
pub mod metrics;
pub mod paces;
#[cfg(feature = "http")]
pub mod preemptions;
#[cfg(feature = "http")]
pub mod row;
pub mod stuck;
pub mod survey;
#[cfg(feature = "http")]
pub mod view;
