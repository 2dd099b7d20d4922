//! Who was reported failed.

use std::collections::HashSet;

use sympa_dist::mail::Priority;
use sympa_dist::spool::disk::Disk;
use sympa_dist::spool::failures;

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

/// The recipients of the message of that name who failed for good so far, wherever it is. Nobody works on it meanwhile.
pub fn failed_so_far(spool: &TestSpool, name: &str) -> HashSet<String> {
    let places = Priority::all().map(|priority| spool.at(priority.dir_name()));
    let mut found = HashSet::new();
    for place in places.chain([spool.path().join("bad")]).map(|place| place.join(name)).filter(|place| place.is_dir()) {
        let folder = Disk::default().open_root(&place).unwrap();
        found.extend(failures::read(&folder).unwrap().into_iter().map(|failure| failure.recipient));
    }
    found
}
