//! What is carried by hand: a file of events from a device, and one of receipts back to it.
//!
//! `docs/design.md`, "Carried by hand", has the formats. Both are lines, and each of them proves
//! itself or proves nothing.

use std::io::{self, BufRead, ErrorKind};

use serde::Deserialize;

use crate::encoding::{base64_of, parse_base64_vec};

/// The version of both files.
const VERSION: u64 = 1;
/// What the lines that are none of events begin with.
const EXPORT_PREFIX: &str = "{\"edge_outbox_export\":";
const EXPORT_END_PREFIX: &str = "{\"edge_outbox_export_end\":";
const RECEIPTS_PREFIX: &str = "{\"edge_outbox_receipts\":";

/// The first line of an export, with its end. Names and keys have no character that JSON escapes.
pub(crate) fn export_head(device: &str, public_key: &str, tail: &str) -> String {
    format!(
        "{EXPORT_PREFIX}{VERSION},\"device\":\"{device}\",\"public_key\":\"{public_key}\",\
         \"tail\":\"{tail}\"}}\n"
    )
}

/// Its last line.
pub(crate) fn export_end(events: u64) -> String {
    format!("{EXPORT_END_PREFIX}{VERSION},\"events\":{events}}}\n")
}

/// The first line of a file of receipts.
#[cfg(feature = "hub")]
pub(crate) fn receipts_head() -> String {
    format!("{RECEIPTS_PREFIX}{VERSION}}}\n")
}

/// One receipt.
pub(crate) fn receipt_line(device: &str, message: &[u8]) -> String {
    format!(
        "{{\"device\":\"{device}\",\"receipt\":\"{}\"}}\n",
        base64_of(message)
    )
}

/// Whether a file of receipts begins with this line, of a version that is known; `None` where it is
/// no such file at all.
pub(crate) fn is_receipts(line: &[u8]) -> Option<bool> {
    let version = line.strip_prefix(RECEIPTS_PREFIX.as_bytes())?;
    Some(version.strip_suffix(b"}") == Some(VERSION.to_string().as_bytes()))
}

/// A line with a receipt.
#[derive(Deserialize)]
pub(crate) struct ReceiptLine {
    /// Whose it is said to be.
    pub(crate) device: String,
    receipt: String,
}

impl ReceiptLine {
    /// Reads one; `None` where it is none.
    pub(crate) fn parse(line: &[u8]) -> Option<Self> {
        serde_json::from_slice(line).ok()
    }

    /// The signed message in it; `None` where that is not base64.
    pub(crate) fn message(&self) -> Option<Vec<u8>> {
        parse_base64_vec(self.receipt.as_bytes())
    }
}

/// What a line of an export is.
#[cfg(feature = "hub")]
pub(crate) enum ExportLine {
    /// The first one.
    Head(ExportHead),
    /// The last one.
    End {
        /// How many lines are said to lie between.
        events: u64,
    },
    /// Of a version that is not known.
    Later,
    /// An event, or nothing at all.
    Other,
}

/// What an export says of itself.
#[cfg(feature = "hub")]
#[derive(Deserialize)]
pub(crate) struct ExportHead {
    edge_outbox_export: u64,
    /// Whose it is said to be.
    pub(crate) device: crate::identity::DeviceName,
    tail: String,
}

#[cfg(feature = "hub")]
impl ExportHead {
    /// The signed tail; empty where it is none.
    pub(crate) fn tail(&self) -> Vec<u8> {
        parse_base64_vec(self.tail.as_bytes()).unwrap_or_default()
    }
}

#[cfg(feature = "hub")]
impl ExportLine {
    /// Tells what a line is by how it begins. A head or an end that cannot be read is nothing.
    pub(crate) fn of(line: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct End {
            edge_outbox_export_end: u64,
            events: u64,
        }
        #[derive(Deserialize)]
        struct Version {
            #[serde(alias = "edge_outbox_export_end")]
            edge_outbox_export: u64,
        }
        let is_head = line.starts_with(EXPORT_PREFIX.as_bytes());
        if !is_head && !line.starts_with(EXPORT_END_PREFIX.as_bytes()) {
            return Self::Other;
        }
        match serde_json::from_slice::<Version>(line) {
            Ok(version) if version.edge_outbox_export > VERSION => return Self::Later,
            _ => {}
        }
        if is_head {
            return match serde_json::from_slice::<ExportHead>(line) {
                Ok(head) if head.edge_outbox_export == VERSION => Self::Head(head),
                _ => Self::Other,
            };
        }
        match serde_json::from_slice::<End>(line) {
            Ok(end) if end.edge_outbox_export_end == VERSION => Self::End { events: end.events },
            _ => Self::Other,
        }
    }
}

