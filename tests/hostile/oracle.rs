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

/// What a relay's octets are the beginning of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// One reply; its length, code, and text: all lines', joined by a blank.
    Whole(usize, u16, String),
    Half,
    Nonsense,
}

/// RFC 5321 §4.2, with the liberties that the client says it takes: lines may end with LF alone, any second digit, text
/// in any character set. A line has at most 4096 octets, a reply 65,536.
pub fn answer(octets: &[u8]) -> Answer {
    let (mut codes, mut text, mut total) = (Vec::new(), Vec::new(), 0);
    for line in octets.split_inclusive(|&octet| octet == b'\n') {
        total += line.len();
        let ended = line.ends_with(b"\n");
        if line.len() > 4096 || line.len() == 4096 && !ended || ended && total > 65_536 {
            return Answer::Nonsense;
        }
        if !ended {
            return Answer::Half;
        }
        let line = &line[..line.len() - 1];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let is_code = line.len() >= 3 && line[..3].iter().all(u8::is_ascii_digit) && (b'2'..=b'5').contains(&line[0]);
        let behind = line.get(3);
        if !is_code || !matches!(behind, None | Some(b' ' | b'-')) {
            return Answer::Nonsense;
        }
        codes.push(std::str::from_utf8(&line[..3]).expect("digits").parse::<u16>().expect("three digits"));
        if codes[0] != codes[codes.len() - 1] {
            return Answer::Nonsense;
        }
        text.extend_from_slice(line.get(4..).unwrap_or_default());
        if behind != Some(&b'-') {
            let text =
                String::from_utf8(text).unwrap_or_else(|no| no.as_bytes().iter().map(|&o| char::from(o)).collect());
            let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(512).collect();
            return Answer::Whole(total, codes[0], text.trim_end().to_owned());
        }
        text.push(b' ');
    }
    Answer::Half
}
