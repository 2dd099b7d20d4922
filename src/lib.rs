//! sympa-dist distributes mailing-list messages: it takes them from an on-disk spool, hands them packet by packet to a
//! mail relay, writes down how far it is after every transaction, and lets any more urgent message go first at the very
//! next boundary.
//!
//! ```text
//! producer ──rename──▶ spool ──inotify──▶ scheduler ──packet──▶ worker ──transaction──▶ relay
//!                        ▲                    ▲                    │
//!                        │                    └── boundary: go on, yield, stop ──┤
//!                        └── checkpoint, deferred, failures ───────┘
//! operator ──rename (requeue, hold, release)──▶ spool        dashboards ◀── queue depth
//! ```
//!
//! # Where to read
//!
//! Start with [`mail`], the nouns. Then the spool's contract, `spool-layout/README.md`, and [`spool`], which is that text
//! in code. [`schedule`] decides what is next and knows no clock, file or thread. [`deliver`] hands one transaction to a
//! relay. [`daemon`] is where they meet: read [`daemon::run`], then the worker, top to bottom.
//!
//! # Who may import whom
//!
//! ```text
//! cli → daemon, monitor → schedule | spool | claim | deliver | render → mail
//! ```
//!
//! Imports run to the right only. The five in the middle don't import one another, but for a claim, which names the
//! spool's types. What is absent matters as much: no clock, file, thread or log in `mail`, `schedule` and `render`; no
//! clock and no thread in `spool`; no packet and no priority in `deliver`. A test holds the code to this.
//!
//! # Invariants
//!
//! - **I1 A visible name is complete.** Files, then folder, are synced before the rename that shows them.
//! - **I2 One claim a packet**, across threads, processes and hosts.
//! - **I3 A checkpoint only advances**, and never past a recipient without a durable outcome.
//! - **I4 Only at boundaries** does anything stop, yield or move on.
//! - **I5 The scan is the truth, the watch is a hint.** Losing every event costs time, never mail.
//! - **I6 Nothing is deleted unrecorded.** What can't be read goes to `bad/` with a reason.
//! - **I7 After a crash at any instant** nobody is skipped, and only recipients of transactions in flight can get the
//!   message twice.
//! - **I8 Removal order:** packet before its checkpoint; a folder only when no packet is left; deferred recipients are on
//!   disk before the checkpoint passes them; failures are not removed before somebody was told of them.

#![allow(
    rustdoc::private_intra_doc_links,
    reason = "the docs are for readers of the code, and built with private items"
)]

pub mod claim;
pub mod cli;
pub mod daemon;
pub mod deliver;
pub mod mail;
pub mod monitor;
pub mod render;
pub mod schedule;
pub mod spool;
