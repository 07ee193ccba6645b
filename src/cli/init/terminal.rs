//! Questions on a terminal.

use std::io::{self, BufRead as _, IsTerminal as _, Read as _, Write as _, stderr, stdin};

use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr,
};
use zeroize::Zeroizing;

use crate::{cli::Failure, secret::Secret};

/// The longest answer, in bytes; what is longer is a file on the wrong input.
const MAX_ANSWER_BYTES: usize = 4096;

const ENTER: [u8; 2] = [b'\n', b'\r'];
const BACKSPACE: [u8; 2] = [0x7f, 0x08];
const INTERRUPT: u8 = 0x03;
const END: u8 = 0x04;
const ERASE_LINE: u8 = 0x15;

/// Whether there is somebody to ask.
pub(super) fn is_there() -> bool {
    stdin().is_terminal() && stderr().is_terminal()
}

/// The answer in one line, without blanks around it. Empty where only Enter was pressed.
pub(super) fn ask(question: &str) -> Result<String, Failure> {
    prompt(question)?;
    let mut answer = String::new();
    let limit = u64::try_from(MAX_ANSWER_BYTES).unwrap_or(u64::MAX);
    let read = stdin().lock().take(limit).read_line(&mut answer);
    if read.map_err(unreadable)? == 0 {
        return Err(given_up());
    }
    Ok(answer.trim().to_owned())
}

/// An answer that is not shown; `None` where only Enter was pressed.
pub(super) fn ask_hidden(question: &str) -> Result<Option<Secret>, Failure> {
    prompt(question)?;
    let quiet = Quiet::begin().map_err(unreadable)?;
    let answer = read_hidden();
    drop(quiet);
    // The Enter was not shown either.
    let _ = writeln!(stderr());
    answer
}

/// Reads the first line of standard input, for whoever gives a secret through a pipe.
pub(super) fn read_line() -> Result<Option<Secret>, Failure> {
    let mut line = Zeroizing::new(String::new());
    let limit = u64::try_from(MAX_ANSWER_BYTES).unwrap_or(u64::MAX);
    let read = stdin().lock().take(limit).read_line(&mut line);
    read.map_err(unreadable)?;
    let line = line.trim_end_matches(['\r', '\n']);
    Ok((!line.is_empty()).then(|| Secret::new(line)))
}

/// Tells the person something between two questions.
pub(super) fn say(text: &str) -> Result<(), Failure> {
    writeln!(stderr(), "{text}").map_err(unreadable)
}

fn read_hidden() -> Result<Option<Secret>, Failure> {
    let mut answer = Zeroizing::new(Vec::with_capacity(MAX_ANSWER_BYTES));
    for byte in stdin().lock().bytes() {
        match byte.map_err(unreadable)? {
            byte if ENTER.contains(&byte) => {
                let text = std::str::from_utf8(&answer)
                    .map_err(|_| Failure::new("the password is not UTF-8"))?;
                return Ok((!text.is_empty()).then(|| Secret::new(text)));
            }
            byte if BACKSPACE.contains(&byte) => {
                // A character may have several bytes.
                while answer.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {}
            }
            ERASE_LINE => answer.clear(),
            INTERRUPT | END => return Err(given_up()),
            byte if answer.len() < MAX_ANSWER_BYTES => answer.push(byte),
            _ => return Err(Failure::new("the password is too long")),
        }
    }
    Err(given_up())
}

/// While it lives, the terminal shows nothing of what is typed, and gives each key at once: an
/// interrupt is a key too, so that it cannot end the process and leave the terminal like this.
struct Quiet {
    before: Termios,
}

impl Quiet {
    fn begin() -> io::Result<Self> {
        let before = tcgetattr(stdin())?;
        let mut quiet = before.clone();
        quiet
            .local_modes
            .remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
        quiet.special_codes[SpecialCodeIndex::VMIN] = 1;
        quiet.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(stdin(), OptionalActions::Now, &quiet)?;
        Ok(Self { before })
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        // A terminal that is gone needs no echo.
        let _ = tcsetattr(stdin(), OptionalActions::Now, &self.before);
    }
}

fn prompt(question: &str) -> Result<(), Failure> {
    let mut stderr = stderr();
    write!(stderr, "{question}: ")
        .and_then(|()| stderr.flush())
        .map_err(unreadable)
}

fn given_up() -> Failure {
    Failure::new("given up: nothing was written")
}

fn unreadable(error: impl Into<io::Error>) -> Failure {
    Failure::new(format!("asking on the terminal failed: {}", error.into()))
}
