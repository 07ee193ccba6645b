//! Standard output, and how things look on it.

use std::io::{self, IsTerminal as _, Write};

/// Standard output.
pub(super) struct Output {
    stdout: io::StdoutLock<'static>,
    /// Whether a person reads it.
    pub(super) for_people: bool,
    colours: bool,
}

/// What a text says, for those who see colours. The text says it, too.
#[derive(Clone, Copy)]
pub(super) enum Tone {
    Quiet,
    Good,
    Watch,
    Bad,
}

impl Output {
    pub(super) fn open() -> Self {
        let stdout = io::stdout();
        let for_people = stdout.is_terminal();
        let colours = for_people && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
        Self {
            stdout: stdout.lock(),
            for_people,
            colours,
        }
    }

    /// Whether a person sees it in colours.
    pub(super) const fn has_colours(&self) -> bool {
        self.colours
    }

    /// A text in its tone.
    pub(super) fn tone(&self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Quiet => 2,
            Tone::Good => 32,
            Tone::Watch => 33,
            Tone::Bad => 31,
        };
        if self.colours {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stdout.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stdout.flush()
    }
}

/// A number of bytes for people, such as `5.2 MiB`.
pub(super) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut unit = 0;
    let mut tenths = count.saturating_mul(10);
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths /= 1024;
        unit += 1;
    }
    match (unit, tenths % 10) {
        (0, _) => format!("{count} B"),
        (_, 0) => format!("{} {}", tenths / 10, UNITS[unit]),
        (_, tenth) => format!("{}.{tenth} {}", tenths / 10, UNITS[unit]),
    }
}

/// A count with its noun, such as `1 event` or `2 events`.
pub(super) fn count(number: u64, noun: &str) -> String {
    if number == 1 {
        format!("1 {noun}")
    } else {
        format!("{number} {noun}s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_shown_in_the_unit_that_suits_them() {
        for (number, shown) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1 KiB"),
            (1536, "1.5 KiB"),
            (5_500_000, "5.2 MiB"),
            (1 << 30, "1 GiB"),
        ] {
            assert_eq!(bytes(number), shown);
        }
    }
}
