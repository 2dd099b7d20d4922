//! What the tests share.

#![allow(dead_code, reason = "each test program uses its own part of this")]

pub mod child;
pub mod database;
pub mod delivery;
pub mod faulty_relay;
pub mod host;
pub mod log;
pub mod mount;
pub mod postfix;
pub mod program;
pub mod random;
pub mod relay;
pub mod reports;
pub mod scheduler;
pub mod scripted;
pub mod spool;

use std::time::Duration;

/// How long anything is waited for before the test fails. No test depends on its value: it only ends those that would
/// never end.
pub const PATIENCE: Duration = Duration::from_secs(60);
