//! All that touches the spool's files.
pub mod layout;
