//! Which payloads `jsonb` can hold. The server would refuse the whole statement for one that it
//! cannot, so the limits are checked here, a little on the safe side.

/// How deep a payload may be nested. The server's own limit is its stack: some thousands at the
/// default `max_stack_depth`.
const MAX_DEPTH: usize = 512;
/// Digits before the point that `numeric` can hold.
const MAX_INTEGER_DIGITS: i64 = 131_072;
/// Digits after the point that `numeric` can hold.
const MAX_FRACTION_DIGITS: i64 = 16_383;

/// Whether `jsonb` can hold the payload. What is no JSON at all is not told apart: it
/// was refused at the door.
pub(crate) fn fits_jsonb(payload: &[u8]) -> bool {
    std::str::from_utf8(payload).is_ok() && scan(payload).is_some()
}

/// Goes through a payload; `None` where it meets what `jsonb` cannot hold.
fn scan(payload: &[u8]) -> Option<()> {
    let mut rest = payload;
    let mut depth = 0_usize;
    while let Some((&byte, after)) = rest.split_first() {
        rest = match byte {
            b'"' => behind_string(after)?,
            b'-' | b'0'..=b'9' => behind_number(rest)?,
            b'{' | b'[' => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return None;
                }
                after
            }
            b'}' | b']' => {
                depth = depth.checked_sub(1)?;
                after
            }
            0 => return None,
            _ => after,
        };
    }
    Some(())
}

/// What follows a string whose opening quotation mark was read. `jsonb` stores strings decoded,
/// so it can hold neither U+0000 nor half of a surrogate pair.
fn behind_string(mut rest: &[u8]) -> Option<&[u8]> {
    loop {
        rest = match rest {
            [b'"', after @ ..] => return Some(after),
            [b'\\', b'u', after @ ..] => {
                let (unit, after) = code_unit(after)?;
                match unit {
                    0 | 0xDC00..=0xDFFF => return None,
                    0xD800..=0xDBFF => {
                        let (low, after) = code_unit(after.strip_prefix(b"\\u")?)?;
                        if !(0xDC00..=0xDFFF).contains(&low) {
                            return None;
                        }
                        after
                    }
                    _ => after,
                }
            }
            [b'\\', _, after @ ..] => after,
            [0, ..] | [] => return None,
            [_, after @ ..] => after,
        };
    }
}

fn code_unit(text: &[u8]) -> Option<(u16, &[u8])> {
    let (digits, rest) = text.split_at_checked(4)?;
    let digits = std::str::from_utf8(digits).ok()?;
    Some((u16::from_str_radix(digits, 16).ok()?, rest))
}

/// What follows a number that `numeric` can hold.
fn behind_number(text: &[u8]) -> Option<&[u8]> {
    let rest = text.strip_prefix(b"-").unwrap_or(text);
    let (integer, rest) = digits(rest);
    let (fraction, rest) = match rest.strip_prefix(b".") {
        Some(rest) => digits(rest),
        None => (&rest[..0], rest),
    };
    let (exponent, rest) = match rest {
        [b'e' | b'E', rest @ ..] => {
            let (sign, rest) = match rest {
                [b'-', rest @ ..] => (-1, rest),
                [b'+', rest @ ..] => (1, rest),
                _ => (1, rest),
            };
            let (number, rest) = digits(rest);
            // More digits than an exponent that counts ever has, leading zeros apart.
            let number: i64 = std::str::from_utf8(number).ok()?.parse().ok()?;
            (sign * number, rest)
        }
        _ => (0, rest),
    };
    let length = |digits: &[u8]| i64::try_from(digits.len()).unwrap_or(i64::MAX);
    let fits = length(integer).saturating_add(exponent) <= MAX_INTEGER_DIGITS
        && length(fraction).saturating_sub(exponent) <= MAX_FRACTION_DIGITS;
    fits.then_some(rest)
}

fn digits(text: &[u8]) -> (&[u8], &[u8]) {
    let count = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    text.split_at(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(payload: &str) -> bool {
        fits_jsonb(payload.as_bytes())
    }

    #[test]
    fn ordinary_payloads_are_held() {
        for payload in [
            "{}",
            "null",
            r#"{"a":[1,-2.5,3e10,true,null,"x\"y\\","\u00e4\ud83d\ude00"]}"#,
            r#"{"u":"\\u0000"}"#,
            " [ 0 , 1E-16383 ] ",
            "\"ä\u{1f600}\"",
        ] {
            assert!(holds(payload), "{payload}");
        }
    }

    #[test]
    fn what_the_server_would_refuse_is_not_held() {
        for payload in [
            r#""\u0000""#,
            r#"{"\u0000":1}"#,
            r#""\ud83d""#,
            r#""\ud83dx""#,
            r#""\ud83d\u0041""#,
            r#""\ude00""#,
            "1e131072",
            "1e-16384",
            "[1e99999999999999999999]",
            "-1e-999999999999999999",
        ] {
            assert!(!holds(payload), "{payload}");
        }
        let nested = |depth| "[".repeat(depth) + &"]".repeat(depth);
        assert!(holds(&nested(MAX_DEPTH)) && !holds(&nested(MAX_DEPTH + 1)));
        assert!(!fits_jsonb(b"\"\xff\""));
    }
}
