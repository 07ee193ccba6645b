//! CloudEvents in binary mode: attributes in headers, the data as the body (HTTP protocol binding
//! 1.0.2, section 3.1).

use std::borrow::Cow;

use super::{
    BodyError, Data, Fault, Parts, Refused, Request, Shape,
    cloud_event::{Attribute, Attributes, Mode},
    member::{Form, MAX_NAME_CHARS},
};
use crate::percent;

/// Reads one event from its attributes, named without `ce-` and as they stand in the headers, and
/// from its data, which becomes the payload byte for byte.
///
/// # Errors
/// [`BodyError`] for the first fault. Nothing was taken.
pub fn read_binary<'a>(
    headers: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    data: &[u8],
    max_payload_bytes: usize,
) -> Result<Request, BodyError> {
    let event = attributes(headers)
        .and_then(|attributes| {
            if data.is_empty() {
                return Err(Refused::of("data", Fault::NoBody));
            }
            let parts = &mut Parts::copied(max_payload_bytes);
            let data = Data::Bytes(Cow::Borrowed(data));
            attributes.event((Attribute::Data, data), parts)
        })
        .map_err(|refused| refused.at(None))?;
    Ok(Request {
        events: vec![event],
        shape: Shape::One,
    })
}

fn attributes<'a>(
    headers: impl IntoIterator<Item = (&'a str, &'a [u8])>,
) -> Result<Attributes<'a>, Refused> {
    let mut attributes = Attributes::new(Mode::Binary);
    for (name, value) in headers {
        let refused = |fault| {
            let name: String = name.chars().take(MAX_NAME_CHARS).collect();
            Refused::of(format!("ce-{name}"), fault)
        };
        let known = Attribute::NAMES.iter().find(|(known, _)| *known == name);
        let attribute = match known {
            Some((_, Attribute::DataContentType)) => {
                return Err(refused(Fault::ContentTypeApart));
            }
            // The data has no header.
            None | Some((_, Attribute::Data | Attribute::DataBase64)) => {
                return Err(refused(Attribute::foreign(name)));
            }
            Some((_, attribute)) => *attribute,
        };
        let text = text(value).map_err(refused)?;
        let place = &mut attributes.texts[attribute.place()];
        if place.replace(text).is_some() {
            return Err(refused(Fault::DuplicateMember));
        }
    }
    Ok(attributes)
}

/// The text that a header's value stands for: first the quotation marks are undone, then the
/// percent-encoding, once.
fn text(value: &[u8]) -> Result<Cow<'_, str>, Fault> {
    let is_printable = |byte: &u8| matches!(byte, b' '..=b'~');
    let value = Some(value)
        .filter(|value| value.iter().all(is_printable))
        .and_then(|value| std::str::from_utf8(value).ok())
        .ok_or(Fault::NotPrintable)?
        .trim();
    let text = match value.strip_prefix('"') {
        None => percent::decoded(value),
        Some(quoted) => {
            let bare = unquoted(quoted).ok_or(Fault::NotQuoted)?;
            percent::decoded(&bare).map(|text| Cow::Owned(text.into_owned()))
        }
    };
    text.ok_or(Fault::NotPercentEncoded)
}

/// What stands between quotation marks, of which the first is cut off already (RFC 7230, section
/// 3.2.6). `None` where the other one is missing or not at the end.
fn unquoted(quoted: &str) -> Option<String> {
    let mut bare = String::with_capacity(quoted.len());
    let mut characters = quoted.chars();
    loop {
        match characters.next()? {
            '"' => return characters.as_str().is_empty().then_some(bare),
            '\\' => bare.push(characters.next()?),
            other => bare.push(other),
        }
    }
}