/// One line, as far as it is kept.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line<'a> {
    /// Without its end, and no more than the most that is kept of one.
    pub(crate) text: &'a [u8],
    /// Whether it has an end: the last one may be cut off.
    pub(crate) is_ended: bool,
}

/// Lines of whatever length, in the memory of one.
pub(crate) struct LineReader<R> {
    input: R,
    most: usize,
    line: Vec<u8>,
}

impl<R: BufRead> LineReader<R> {
    /// Of each line so many bytes are kept, and the rest is passed over.
    pub(crate) const fn new(input: R, most: usize) -> Self {
        Self {
            input,
            most,
            line: Vec::new(),
        }
    }

    /// The next line; `None` at the end.
    ///
    /// # Errors
    /// The input cannot be read any further.
    pub(crate) fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        self.line.clear();
        let mut is_there = false;
        loop {
            let chunk = match self.input.fill_buf() {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                read => read?,
            };
            if chunk.is_empty() {
                let text = self.line.as_slice();
                return Ok(is_there.then_some(Line {
                    text,
                    is_ended: false,
                }));
            }
            is_there = true;
            let end = chunk.iter().position(|byte| *byte == b'\n');
            let part = chunk.get(..end.unwrap_or(chunk.len())).unwrap_or(chunk);
            let room = self.most.saturating_sub(self.line.len());
            self.line
                .extend_from_slice(part.get(..room).unwrap_or(part));
            let used = end.map_or(chunk.len(), |end| end + 1);
            self.input.consume(used);
            if end.is_some() {
                return Ok(Some(Line {
                    text: &self.line,
                    is_ended: true,
                }));
            }
        }
    }
}

/// The seq in the line of an envelope, by where it stands: before it there is no text of a program's.
pub(crate) fn seq_in(line: &[u8]) -> Option<u64> {
    const MEMBER: &[u8] = b",\"seq\":";
    let at = line
        .windows(MEMBER.len())
        .position(|window| window == MEMBER)?;
    let digits = line.get(at + MEMBER.len()..)?;
    let length = digits.iter().take_while(|it| it.is_ascii_digit()).count();
    std::str::from_utf8(digits.get(..length)?)
        .ok()?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Cursor, Read};

    use super::*;

    fn lines(input: impl Read, most: usize, buffer: usize) -> Vec<(String, bool)> {
        let mut reader = LineReader::new(BufReader::with_capacity(buffer, input), most);
        let mut all = Vec::new();
        while let Some(line) = reader.next().unwrap() {
            let text = String::from_utf8(line.text.to_vec()).unwrap();
            all.push((text, line.is_ended));
        }
        all
    }

    #[test]
    fn lines_are_kept_up_to_a_length_and_the_last_one_may_have_no_end() {
        for buffer in 1..12 {
            let read = |text: &str| lines(Cursor::new(text.to_owned()), 4, buffer);
            let line = |text: &str, is_ended| (text.to_owned(), is_ended);
            assert_eq!(read(""), []);
            assert_eq!(read("\n"), [line("", true)]);
            assert_eq!(
                read("abcd\n\nabcdefgh\nxy"),
                [
                    line("abcd", true),
                    line("", true),
                    line("abcd", true),
                    line("xy", false)
                ]
            );
        }
    }

    #[test]
    fn a_line_of_a_gigabyte_takes_the_memory_of_one_that_is_allowed() {
        let mut reader = LineReader::new(
            BufReader::new(std::io::repeat(b'x').take(1 << 30).chain(&b"\nend"[..])),
            1000,
        );
        assert_eq!(reader.next().unwrap().unwrap().text, [b'x'; 1000]);
        assert_eq!(reader.next().unwrap().unwrap().text, b"end");
        assert!(reader.line.capacity() <= 128 * 1024);
    }

    #[test]
    fn the_seq_of_an_envelope_is_found_by_its_place() {
        let line = br#"{"id":"a","device":"k","epoch":"e","seq":17,"x":{",\"seq\":":1,"seq":4}}"#;
        assert_eq!(seq_in(line), Some(17));
        assert_eq!(seq_in(b"{\"seq\":17}"), None);
        assert_eq!(seq_in(b"{\"id\":1,\"seq\":99999999999999999999}"), None);
        assert_eq!(seq_in(b""), None);
    }

    #[test]
    fn a_file_of_receipts_is_known_by_its_first_line() {
        assert_eq!(is_receipts(b"{\"edge_outbox_receipts\":1}"), Some(true));
        assert_eq!(is_receipts(b"{\"edge_outbox_receipts\":2}"), Some(false));
        assert_eq!(is_receipts(b"{\"edge_outbox_export\":1}"), None);
    }
}
