//! Which way a message went: from where it was told to be last, by the steps that the kernel told of, to where it is.
//!
//! The scheduler looks at where names are now. A message that was held and released before it looked is where it was, and a
//! rename is told in two halves that may not come together. So the kernel's word for the way is put between the two looks,
//! and a message that is not where it was is not said to have gone before the other half had time to come.
//!
//! A directory's listing has no such steps: of what happened between two of them only the outcome is told.

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use crate::mail::MessageId;

use super::events::Happening;
use super::hints::{Spot, Step};
use super::shared::Shared;

/// From where to where, one after the other; `None`: it was not known.
type Leg = (Option<Spot>, Spot);

/// The ways of all messages that the kernel told of, by id.
#[derive(Default)]
pub(super) struct Ways(HashMap<MessageId, Vec<Step>>);

impl Ways {
    pub fn of(steps: Vec<Step>) -> Ways {
        let mut ways = HashMap::<_, Vec<Step>>::new();
        for step in steps {
            ways.entry(step.to.name.id.clone()).or_default().push(step);
        }
        Ways(ways)
    }

    pub fn has(&self, id: &MessageId) -> bool {
        self.0.contains_key(id)
    }

    /// The messages whose ways nobody has taken yet.
    pub fn ids(&self) -> impl Iterator<Item = &MessageId> {
        self.0.keys()
    }

    /// The message's way from where it was told to be `before` to where it is now, `None`: nowhere. Whoever asks tells it.
    pub fn take(&mut self, id: &MessageId, before: Option<Spot>, now: Option<Spot>) -> Vec<Leg> {
        let steps = self.0.remove(id).unwrap_or_default();
        // If they don't begin where it was told to be, a worker that saw it at its boundary has told of a part of them.
        let told = match steps.first() {
            Some(first) if first.from == before => 0,
            _ => steps.iter().rposition(|step| Some(&step.to) == before.as_ref()).map_or(steps.len(), |at| at + 1),
        };
        let mut legs = Vec::new();
        let mut at = before;
        for to in steps.into_iter().skip(told).map(|step| step.to).chain(now) {
            if at.as_ref() != Some(&to) {
                legs.push((at.replace(to.clone()), to));
            }
        }
        legs
    }
}

/// Messages that are not where they were, until they are found, or can be said to have gone.
#[derive(Default)]
pub(super) struct Missed {
    last: HashMap<MessageId, (Spot, Instant)>,
    /// By when they are due. One that was found stays until then.
    due: VecDeque<(Instant, MessageId)>,
}

impl Missed {
    pub fn insert(&mut self, last: Spot, due: Instant) {
        let id = last.name.id.clone();
        self.due.push_back((due, id.clone()));
        self.last.insert(id, (last, due));
    }

    pub fn has(&self, id: &MessageId) -> bool {
        self.last.contains_key(id)
    }

    /// It was found: where it was last.
    pub fn remove(&mut self, id: &MessageId) -> Option<Spot> {
        self.last.remove(id).map(|(last, _)| last)
    }

    pub fn next_due(&self) -> Option<Instant> {
        self.due.front().map(|(due, _)| *due)
    }

    /// One that nothing was heard of until `now`.
    pub fn take_due(&mut self, now: Instant) -> Option<Spot> {
        while self.due.front().is_some_and(|(due, _)| *due <= now) {
            let (due, id) = self.due.pop_front()?;
            if self.last.get(&id).is_some_and(|(_, own)| *own == due) {
                return self.remove(&id);
            }
        }
        None
    }

    /// All of them.
    pub fn drain(&mut self) -> impl Iterator<Item = Spot> {
        self.due.clear();
        self.last.drain().map(|(_, (last, _))| last)
    }
}

impl Shared {
    /// Tells a message's way.
    pub(super) fn tell_way(&self, legs: Vec<Leg>) {
        let last = legs.len().saturating_sub(1);
        for (n, (from, to)) in legs.into_iter().enumerate() {
            self.tell_leg(from, &to, n == last);
        }
    }

