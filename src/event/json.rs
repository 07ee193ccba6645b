//! What a payload has to be: exactly one JSON value in UTF-8, within limits.
//!
//! Checked without building a tree and without recursion, so a hostile payload costs neither
//! memory nor stack.

use serde::de::IgnoredAny;

/// Largest payload, in bytes. A configured limit can only be smaller.
pub const MAX_PAYLOAD_BYTES: usize = 8 * 1024 * 1024;
/// Deepest nesting of arrays and objects: `[[1]]` has 2 levels.
pub const MAX_DEPTH: usize = 128;

/// Why some bytes are no payload.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JsonError {
    /// More than 8 MiB.
    #[error("{bytes} bytes, and at most {MAX_PAYLOAD_BYTES} are taken")]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
    /// Not UTF-8.
    #[error("not UTF-8 at byte {at}")]
    NotUtf8 {
        /// The first byte that does not fit.
        at: usize,
    },
    /// Arrays and objects nested more than 128 levels deep.
    #[error("nested more than {MAX_DEPTH} levels deep at byte {at}")]
    TooDeep {
        /// The bracket that is one too many.
        at: usize,
    },
    /// Not one JSON value: broken off, followed by something, or no JSON at all.
    #[error("not one JSON value: {0}")]
    NotJson(String),
}

/// Checks a payload. White space around the value is taken; duplicate members, numbers of any
/// size and escapes of lone surrogates are taken too: the grammar allows them.
pub(crate) fn check(json: &[u8]) -> Result<(), JsonError> {
    check_size(json)?;
    if let Err(error) = std::str::from_utf8(json) {
        return Err(JsonError::NotUtf8 {
            at: error.valid_up_to(),
        });
    }
    check_depth(json)?;
    match serde_json::from_slice::<IgnoredAny>(json) {
        Ok(_) => Ok(()),
        Err(error) => Err(JsonError::NotJson(error.to_string())),
    }
}

/// Checks what the grammar allows and a payload does not, of what is JSON for sure.
pub(super) fn check_limits(json: &[u8]) -> Result<(), JsonError> {
    check_size(json)?;
    check_depth(json)
}

const fn check_size(json: &[u8]) -> Result<(), JsonError> {
    match json.len() > MAX_PAYLOAD_BYTES {
        true => Err(JsonError::TooLarge { bytes: json.len() }),
        false => Ok(()),
    }
}

/// Counts brackets outside strings. Right for valid JSON; of anything else the grammar's check
/// says what is wrong.
fn check_depth(json: &[u8]) -> Result<(), JsonError> {
    // So few brackets, wherever they are, that there is nothing to look into: most events.
    let opening = |byte: &&u8| matches!(byte, b'[' | b'{');
    if json.iter().filter(opening).count() <= MAX_DEPTH {
        return Ok(());
    }
    let mut depth = 0_usize;
    let mut bytes = json.iter().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'[' | b'{' => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return Err(JsonError::TooDeep { at });
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            b'"' => {
                while let Some((_, byte)) = bytes.next() {
                    match byte {
                        b'\\' => _ = bytes.next(),
                        b'"' => break,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    Ok(())
}
