//! What a command fails with, as it is told to the person.

use std::{
    io,
    process::{ExitCode, ExitStatus},
};

use crate::{
    client::ClientError,
    config::{ConfigError, Problem},
    outbox::{DeadLetterError, EraseError, ForgetError, OpenError, ReadError},
};

/// Something failed.
const FAILURE: u8 = 1;
/// The command line or the configuration is wrong; clap uses the same code.
const USAGE: u8 = 2;
/// The doctor found something that does not work.
const CHECKS: u8 = 3;

/// Why a command failed: one or several complaints, and the exit code.
#[derive(Debug)]
pub struct Failure {
    /// None where nobody is left to complain to.
    complaints: Vec<Complaint>,
    code: u8,
}

#[derive(Debug)]
struct Complaint {
    message: String,
    hint: Option<String>,
}

impl Failure {
    pub(super) fn new(message: impl Into<String>) -> Self {
        let complaint = Complaint {
            message: message.into(),
            hint: None,
        };
        Self {
            complaints: vec![complaint],
            code: FAILURE,
        }
    }

    /// The command line asks for something that cannot be.
    pub(super) fn usage(message: impl Into<String>) -> Self {
        Self {
            code: USAGE,
            ..Self::new(message)
        }
    }

    /// Something does not work, which was told already.
    pub(super) const fn of_checks() -> Self {
        Self {
            complaints: Vec::new(),
            code: CHECKS,
        }
    }

    /// Of a process that this one has left the work to, and that has said what there is to say.
    pub(super) fn of_child(ended: ExitStatus) -> Result<(), Self> {
        if ended.success() {
            return Ok(());
        }
        match ended.code().and_then(|code| u8::try_from(code).ok()) {
            Some(code) => Err(Self {
                complaints: Vec::new(),
                code,
            }),
            None => Err(Self::new(format!(
                "the process that was to do it ended: {ended}"
            ))),
        }
    }

    /// The first complaint and what to do about it.
    pub(super) fn first(self) -> (String, Option<String>) {
        let first = self.complaints.into_iter().next();
        first.map_or_else(Default::default, |it| (it.message, it.hint))
    }

    /// What to do about the last complaint.
    pub(super) fn hint(mut self, hint: impl Into<Option<String>>) -> Self {
        if let Some(complaint) = self.complaints.last_mut() {
            complaint.hint = hint.into();
        }
        self
    }

    /// One more complaint.
    pub(super) fn and(mut self, other: Self) -> Self {
        self.complaints.extend(other.complaints);
        self
    }

    /// As it is printed: a line for each complaint, and a line for each hint. Empty where there is
    /// nothing to say.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        for Complaint { message, hint } in &self.complaints {
            text.push_str(&format!("error: {message}\n"));
            if let Some(hint) = hint {
                text.push_str(&format!("hint: {hint}\n"));
            }
        }
        text
    }

    /// What the process exits with.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        self.code.into()
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        let complaints = error.problems.into_iter().map(|problem| Complaint {
            message: problem.to_string(),
            hint: problem.hint,
        });
        Self {
            complaints: complaints.collect(),
            code: USAGE,
        }
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        ConfigError::from(problem).into()
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Self::new(error.to_string()).hint(error.hint())
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        let hint = error.hint();
        Self::new(error.to_string()).hint(hint)
    }
}

impl From<ForgetError> for Failure {
    fn from(error: ForgetError) -> Self {
        let hint = error.hint();
        Self::new(error.to_string()).hint(hint)
    }
}

impl From<DeadLetterError> for Failure {
    fn from(error: DeadLetterError) -> Self {
        let hint = error.hint().map(str::to_owned);
        Self::new(error.to_string()).hint(hint)
    }
}

impl From<EraseError> for Failure {
    fn from(error: EraseError) -> Self {
        Self::new(error.to_string())
    }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        Self::new(error.to_string())
    }
}

impl From<io::Error> for Failure {
    /// An error of standard output. Where nobody reads it any more, as with `| head`, all that was
    /// wanted has been had.
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self {
                complaints: Vec::new(),
                code: 0,
            };
        }
        Self::new(format!("writing to standard output failed: {error}"))
    }
}
