//! stub
use crate::deliver::RelaySettings;
use crate::spool::progress::Sync;
use std::num::NonZero;
use std::path::PathBuf;
use std::time::Duration;
#[derive(Clone, Debug)]
pub struct Settings {
    pub spool: PathBuf,
    pub run: RunSettings,
    pub retry: RetrySettings,
    pub relays: Vec<RelaySettings>,
}
#[derive(Clone, Debug)]
pub struct RunSettings {
    pub workers: NonZero<usize>,
    pub recipients_per_transaction: NonZero<usize>,
    pub checkpoint_sync: Sync,
    pub shutdown_grace: Duration,
    pub rescan: Duration,
}
#[derive(Clone, Debug)]
pub struct RetrySettings {
    pub schedule: Vec<Duration>,
    pub expire: Duration,
}
