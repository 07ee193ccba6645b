//! How long something lasted, for people.

use std::{fmt, time::Duration};

/// Shows as `0.3 s`, `12.0 s`, `3 min 20 s`, `2 h 5 min` or `3 d 4 h`.
pub(crate) struct Lasted(pub(crate) Duration);

impl fmt::Display for Lasted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
        match (days, hours, minutes) {
            (0, 0, 0) => write!(f, "{seconds}.{} s", self.0.subsec_millis() / 100),
            (0, 0, _) => write!(f, "{minutes} min {} s", seconds % 60),
            (0, _, _) => write!(f, "{hours} h {} min", minutes % 60),
            _ => write!(f, "{days} d {} h", hours % 24),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_units_are_enough() {
        for (seconds, shown) in [
            (0.05, "0.0 s"),
            (0.35, "0.3 s"),
            (59.99, "59.9 s"),
            (60.0, "1 min 0 s"),
            (7_500.0, "2 h 5 min"),
            (273_600.0, "3 d 4 h"),
        ] {
            assert_eq!(Lasted(Duration::from_secs_f64(seconds)).to_string(), shown);
        }
    }
}