    /// `is_there`: it has not gone on since.
    fn tell_leg(&self, from: Option<Spot>, to: &Spot, is_there: bool) {
        let Spot { priority, name } = to;
        let priority = *priority;
        let (message, not_before) = (|| name.id.clone(), name.not_before().map(|at| at.0));
        let Some(from) = from else {
            return self
                .board
                .came(name, || self.tell(|| Happening::Arrived { message: message(), priority, not_before }));
        };
        match from.priority {
            before if before == priority => {}
            from if is_there => self.tell_requeued(name, from, priority),
            // The note of who has held it went away with the hold.
            from => self.tell(|| Happening::Requeued { message: message(), from, to: priority, why: None }),
        }
        if from.name.not_before() != name.not_before() {
            self.tell(|| Happening::Rescheduled { message: message(), priority, not_before });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const ID: &str = "l@d.org.1.1";

    /// `3`, or `3:at7`.
    fn spot(text: &str) -> Spot {
        let (priority, rest) = text.split_at(1);
        Spot { priority: priority.parse().unwrap(), name: format!("{ID}{rest}").parse().unwrap() }
    }

    /// `-` is nowhere; steps as `3>z z>3`.
    #[track_caller]
    fn check(before: &str, steps: &str, now: &str, expected: &str) {
        let place = |text: &str| (text != "-").then(|| spot(text));
        let step = |text: &str| {
            let (from, to) = text.split_once('>').unwrap();
            Step { from: place(from), to: spot(to) }
        };
        let mut ways = Ways::of(steps.split_whitespace().map(step).collect());
        let legs = ways.take(&ID.parse().unwrap(), place(before), place(now));
        let shown = |spot: &Spot| format!("{}{}", spot.priority, &spot.name.to_string()[ID.len()..]);
        let leg = |(from, to): &Leg| format!("{}>{}", from.as_ref().map_or("-".into(), shown), shown(to));
        assert_eq!(legs.iter().map(leg).collect::<Vec<_>>().join(" "), expected);
        assert!(!ways.has(&ID.parse().unwrap()));
    }

    #[test]
    fn a_way_begins_where_it_was_told_to_be_and_ends_where_it_is() {
        check("-", "", "3", "->3");
        check("3", "", "3", "");
        check("3", "", "z", "3>z");
        check("3", "3>z z>3", "3", "3>z z>3");
        check("3", "3>5 5>7", "7", "3>5 5>7");
        check("-", "->3 3>5", "5", "->3 3>5");
        check("3", "3>3:at7", "3:at7", "3>3:at7");
        check("3", "3>5 5>5:at7", "5:at7", "3>5 5>5:at7");
        // Looked at later than told.
        check("3", "3>5", "7", "3>5 5>7");
        check("7", "5>7", "7", "");
        check("3", "z>3", "3", "");
        // It has gone from where it went.
        check("3", "3>5", "-", "3>5");
        check("3", "", "-", "");
    }

    #[test]
    fn what_a_worker_was_faster_in_telling_is_not_told_again() {
        check("z", "3>z", "z", "");
        check("z", "3>z z>3", "3", "z>3");
        check("7", "3>5 5>7", "7", "");
        check("7", "3>5 5>7 7>2", "2", "7>2");
        // Of a way that is not known to have passed there, the end alone.
        check("9", "3>5", "5", "9>5");
        // It came back from elsewhere.
        check("3", "->3", "3", "");
    }

    #[test]
    fn what_is_missed_is_given_up_once_it_is_due_unless_it_was_found() {
        let (mut missed, now) = (Missed::default(), Instant::now());
        let later = now + Duration::from_secs(1);
        assert_eq!((missed.next_due(), missed.take_due(later)), (None, None));
        missed.insert(spot("3"), now);
        assert!(missed.has(&ID.parse().unwrap()));
        assert_eq!(missed.remove(&ID.parse().unwrap()), Some(spot("3")));
        missed.insert(spot("5"), later);
        assert_eq!((missed.take_due(now), missed.next_due()), (None, Some(later)));
        assert_eq!([missed.take_due(later), missed.take_due(later)], [Some(spot("5")), None]);
        missed.insert(spot("z"), later);
        assert_eq!(missed.drain().collect::<Vec<_>>(), [spot("z")]);
        assert_eq!(missed.next_due(), None);
    }
}
