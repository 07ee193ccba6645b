//! The way to the events: the daemon where one runs, else the journal itself. Only one process
//! can have the journal open.

use std::{fs, io::ErrorKind, os::unix::fs::MetadataExt as _, path::Path, time::Duration};

use bytes::Bytes;
use tokio::time::{Instant, sleep};

use super::Failure;
use crate::{
    client::{Client, ClientError, Events},
    config::Config,
    outbox::{EventStream, OpenError, Outbox},
    seq::Seq,
    status::Status,
};

/// How long a daemon that already has the journal may take until its socket answers.
const STARTING_LIMIT: Duration = Duration::from_secs(2);
/// How long to wait between two looks at its socket.
const STARTING_PAUSE: Duration = Duration::from_millis(50);

/// A way to the events.
pub(super) enum Access {
    /// Through a daemon.
    Daemon(Client),
    /// Straight into the journal.
    Journal(Outbox),
}

/// What to do where there is no journal yet.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Absent {
    /// Make one, with a key.
    Make,
    /// Say so.
    Refuse,
}

/// What the journal is opened for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To look at it: it is opened as it is, and a wrong configuration changes nothing.
    Inspect,
    /// To work with it, under the key and name that are configured.
    Work,
}

impl Access {
    /// Finds the daemon, else opens the journal.
    pub(super) async fn find(
        config: &Config,
        absent: Absent,
        purpose: Purpose,
    ) -> Result<Self, Failure> {
        let deadline = Instant::now() + STARTING_LIMIT;
        loop {
            if let Some(client) = daemon(config).await? {
                return Ok(Self::Daemon(client));
            }
            match journal(config, absent, purpose) {
                Ok(outbox) => return Ok(Self::Journal(outbox)),
                // A daemon that starts has the journal before it has the socket.
                Err(Unopened::InUse(_)) if Instant::now() < deadline => sleep(STARTING_PAUSE).await,
                Err(Unopened::InUse(failure) | Unopened::Other(failure)) => return Err(failure),
            }
        }
    }

    /// The status; of a closed journal what it remembers.
    pub(super) async fn status(&mut self) -> Result<Status, Failure> {
        match self {
            Self::Daemon(client) => Ok(client.status().await?),
            Self::Journal(outbox) => Ok(outbox.status().borrow().clone()),
        }
    }

    /// The envelopes from a seq on.
    pub(super) async fn lines(self, from: Seq, follow: bool) -> Result<Lines, Failure> {
        let source = match self {
            Self::Daemon(client) => Source::Daemon(Box::new(client.events(from, follow).await?)),
            Self::Journal(outbox) => {
                let stream = outbox.events(from).follow(follow);
                Source::Journal {
                    stream,
                    _outbox: outbox,
                }
            }
        };
        Ok(Lines {
            source,
            rest: Vec::new(),
        })
    }
}

/// The daemon that has our journal, where one answers.
pub(super) async fn daemon(config: &Config) -> Result<Option<Client>, Failure> {
    let beside = config.data_dir.join(crate::config::SOCKET_FILE);
    let sockets = config.http.socket.iter().chain(Some(&beside));
    for socket in sockets {
        let connected = match Client::connect(socket).await {
            // A directory that we may not even look into, or that is none, is told of when the
            // journal is opened.
            Err(ClientError::Connect { source, .. })
                if *socket == beside
                    && matches!(
                        source.kind(),
                        ErrorKind::PermissionDenied | ErrorKind::NotADirectory
                    ) =>
            {
                None
            }
            connected => connected?,
        };
        let Some(mut client) = connected else {
            continue;
        };
        // One socket may be configured for all, and --data-dir mean another journal.
        if is_same(&client.status().await?.journal.dir, &config.data_dir) {
            return Ok(Some(client));
        }
    }
    Ok(None)
}

fn is_same(left: &Path, right: &Path) -> bool {
    left == right
        || matches!(
            (fs::canonicalize(left), fs::canonicalize(right)),
            (Ok(left), Ok(right)) if left == right
        )
}

/// Why the journal was not opened.
enum Unopened {
    /// Another process has it open.
    InUse(Failure),
    Other(Failure),
}

impl<F: Into<Failure>> From<F> for Unopened {
    fn from(failure: F) -> Self {
        Self::Other(failure.into())
    }
}

/// Opens the journal itself.
fn journal(config: &Config, absent: Absent, purpose: Purpose) -> Result<Outbox, Unopened> {
    let dir = &config.data_dir;
    match fs::metadata(dir) {
        Ok(found) if !found.is_dir() => {
            let hint = "name a directory with --data-dir or `data_dir`".to_owned();
            let message = format!("{} is not a directory", dir.display());
            return Err(Failure::new(message).hint(hint).into());
        }
        Ok(found) => {
            // Files that we made there its owner could not open afterwards, not even if we are
            // root.
            let (own, owner) = (rustix::process::geteuid().as_raw(), found.uid());
            if owner != own {
                let message = format!(
                    "{} belongs to user {owner}, and this is user {own}",
                    dir.display()
                );
                let hint = format!("run this as that user (`sudo -u '#{owner}' edge-outbox …`)");
                return Err(Failure::new(message).hint(hint).into());
            }
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => {
            let hint = (error.kind() == ErrorKind::PermissionDenied)
                .then(|| "run this as the user that it belongs to, or set `data_dir`".to_owned());
            let message = format!("{}: {error}", dir.display());
            return Err(Failure::new(message).hint(hint).into());
        }
    }
    if absent == Absent::Refuse && !dir.join(crate::outbox::JOURNAL_FILE).exists() {
        let hint = "name its directory with --data-dir; `edge-outbox run` makes one";
        return Err(Failure::new(format!("{} holds no journal", dir.display()))
            .hint(hint.to_owned())
            .into());
    }
    let mut builder = config.outbox()?;
    if purpose == Purpose::Inspect {
        builder = builder.inspect();
    }
    match builder.open() {
        Ok(outbox) => Ok(outbox),
        Err(error @ OpenError::InUse(_)) => Err(Unopened::InUse(in_use(error))),
        Err(error) => Err(error.into()),
    }
}

fn in_use(error: OpenError) -> Failure {
    if cfg!(feature = "http") {
        return error.into();
    }
    let hint =
        "this program leaves HTTP out, so it cannot ask whoever has the journal: stop that first";
    Failure::new(error.to_string()).hint(hint.to_owned())
}

/// Envelopes, a line each.
pub(super) struct Lines {
    source: Source,
    /// What came without its end so far.
    rest: Vec<u8>,
}

enum Source {
    Daemon(Box<Events>),
    /// The outbox is held so that it stays open.
    Journal {
        stream: EventStream,
        _outbox: Outbox,
    },
}

impl Lines {
    /// The next whole lines with their ends, at least one; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        loop {
            let chunk: Option<Bytes> = match &mut self.source {
                Source::Daemon(events) => events.next_chunk().await?,
                Source::Journal { stream, .. } => stream.next_chunk().await?,
            };
            let Some(chunk) = chunk else {
                return if self.rest.is_empty() {
                    Ok(None)
                } else {
                    Err(Failure::new("the daemon stopped in the middle of an event"))
                };
            };
            self.rest.extend_from_slice(&chunk);
            if let Some(end) = self.rest.iter().rposition(|byte| *byte == b'\n') {
                let rest = self.rest.split_off(end + 1);
                return Ok(Some(std::mem::replace(&mut self.rest, rest)));
            }
        }
    }
}
