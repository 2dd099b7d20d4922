//! Message bytes in, message bytes out: what a packet's recipients get.
//!
//! - [`head`]: the spool's own header lines at the top of `message`, put on and taken off.
//! - [`mode`]: what a reception mode makes of a message where the producer brought no variant.
//! - [`report`]: what a message's sender is told of recipients that it could not be delivered to.
//! - [`wire`]: the encoding for the wire, made once a message and shared by all workers.
//!
//! Pure: no file, clock, thread or log. Hostile messages (no header, 1,000 nested parts, a header of 10 MB) give a
//! message or a typed error, in time linear in their size.

pub mod head;
pub mod mode;
pub mod report;
pub mod wire;
