//! The kinds of value that a key can have, as they are written.

use std::{str::FromStr, time::Duration};

use toml::de::DeValue;

use crate::identity::DeviceName;

/// A kind of value.
pub(super) trait Value: Clone {
    /// Completes "… is not": what would be right.
    const KIND: &'static str;
    /// A value of this kind, as it is written.
    const EXAMPLE: &'static str;

    /// Whether a value that is refused must not be shown.
    const SECRET: bool = false;

    /// The value, where it is of this kind.
    fn read(value: &DeValue<'_>) -> Option<Self>;

    /// As it is written in a file. Never a secret.
    fn show(&self) -> String;
}

/// A number of bytes, written as `"256 KiB"`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct ByteSize(pub(super) u64);

const BYTE_UNITS: [(&str, u64); 5] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
];

impl Value for ByteSize {
    const KIND: &'static str = "a size in B, KiB, MiB, GiB or TiB";
    const EXAMPLE: &'static str = "\"256 MiB\"";

    fn read(value: &DeValue<'_>) -> Option<Self> {
        let (number, unit) = quantity(value.as_str()?)?;
        let (_, factor) = BYTE_UNITS.into_iter().find(|(name, _)| *name == unit)?;
        number.checked_mul(factor).map(Self)
    }

    fn show(&self) -> String {
        show_quantity(self.0, &BYTE_UNITS)
    }
}

/// A length of time, written as `"250 ms"`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Span(pub(super) Duration);

const SPAN_UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("min", 60_000), ("s", 1_000), ("ms", 1)];

impl Value for Span {
    const KIND: &'static str = "a length of time in ms, s, min or h";
    const EXAMPLE: &'static str = "\"30 s\"";

    fn read(value: &DeValue<'_>) -> Option<Self> {
        value.as_str()?.parse().ok()
    }

    fn show(&self) -> String {
        let millis = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        show_quantity(millis, &SPAN_UNITS)
    }
}

impl FromStr for Span {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (number, unit) = quantity(text).ok_or(())?;
        let (_, factor) = SPAN_UNITS
            .into_iter()
            .find(|(name, _)| *name == unit)
            .ok_or(())?;
        let millis = number.checked_mul(factor).ok_or(())?;
        Ok(Self(Duration::from_millis(millis)))
    }
}

/// `"12 s"` or `"12s"` as 12 and `s`.
fn quantity(text: &str) -> Option<(u64, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    Some((number.parse().ok()?, unit.trim_start()))
}

/// In the largest unit that leaves no remainder.
fn show_quantity(number: u64, units: &[(&str, u64)]) -> String {
    let fits = |(_, factor): &&(&str, u64)| number >= *factor && number.is_multiple_of(*factor);
    match units.iter().find(fits).or(units.last()) {
        Some((unit, factor)) => format!("\"{} {unit}\"", number / factor),
        None => number.to_string(),
    }
}

impl Value for bool {
    const KIND: &'static str = "true or false";
    const EXAMPLE: &'static str = "true";

