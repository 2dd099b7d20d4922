//! Other distributors of the same mail into the same sink.

mod exim;
mod postfix;
mod sympa;

pub use exim::Exim;
pub use postfix::postfix;
pub use sympa::{SENDMAIL, Sympa, sendmail};
