//! Whoever has started this process and watches over it, such as an init system: told how the scheduler's thread is.
//!
//! It is told by that thread itself, from its own loop, and by no other: a sign of life from elsewhere would go on while
//! that thread hangs. Signs are for states, not for mail: with any number of messages there are as few of them. A
//! supervisor that wants no heartbeat costs nothing, and lets an idle scheduler sleep.

use std::time::Duration;

use super::live::Readiness;

/// What the scheduler's thread says of itself.
#[derive(Debug)]
pub enum Sign<'a> {
    /// The spool was scanned, and the workers run. Comes again when another spool has taken its place.
    Distributing,
    /// Other settings are about to be taken up.
    Reloading,
    /// They are, or why not: the scheduler goes on in any case.
    Reloaded(Result<(), &'a str>),
    /// The loop goes round. Comes as often as [`Supervisor::heartbeat`] says.
    Alive(Readiness),
    /// It stops, and will have stopped after that time.
    Stopping { within: Duration },
}

/// See the module. It is called in the scheduler's loop, so it must not take long.
pub trait Supervisor: Send + Sync {
    fn hear(&self, sign: Sign<'_>);

    /// How often a sign of life is wanted; `None`: never.
    fn heartbeat(&self) -> Option<Duration>;
}
