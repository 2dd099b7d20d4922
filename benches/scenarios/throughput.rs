//! T1, T12b: recipients a second, and the processor's time for them.

use sympa_dist::render::wire;

use crate::ceiling::{self, Load};
use crate::record::Record;
use crate::sinks::{Far, Kind};
use crate::subject::{DEFAULT, Setting, distribute, message};

/// Against a bare client with the same checkpoints, side by side.
pub fn throughput(record: &mut Record, quick: bool) {
    let (recipients, rounds) = if quick { (200_000, 3) } else { (1_000_000, 5) };
    for kind in [Kind::Own, Kind::SmtpSink] {
        for (sync, name) in [(true, "data"), (false, "none")] {
            let setting = Setting { sync: name, ..DEFAULT };
            let (mut rates, mut ceilings, mut ratios, mut cpus) = (vec![], vec![], vec![], vec![]);
            for _ in 0..rounds {
                let ceiling = bare(kind, recipients, setting.workers, sync);
                let drain = distribute(kind, recipients, 1000, setting);
                rates.push(recipients as f64 / drain.took);
                ceilings.push(recipients as f64 / ceiling);
                ratios.push(ceiling / drain.took);
                cpus.push(drain.cpu * 100_000.0 / recipients as f64);
            }
            let what = |figure: &str| format!("{}, checkpoint_sync {name}, 8 workers: {figure}", kind.name());
            record.add("throughput", what("sympa-dist"), "recipients/s", rates);
            record.add("throughput", what("bare client"), "recipients/s", ceilings);
            record.add("throughput", what("ratio"), "of the bare client", ratios);
            record.add("throughput", what("CPU"), "s per 100,000 recipients", cpus);
        }
    }
}

/// Seconds that the bare client takes.
fn bare(kind: Kind, recipients: u64, connections: usize, sync: bool) -> f64 {
    let mut sink = Far::start(kind);
    let body = wire::encode(message().as_bytes()).wire;
    let transactions = recipients / 50;
    let load = Load { port: sink.port, connections, transactions, recipients: 50, body: &body, sync };
    let took = ceiling::run(&load).as_secs_f64();
    sink.expect(transactions);
    took
}
