//! Placeholder.
pub mod claim;
pub mod daemon;
pub mod deliver;
pub mod mail;
pub mod render;
pub mod schedule;
pub mod spool;
