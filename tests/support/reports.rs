//! Who was reported failed.

use std::collections::HashSet;

use super::postfix::SmtpSink;
use super::relay::Record;
use super::spool::TestSpool;

/// The recipients of the message of that name who failed for good, as its owner is told.
pub fn failed(_record: &Record, spool: &TestSpool, name: &str) -> HashSet<String> {
    spool.failures_in_bad(name).into_iter().map(|failure| failure.recipient).collect()
}

/// The same with the reply's code, sorted, where the relay is a Postfix.
pub fn failed_by_postfix(spool: &TestSpool, _sink: &SmtpSink, name: &str) -> Vec<(String, u16)> {
    let mut failed: Vec<_> =
        spool.failures_in_bad(name).into_iter().map(|failure| (failure.recipient, failure.code)).collect();
    failed.sort();
    failed
}
