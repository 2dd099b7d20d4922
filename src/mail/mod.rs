//! The nouns: what a message, a packet, a checkpoint and an outcome *are*.
//!
//! Nothing here opens a file, reads a clock, starts a thread or logs. A value of one of these types is valid by
//! construction: text is parsed once, at the edge, and trusted afterwards.

pub mod address;
pub mod body;
pub mod checkpoint;
pub mod envelope;
pub mod message_id;
pub mod outcome;
pub mod packet;
pub mod priority;
pub mod time;

pub use address::{Address, BadAddress};
pub use body::Body;
pub use envelope::{Envelope, ReversePath};
pub use message_id::{BadMessageId, MessageId};
pub use outcome::{EnhancedStatus, Outcome, Reply};
pub use packet::{Mode, Packet, PacketName, Retry, Serial};
pub use priority::{Level, Priority};
pub use time::{Epoch, Moment};
