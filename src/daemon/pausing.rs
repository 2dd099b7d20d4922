//! Reading the pauses again, and acting on what has changed. When that is done: see [`super::pauses`].

use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::info;

use crate::spool::pause::Paused;

use super::events::{Happening, shortened};
use super::pauses::InForce;
use super::shared::Shared;

/// How often workers look by themselves.
const LOOK: Duration = Duration::from_secs(1);

/// Pauses of which an event tells.
const MOST_TOLD: usize = 100;

fn told(paused: &Paused) -> String {
    match &paused.pause {
        Some(pause) => shortened(format!("{} by {}: {}", paused.name.plain(), pause.by, pause.why)),
        None => format!("{}: its file can't be read", paused.name.plain()),
    }
}

impl Shared {
    /// Reads the pauses, and acts on what has changed.
    pub fn look_for_pauses(&self) {
        let mut looked = self.pauses.looked.lock();
        *looked = Some(Instant::now());
        let Some(pauses) = self.pauses.read(&self.spool) else { return };
        let before = self.pauses.in_force();
        if before.0 == pauses {
            return;
        }
        for paused in pauses.iter().filter(|paused| !before.0.contains(paused)) {
            let (by, why) = paused.pause.as_ref().map_or(("somebody", "its file can't be read"), |p| (&p.by, &p.why));
            info!(what = paused.name.plain(), by, "paused: {why}");
        }
        for paused in before.0.iter().filter(|paused| !pauses.iter().any(|now| now.name == paused.name)) {
            info!(what = paused.name.plain(), "resumed");
        }
        let pauses = Arc::new(InForce(pauses));
        // The board first: whoever goes by the old ones is told so by it.
        self.board.pauses_changed(&pauses);
        *self.pauses.in_force.write() = pauses.clone();
        self.current().relays.pause(&pauses.relays());
        self.board.wake();
        self.tell(|| Happening::PausesChanged { paused: pauses.0.iter().take(MOST_TOLD).map(told).collect() });
    }

    /// The same, if nobody has done so lately.
    pub fn look_for_pauses_now_and_then(&self) {
        let is_time = |looked: Option<Instant>| looked.is_none_or(|looked| looked.elapsed() >= LOOK);
        // Somebody is at it: that will do.
        if self.pauses.looked.try_lock().is_some_and(|looked| is_time(*looked)) {
            self.look_for_pauses();
        }
    }
}
