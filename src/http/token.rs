//! The bearer token.

use std::{fmt, hint::black_box};

use sha2::{Digest as _, Sha256};

/// Shortest token that is taken, in bytes: fewer can be guessed over the network.
const MIN_TOKEN_BYTES: usize = 16;
/// Longest token that is taken, in bytes.
const MAX_TOKEN_BYTES: usize = 4096;

/// What a client on TCP has to show in `Authorization: Bearer …`. Only its digest is kept, so
/// there is nothing to show by mistake.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    digest: [u8; 32],
}

/// A text is no token. It is not repeated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// Shorter than 16 bytes or longer than 4,096.
    #[error("a token of {bytes} bytes, and {MIN_TOKEN_BYTES} to {MAX_TOKEN_BYTES} are taken")]
    Length {
        /// Its length.
        bytes: usize,
    },
    /// It holds something that cannot stand in a header: a blank, a control character, a
    /// character beyond ASCII.
    #[error("a token with something other than visible ASCII at byte {at}")]
    Character {
        /// Where.
        at: usize,
    },
}

impl Token {
    /// Takes the text of a token: 16 to 4,096 visible ASCII characters.
    ///
    /// # Errors
    /// As [`TokenError`] says.
    pub fn new(text: &str) -> Result<Self, TokenError> {
        if !(MIN_TOKEN_BYTES..=MAX_TOKEN_BYTES).contains(&text.len()) {
            return Err(TokenError::Length { bytes: text.len() });
        }
        if let Some(at) = text.bytes().position(|byte| !byte.is_ascii_graphic()) {
            return Err(TokenError::Character { at });
        }
        Ok(Self {
            digest: Sha256::digest(text.as_bytes()).into(),
        })
    }

    /// Whether this is the value of an `Authorization` header that shows the token. Takes as long
    /// for a token that is nearly right as for one that is not at all.
    pub(super) fn is_shown_by(&self, authorization: &[u8]) -> bool {
        let Some((scheme, shown)) = authorization.split_at_checked("Bearer ".len()) else {
            return false;
        };
        let shown: [u8; 32] = Sha256::digest(shown.trim_ascii()).into();
        let differing = self
            .digest
            .iter()
            .zip(shown)
            .fold(0, |bits, (a, b)| bits | (a ^ b));
        scheme.eq_ignore_ascii_case(b"Bearer ") && black_box(differing) == 0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "0123456789abcdef";

    #[test]
    fn only_the_whole_token_passes() {
        let token = Token::new(TEXT).unwrap();
        assert!(token.is_shown_by(b"Bearer 0123456789abcdef"));
        assert!(token.is_shown_by(b"bearer  0123456789abcdef "));
        for shown in [
            "",
            "Bearer",
            "Bearer ",
            "Bearer 0123456789abcde",
            "Bearer 0123456789abcdeF",
        ] {
            assert!(!token.is_shown_by(shown.as_bytes()), "{shown}");
        }
        assert!(!token.is_shown_by(b"Basic  0123456789abcdef"));
        assert!(!token.is_shown_by(b"0123456789abcdef"));
    }

    #[test]
    fn a_token_that_is_short_or_cannot_stand_in_a_header_is_refused() {
        assert_eq!(Token::new("short"), Err(TokenError::Length { bytes: 5 }));
        assert_eq!(Token::new(""), Err(TokenError::Length { bytes: 0 }));
        assert_eq!(
            Token::new("0123456789abcde\n"),
            Err(TokenError::Character { at: 15 })
        );
    }

    #[test]
    fn a_token_is_never_shown() {
        let shown = format!("{:?}", Token::new(TEXT).unwrap());
        assert_eq!(shown, "Token(***)");
    }
}
