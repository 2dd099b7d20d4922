//! Who was reported failed.

use std::collections::HashSet;

use super::relay::Record;
use super::spool::TestSpool;

/// The recipients of the message of that name who failed for good, as its owner is told.
pub fn failed(_record: &Record, spool: &TestSpool, name: &str) -> HashSet<String> {
    spool.failures_in_bad(name).into_iter().map(|failure| failure.recipient).collect()
}
