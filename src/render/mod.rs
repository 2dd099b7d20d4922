//! Message bytes in, message bytes out. Pure.
pub mod wire;
