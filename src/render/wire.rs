//! STUB
use crate::mail::Body;
pub fn encode(m: &[u8]) -> Body {
    let mut wire = String::from_utf8_lossy(m).replace('\n', "\r\n").into_bytes();
    wire.extend(b".\r\n");
    Body { wire, eight_bit: false, utf8_header: false, long_line: None }
}