    fn read(value: &DeValue<'_>) -> Option<Self> {
        value.as_bool()
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Value for u32 {
    const KIND: &'static str = "a whole number";
    const EXAMPLE: &'static str = "1024";

    fn read(value: &DeValue<'_>) -> Option<Self> {
        let integer = value.as_integer()?;
        Self::from_str_radix(integer.as_str(), integer.radix()).ok()
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Value for String {
    const KIND: &'static str = "a text of at least one character, without control characters";
    const EXAMPLE: &'static str = "\"text\"";

    fn read(value: &DeValue<'_>) -> Option<Self> {
        let text = value.as_str()?;
        let plain = !text.is_empty() && !text.chars().any(char::is_control);
        plain.then(|| text.to_owned())
    }

    fn show(&self) -> String {
        quoted(self)
    }
}

impl Value for Vec<String> {
    const KIND: &'static str = "a list of texts";
    const EXAMPLE: &'static str = "[\"one\", \"two\"]";

    fn read(value: &DeValue<'_>) -> Option<Self> {
        let items = value.as_array()?.iter();
        items.map(|item| String::read(item.get_ref())).collect()
    }

    fn show(&self) -> String {
        let items: Vec<String> = self.iter().map(|item| quoted(item)).collect();
        format!("[{}]", items.join(", "))
    }
}

impl Value for DeviceName {
    const KIND: &'static str = "a device name: 1 to 64 of A-Z a-z 0-9 _ -";
    const EXAMPLE: &'static str = "\"kiosk-07\"";

    fn read(value: &DeValue<'_>) -> Option<Self> {
        value.as_str()?.parse().ok()
    }

    fn show(&self) -> String {
        quoted(self.as_str())
    }
}

/// Declares an enum of which each value is one word.
macro_rules! words {
    (
        $(#[$meta:meta])*
        $vis:vis enum $name:ident { $($(#[$variant_meta:meta])* $variant:ident = $word:literal,)+ }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        $vis enum $name { $($(#[$variant_meta])* $variant,)+ }

        impl $crate::config::value::Value for $name {
            const KIND: &'static str = concat!("one of" $(, " \"", $word, "\"")+);
            const EXAMPLE: &'static str = [$(concat!("\"", $word, "\"")),+][0];

            fn read(value: &toml::de::DeValue<'_>) -> Option<Self> {
                match value.as_str()? {
                    $($word => Some(Self::$variant),)+
                    _ => None,
                }
            }

            fn show(&self) -> String {
                match self { $(Self::$variant => concat!("\"", $word, "\"").into(),)+ }
            }
        }
    };
}
pub(super) use words;

/// A text as TOML writes it.
pub(super) fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// Texts as a list.
pub(super) fn quoted_list(texts: &[&str]) -> String {
    toml::Value::from(texts.to_vec()).to_string()
}

/// Any value as TOML writes it, cut short where it is long: for naming what was refused.
pub(super) fn written(value: &DeValue<'_>) -> String {
    const MAX_CHARS: usize = 80;
    let whole = match value {
        DeValue::String(text) => quoted(text),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(yes) => yes.to_string(),
        DeValue::Datetime(time) => time.to_string(),
        DeValue::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| written(item.get_ref())).collect();
            format!("[{}]", items.join(", "))
        }
        DeValue::Table(_) => "a section".into(),
    };
    match whole.char_indices().nth(MAX_CHARS) {
        Some((cut, _)) => format!("{}…", &whole[..cut]),
        None => whole,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<V: Value>(toml: &str) -> Option<V> {
        V::read(DeValue::parse(toml).unwrap().get_ref())
    }

    #[test]
    fn sizes_and_times_are_read_with_their_unit_and_shown_in_the_largest_that_fits() {
        for (written, bytes, shown) in [
            ("\"1GiB\"", 1 << 30, "\"1 GiB\""),
            ("\"1024 KiB\"", 1 << 20, "\"1 MiB\""),
            ("\"1500 B\"", 1500, "\"1500 B\""),
            ("\"0 B\"", 0, "\"0 B\""),
        ] {
            let size = read::<ByteSize>(written).unwrap();
            assert_eq!((size.0, size.show().as_str()), (bytes, shown));
        }
        for (written, millis, shown) in
            [("\"90 s\"", 90_000, "\"90 s\""), ("\"0ms\"", 0, "\"0 ms\"")]
        {
            let span = read::<Span>(written).unwrap();
            assert_eq!(span.0, Duration::from_millis(millis));
            assert_eq!(span.show(), shown);
        }
    }

    #[test]
    fn a_quantity_without_a_unit_or_too_large_is_refused() {
        for written in [
            "1024",
            "\"1024\"",
            "\"1 GB\"",
            "\"-1 B\"",
            "\"99999999 TiB\"",
            "\"B\"",
        ] {
            assert_eq!(read::<ByteSize>(written), None, "{written}");
        }
        for written in ["5", "\"5\"", "\"5 sec\"", "\"1.5 s\"", "\"\""] {
            assert_eq!(read::<Span>(written), None, "{written}");
        }
    }
}
