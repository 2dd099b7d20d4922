//! Who works on what, as it is told.

use serde_json::{Value, json};

use crate::monitor::view::View;
use crate::spool::layout::packet_file;

pub fn workers(view: &View) -> Vec<Value> {
    let working = view.live.working();
    let idle = |worker| json!({"worker": worker, "message": null, "packet": null, "priority": null, "recipients": 0, "done": 0, "since": null});
    let mut numbers = view.live.workers();
    // One that a reload has left without a place ends with its packet.
    numbers.extend(working.iter().map(|at| at.worker));
    numbers.sort_unstable();
    numbers.dedup();
    let row = |worker| match working.iter().find(|at| at.worker == worker) {
        None => idle(worker),
        Some(at) => json!({
            "worker": worker, "message": at.message.to_string(),
            "packet": packet_file(&at.packet), "priority": at.level.to_string(),
            "recipients": at.recipients, "done": at.done, "since": at.since.seconds(),
        }),
    };
    numbers.into_iter().map(row).collect()
}
