//! What is sent next, and who gives way: the scheduler's core.
//!
//! Pure: no clock, no file, no thread, no log. It is told the time and what was found; it answers which message's packet
//! is next and, at a boundary, whether to go on. So it can be tested against a model and simulated with a million
//! messages.
//!
//! Strict between levels: nobody is handed a packet while a more urgent one is ready. A worker gives way if and only if a
//! packet of a more urgent level is ready that nobody else is about to take; the answer itself reserves that packet, so
//! for one urgent packet one worker gives way and not all of them. Within a level messages go by arrival, and small ones
//! slip past big ones: [`fairness`]. What waits long may be lifted: [`ageing`]. Workers may be kept for urgent levels
//! ([`Backlog::take_up_to`]), and lists be limited in theirs: [`limits`].
//!
//! A decision costs O(log n) with n messages waiting.

mod ageing;
mod backlog;
mod entries;
mod fairness;
mod key;
mod limits;
mod windows;

pub use ageing::Ageing;
pub use backlog::{Arrival, Backlog, Boundary, Policy, Preemption};
pub use fairness::{Order, Slowdown};
pub use key::Key;
pub use limits::Group;
pub use windows::{EXPECTED as EXPECTED_WINDOWS, Windows};

#[cfg(test)]
mod clock_jumps;
#[cfg(test)]
mod tests;
