//! Naive readers, written from the contract and from the RFCs, to hold the real ones against. Slow is fine.

/// What may stand between `<` and `>`: at most 254 octets of UTF-8, no control character, space or angle bracket,
/// something on both sides of the last `@`.
pub fn is_wire_safe(octets: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(octets) else { return false };
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    text.len() <= 254
        && !local.is_empty()
        && !domain.is_empty()
        && !text.chars().any(|c| c.is_ascii_control() || c == ' ' || c == '<' || c == '>')
}

/// Lines as the spool has them: each ends with LF, the last may lack it.
pub fn lines(text: &[u8]) -> Vec<&[u8]> {
    let mut lines: Vec<&[u8]> = text.split(|&octet| octet == b'\n').collect();
    if lines.last() == Some(&&b""[..]) {
        lines.pop();
    }
    lines
}

/// What stands before the first TAB.
pub fn before_tab(line: &[u8]) -> &[u8] {
    line.split(|&octet| octet == b'\t').next().unwrap_or_default()
}

/// A status file, by the contract: an address, perhaps `+<n>` in the second line, and newlines. `Err` is anything else,
/// `Ok` the address, if there is one, and the recipients in flight.
pub fn checkpoint(content: &[u8]) -> Result<(Option<String>, usize), ()> {
    if content.iter().all(|&octet| octet == 0) {
        return Ok((None, 0));
    }
    let text = std::str::from_utf8(content).map_err(drop)?;
    let text = text.trim_end_matches('\n');
    let (first, second) = match text.split_once('\n') {
        None => (text, None),
        Some((first, second)) => (first, Some(second)),
    };
    let in_flight = match second {
        None => 0,
        Some(intent) => {
            let digits = intent.strip_prefix('+').ok_or(())?;
            if digits.is_empty() || digits.len() > 9 || digits.contains(|c: char| !c.is_ascii_digit()) {
                return Err(());
            }
            digits.parse().map_err(drop)?
        }
    };
    match first {
        "" => Ok((None, in_flight)),
        first if is_wire_safe(first.as_bytes()) => Ok((Some(first.to_owned()), in_flight)),
        _ => Err(()),
    }
}
