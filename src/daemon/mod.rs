//! The long-running scheduler: the only place where time, threads, signals, spool, backlog and relays meet.
//!
//! ```text
//! watch ─hints─▶ scheduler thread ─names─▶ board ◀─asks─ workers ─transactions─▶ relay
//!                    ▲    ▲                                 │
//!            signals ┘    └ timers (due, scan)              └─ outcomes, checkpoints ─▶ spool
//! ```
//!
//! - [`scheduler`]: starts and stops all this, obeys signals, wakes what is due; [`finding`]: finds messages, adopts flat drops.
//! - [`board`]: the backlog behind its lock, for all threads; [`register`]: the names of what is in it.
//! - [`worker`], [`transaction`] and [`boundary`]: what a worker does, top to bottom; [`crew`]: which takes what.
//! - [`ending`]: what becomes of a message in the end.
//! - [`hints`]: what may have changed, from [`watch`], [`poll`] and other hosts; [`way`]: which way a message went, as it is told.
//! - [`message`], [`possession`]: a message, and a packet, in a worker's hands; [`holding`]: whether it still is.
//! - [`reporting`]: what the sender is told of recipients that failed.
//! - [`pauses`]: what is paused; [`pausing`]: noticing that, and acting on it.
//! - [`late`]: messages that are too late to be useful.
//! - [`mended`]: messages that were set aside, on their way back.
//! - [`lists`]: what holds for one list alone.
//! - [`relays`]: which relay is used, and when none is; [`relay_names`]: whether there is one of some name.
//! - [`live`], with [`events`] and [`tally`]: what all this shows of itself to whoever watches.
//! - [`showing`]: what of it stands in the spool for other processes; [`rate`]: how fast something goes.
//! - [`supervisor`]: told how the scheduler's thread is, by that thread.
//!
//! It promises I4: a worker stops, gives way or moves on at the end of a transaction and nowhere else.

mod board;
mod boundary;
pub mod clock;
mod crew;
mod ending;
pub mod events;
mod finding;
mod hints;
mod holding;
pub mod late;
pub mod lists;
pub mod live;
pub mod mended;
mod message;
mod pauses;
mod pausing;
mod poll;
mod possession;
pub mod rate;
mod register;
pub mod relay_names;
mod relays;
mod reporting;
mod scheduler;
pub mod settings;
mod shared;
mod sharing;
mod showing;
pub mod supervisor;
pub mod tally;
mod telling;
mod transaction;
mod watch;
mod way;
mod worker;

pub use scheduler::{Control, RunError, Summary, run, run_on};
pub use shared::MAX_WORKERS;
