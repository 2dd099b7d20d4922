//! STUB
pub mod head;
pub mod mode;
pub mod wire;
