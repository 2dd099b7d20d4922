//! Why nothing of a message is sent now.

use super::super::figures::{local_time, printable};
use crate::daemon::lists::Lists;
use crate::mail::Epoch;
use crate::monitor::survey::{Line, Picture};
use crate::spool::census::State;
use crate::spool::layout::PauseName;
use crate::spool::pause::Paused;

/// What is in the way of a message; one that is being sent, or just waits for its turn, is not stuck.
pub fn why(line: &Line, picture: &Picture, lists: &Lists) -> Option<String> {
    if line.state == State::Active {
        return None;
    }
    if let Some(level) = line.priority.level()
        && let Some(paused) = picture.pauses.iter().find(|paused| paused.stops(line.id.list(), level))
    {
        return Some(told(paused));
    }
    let at = |at: Epoch| local_time(at.0);
    let details = line.details.as_deref();
    match line.state {
        State::Held => Some(match details.and_then(|details| details.held.as_ref()) {
            Some(note) => {
                let (by, why) = (printable(&note.by), printable(&note.why));
                format!("held by {by} since {}: {why}", local_time(note.since))
            }
            None => "held".into(),
        }),
        State::Scheduled => line.not_before.map(|not_before| format!("not before {}", at(not_before))),
        _ if picture.schedulers.is_empty() => Some("no scheduler runs on this spool".into()),
        State::Deferred => {
            let next = details.and_then(|details| details.next_try)?;
            Some(format!("all that is left is deferred until {}", at(next)))
        }
        _ => closed(line, picture, lists).or_else(|| without_relay(picture)),
    }
}

/// Outside the list's windows, as this host's configuration has them.
fn closed(line: &Line, picture: &Picture, lists: &Lists) -> Option<String> {
    let now = picture.at.epoch();
    let windows = lists.deliver(line.id.list()).filter(|windows| !windows.is_open(now))?;
    Some(format!("outside its list's windows until {}", local_time(windows.next_opening(now).0)))
}

fn without_relay(picture: &Picture) -> Option<String> {
    let is_paused = |relay: &str| picture.pauses.iter().any(|at| at.name == PauseName::Relay(relay.to_owned()));
    let mut relays = picture.schedulers.iter().flat_map(|scheduler| &scheduler.relays);
    let mut reason = None;
    while let Some(relay) = relays.next() {
        if relay.state == "open" {
            let why = relay.why.as_deref().map_or("out of use".into(), printable);
            let next = relay.next_try.map_or(String::new(), |at| format!("; next try {}", local_time(at)));
            reason.get_or_insert(format!("no relay: {why}{next}"));
        } else if is_paused(&relay.relay) {
            reason.get_or_insert(format!("no relay: {} is paused", printable(&relay.relay)));
        } else {
            return None;
        }
    }
    reason
}

/// A pause, in a line.
pub fn told(paused: &Paused) -> String {
    let what = printable(&super::super::pause::told(&paused.name));
    match &paused.pause {
        None => format!("{what} is paused; its file can't be read"),
        Some(pause) => {
            let until = pause.until.map_or(String::new(), |until| format!(" until {}", local_time(until)));
            format!("{what} is paused{until} by {}: {}", printable(&pause.by), printable(&pause.why))
        }
    }
}
