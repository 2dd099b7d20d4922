//! STUB
use crate::mail::*;
#[derive(Default)]
pub struct SpoolHead {
    pub sender: Option<ReversePath>,
    pub recipients_total: Option<u64>,
    pub packets_total: Option<u32>,
}
pub fn split(m: &[u8]) -> Result<(SpoolHead, &[u8]), String> {
    Ok((SpoolHead::default(), m))
}
