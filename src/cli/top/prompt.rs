//! What the last line asks.

use crate::mail::MessageId;
use crate::spool::layout::PauseName;

/// What is being asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Prompt {
    /// The filter before.
    Filter(String),
    /// A key, for the priority.
    Requeue(MessageId),
    Hold(MessageId, String),
    Cancel(MessageId, String),
    /// A key, whether it is meant.
    Confirm(MessageId, String),
    /// A key, for one of these.
    Pause(Vec<(char, PauseName)>),
    PauseWhy(PauseName, String),
}
