//! What the faulty relay can do wrong, and where.

/// What goes wrong with an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fault {
    Delay,
    /// 421, and hangs up.
    Close,
    /// Refused for now.
    Defer,
    /// Refused for good.
    Refuse,
    HangUp,
    Half,
    /// Ten megabytes.
    Long,
    Garbage,
    /// The right answer, and hangs up.
    Bye,
}

pub(super) const AT_GREETING: &[Fault] =
    &[Fault::Delay, Fault::Close, Fault::Refuse, Fault::HangUp, Fault::Half, Fault::Long, Fault::Garbage, Fault::Bye];
pub(super) const AT_COMMAND: &[Fault] =
    &[Fault::Delay, Fault::Close, Fault::Defer, Fault::HangUp, Fault::Half, Fault::Long, Fault::Garbage, Fault::Bye];
pub(super) const AT_DOT: &[Fault] = &[
    Fault::Delay,
    Fault::Delay,
    Fault::Close,
    Fault::Defer,
    Fault::HangUp,
    Fault::HangUp,
    Fault::Half,
    Fault::Long,
    Fault::Garbage,
    Fault::Bye,
];
