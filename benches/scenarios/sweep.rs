//! What the defaults are chosen by.

use crate::record::Record;
use crate::sinks::Kind;
use crate::subject::{DEFAULT, Setting, distribute};

/// What the defaults are chosen by. One knob at a time.
pub fn sweep(record: &mut Record, quick: bool) {
    let recipients = if quick { 100_000 } else { 500_000 };
    let rounds = if quick { 1 } else { 3 };
    // A knob's values in turn (A B A B …).
    let mut knob = |values: Vec<(String, usize, Setting)>| {
        let mut rates = vec![Vec::new(); values.len()];
        for _ in 0..rounds {
            for (rates, (_, packet_size, setting)) in rates.iter_mut().zip(&values) {
                rates.push(recipients as f64 / distribute(Kind::SmtpSink, recipients, *packet_size, *setting).took);
            }
        }
        for ((what, ..), rates) in values.into_iter().zip(rates) {
            record.add("sweep", what, "recipients/s", rates);
        }
    };
    let of = |name: &str, value: &dyn std::fmt::Display, setting| (format!("{name} {value}"), 1000, setting);
    let sizes = [25, 50, 100, 500]
        .map(|recipients| of("recipients_per_transaction", &recipients, Setting { recipients, ..DEFAULT }));
    knob(sizes.into());
    knob([250, 1000, 5000, 20_000].map(|size| (format!("packet_size {size}"), size, DEFAULT)).into());
    knob([1, 2, 4, 8, 16, 32].map(|workers| of("workers", &workers, Setting { workers, ..DEFAULT })).into());
    knob(["data", "none"].map(|sync| of("checkpoint_sync", &sync, Setting { sync, ..DEFAULT })).into());
    let uncertain =
        ["resend", "skip"].map(|uncertain| of("on_uncertain", &uncertain, Setting { uncertain, ..DEFAULT }));
    knob(uncertain.into());
    knob(["info", "warn"].map(|log| of("log.level", &log, Setting { log, ..DEFAULT })).into());
}
