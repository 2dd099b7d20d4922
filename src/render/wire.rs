//! TODO
use crate::mail::Body;
/// TODO
pub fn encode(_message: &[u8]) -> Body {
    todo!()
}
