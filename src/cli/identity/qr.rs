//! A QR code, for a terminal and as a picture.

use std::fmt::Write as _;

use qrcodegen::{QrCode, QrCodeEcc};

/// Empty modules around the code, as many as the standard asks for: some readers do without, and
/// not all.
const QUIET_ZONE: i32 = 4;

/// Black on white whatever the terminal's own colours are: numbers of the palette that no theme
/// changes, unlike the first sixteen.
const BLACK_ON_WHITE: &str = "\x1b[38;5;16;48;5;231m";
/// Back to the terminal's own.
const RESET: &str = "\x1b[0m";

/// A text as a QR code.
pub(super) struct Picture {
    code: QrCode,
}

impl Picture {
    /// `None` for a text that is too long for any code.
    pub(super) fn of(text: &str) -> Option<Self> {
        // Medium: it is printed on a label that gets scratched, or read from a screen with glare.
        let code = QrCode::encode_text(text, QrCodeEcc::Medium).ok()?;
        Some(Self { code })
    }

    /// Lines of half blocks, two modules high each. In colours it looks the same on every terminal.
    /// Without them what is light is drawn, as is right where light text stands on a dark ground.
    pub(super) fn blocks(&self, in_colours: bool) -> String {
        let mut lines = String::new();
        for y in self.places().step_by(2) {
            if in_colours {
                lines.push_str(BLACK_ON_WHITE);
            }
            for x in self.places() {
                let is_drawn = |y| self.code.get_module(x, y) == in_colours;
                lines.push(match (is_drawn(y), is_drawn(y + 1)) {
                    (true, true) => '█',
                    (true, false) => '▀',
                    (false, true) => '▄',
                    (false, false) => ' ',
                });
            }
            if in_colours {
                lines.push_str(RESET);
            }
            lines.push('\n');
        }
        lines
    }

    /// As SVG: black on white, without a size of its own, a module for each unit.
    pub(super) fn svg(&self, title: &str) -> String {
        let side = self.code.size() + 2 * QUIET_ZONE;
        let mut path = String::new();
        for y in self.places() {
            let mut x = -QUIET_ZONE;
            while x < self.code.size() {
                let run = (x..).take_while(|&x| self.code.get_module(x, y)).count();
                let run = i32::try_from(run).unwrap_or(i32::MAX);
                if run > 0 {
                    let (left, top) = (x + QUIET_ZONE, y + QUIET_ZONE);
                    // Writing to a string cannot fail.
                    let _ = write!(path, "M{left} {top}h{run}v1h-{run}z");
                }
                x += run + 1;
            }
        }
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {side} {side}\" \
             shape-rendering=\"crispEdges\">\n\
             <title>{title}</title>\n\
             <path fill=\"#fff\" d=\"M0 0h{side}v{side}H0z\"/>\n\
             <path d=\"{path}\"/>\n\
             </svg>\n"
        )
    }

    /// Rows or columns, quiet zone included. What lies outside the code is light.
    fn places(&self) -> std::ops::Range<i32> {
        -QUIET_ZONE..self.code.size() + QUIET_ZONE
    }
}
