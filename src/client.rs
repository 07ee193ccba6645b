//! The command line's way to a running daemon, or to any program that serves its outbox on the
//! same socket: HTTP/1.1 over the Unix socket.

#[cfg(not(feature = "http"))]
#[path = "client/no_transport.rs"]
mod transport;
#[cfg(feature = "http")]
mod transport;

use std::{
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::{net::UnixStream, time::timeout};
use uuid::Uuid;

use self::transport::{Answer, Method, Transport};
#[cfg(feature = "carry")]
use crate::forwarder::{Brought, Outgoing};
use crate::{
    journal::{Chosen, DeadLetter, DeadLettersChanged, Erased, Forgotten, SinkName},
    seq::Seq,
    socket_path::SocketPath,
    status::Status,
};

/// How long a daemon may take for an answer's head. A commit on a worn card takes its time.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);
/// How long it may take to erase a person: every free page of the file is written over.
const ERASE_LIMIT: Duration = Duration::from_secs(60 * 60);
/// Largest answer that is held in memory, in bytes.
const MAX_ANSWER_BYTES: usize = 16 * 1024 * 1024;

/// A connection to a daemon.
pub(crate) struct Client {
    transport: Transport,
    socket: PathBuf,
}

/// Why there is no answer to work with.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// Somebody listens on the socket who is neither us, nor root, nor the owner of its directory.
    #[error("{} is served by user {uid}, who does not own its directory", .socket.display())]
    Stranger { socket: PathBuf, uid: u32 },
    /// The socket is there, but it cannot be connected to.
    #[error("connecting to {} failed: {source}", .socket.display())]
    Connect { socket: PathBuf, source: io::Error },
    /// The connection ended in the middle. What was sent may have been taken or not.
    #[error("the daemon at {} went away: {what}", .socket.display())]
    Lost { socket: PathBuf, what: String },
    /// The daemon refused the request.
    #[error("{0}")]
    Refused(Problem),
}

impl ClientError {
    /// What to do about it.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Connect { source, .. } if source.kind() == ErrorKind::PermissionDenied => {
                Some("run this as the daemon's user or as a member of the socket's group".into())
            }
            Self::Connect { source, .. } if source.kind() == ErrorKind::Unsupported => {
                Some("use a program that was built with the feature http".into())
            }
            Self::Stranger { .. } => Some("somebody may be posing as the daemon".into()),
            Self::Refused(problem) => problem.hint.clone(),
            Self::Connect { .. } | Self::Lost { .. } => None,
        }
    }
}

/// A refusal in the words of RFC 9457.
#[derive(Debug, Deserialize, thiserror::Error)]
#[error("{}", .detail.as_deref().unwrap_or(.title))]
pub(crate) struct Problem {
    title: String,
    detail: Option<String>,
    hint: Option<String>,
    /// The line of an NDJSON body that is at fault, from 1.
    pub(crate) line: Option<usize>,
}

/// The answer to several events.
#[derive(Debug, Deserialize)]
pub(crate) struct Accepted {
    /// How many, those known already included.
    pub(crate) accepted: u64,
    pub(crate) first_seq: Seq,
    pub(crate) last_seq: Seq,
    /// Only where some of them were known already.
    #[serde(default)]
    pub(crate) events: Vec<AcceptedEvent>,
}

/// One of several events.
#[derive(Debug, Deserialize)]
pub(crate) struct AcceptedEvent {
    pub(crate) repeated: bool,
}

/// The answer to the list of dead letters.
#[derive(Deserialize)]
struct DeadLetterList {
    dead_letters: Vec<DeadLetter>,
}

/// The envelope of a dead letter's event.
#[derive(Deserialize)]
struct DeadLetterEnvelope {
    #[serde(default)]
    envelope: Option<Box<RawValue>>,
}

impl Client {
    /// Connects where a daemon listens; `None` where nobody does.
    pub(crate) async fn connect(socket: &Path) -> Result<Option<Self>, ClientError> {
        let failed = |source| ClientError::Connect {
            socket: socket.to_owned(),
            source,
        };
        let connected = match SocketPath::to(socket) {
            Ok(path) => UnixStream::connect(path.as_path()).await,
            Err(error) => Err(error),
        };
        let stream = match connected {
            Ok(stream) => stream,
            // No socket, or one that a killed daemon left behind.
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::NotFound | ErrorKind::ConnectionRefused
                ) =>
            {
                return Ok(None);
            }
            Err(source) => return Err(failed(source)),
        };
        let uid = stream.peer_cred().map_err(failed)?.uid();
        if !is_trusted(uid, socket).map_err(failed)? {
            return Err(ClientError::Stranger {
                socket: socket.to_owned(),
                uid,
            });
        }
        let transport = Transport::open(stream).await.map_err(failed)?;
        Ok(Some(Self {
            transport,
            socket: socket.to_owned(),
        }))
    }

    /// The daemon's status.
    pub(crate) async fn status(&mut self) -> Result<Status, ClientError> {
        let answer = self.ask(Method::GET, "/v1/status", Bytes::new()).await?;
        self.read_json(answer).await
    }

    /// Appends events, one a line, all or none.
    pub(crate) async fn append(&mut self, lines: Bytes) -> Result<Accepted, ClientError> {
        let answer = self.ask(Method::POST, "/v1/events", lines).await?;
        self.read_json(answer).await
    }

    /// Takes its place in the journal away from a sink.
    pub(crate) async fn forget(&mut self, sink: &SinkName) -> Result<Forgotten, ClientError> {
        let path = format!("/v1/sinks/{sink}");
        let answer = self.ask(Method::DELETE, &path, Bytes::new()).await?;
        self.read_json(answer).await
    }

    /// The dead letters of this sink, or of all.
    pub(crate) async fn dead_letters(
        &mut self,
        sink: Option<&SinkName>,
    ) -> Result<Vec<DeadLetter>, ClientError> {
        let query = sink.map_or_else(String::new, |sink| format!("?sink={sink}"));
        let path = format!("/v1/dead-letters{query}");
        let answer = self.ask(Method::GET, &path, Bytes::new()).await?;
        let list: DeadLetterList = self.read_json(answer).await?;
        Ok(list.dead_letters)
    }

    /// A dead letter, and its envelope where that is still held.
    pub(crate) async fn dead_letter(
        &mut self,
        sink: &SinkName,
        seq: Seq,
    ) -> Result<(DeadLetter, Option<Box<RawValue>>), ClientError> {
        let path = format!("/v1/dead-letters/{sink}/{seq}");
        let answer = self.ask(Method::GET, &path, Bytes::new()).await?;
        let body = self.read(answer).await?;
        // Twice, for what is flattened is not kept byte for byte.
        let letter = serde_json::from_slice(&body).map_err(|error| self.lost(error))?;
        let whole: DeadLetterEnvelope =
            serde_json::from_slice(&body).map_err(|error| self.lost(error))?;
        Ok((letter, whole.envelope))
    }

    /// Has dead letters sent again.
    pub(crate) async fn retry_dead_letters(
        &mut self,
        sink: &SinkName,
        chosen: Chosen,
    ) -> Result<DeadLettersChanged, ClientError> {
        let path = format!("{}/retry", dead_letters_path(sink, chosen));
        let answer = self.ask(Method::POST, &path, Bytes::new()).await?;
        self.read_json(answer).await
    }

    /// Takes dead letters off the list.
    pub(crate) async fn discard_dead_letters(
        &mut self,
        sink: &SinkName,
        chosen: Chosen,
    ) -> Result<DeadLettersChanged, ClientError> {
        let path = dead_letters_path(sink, chosen);
        let answer = self.ask(Method::DELETE, &path, Bytes::new()).await?;
        self.read_json(answer).await
    }

    /// Erases a person.
    pub(crate) async fn erase(&mut self, id: Uuid) -> Result<Erased, ClientError> {
        let body = Bytes::from(format!("{{\"id\":\"{id}\"}}"));
        let asked = self.ask_within(ERASE_LIMIT, Method::POST, "/v1/erase", body);
        let answer = asked.await?;
        self.read_json(answer).await
    }

    /// Asks what may be carried away.
    #[cfg(feature = "carry")]
    pub(crate) async fn set_out(&mut self) -> Result<Outgoing, ClientError> {
        let answer = self.ask(Method::POST, "/v1/export", Bytes::new()).await?;
        self.read_json(answer).await
    }

    /// Hands over receipts that somebody brought, one a line.
    #[cfg(feature = "carry")]
    pub(crate) async fn bring(&mut self, lines: Bytes) -> Result<Brought, ClientError> {
        let answer = self.ask(Method::POST, "/v1/receipts", lines).await?;
        self.read_json(answer).await
    }

    /// The envelopes from a seq on, one a line.
    pub(crate) async fn events(mut self, from: Seq, follow: bool) -> Result<Events, ClientError> {
        let path = format!("/v1/events?from={from}&follow={follow}");
        let answer = self.ask(Method::GET, &path, Bytes::new()).await?;
        Ok(Events {
            answer,
            client: self,
        })
    }

    async fn ask(
        &mut self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Answer, ClientError> {
        self.ask_within(ANSWER_LIMIT, method, path, body).await
    }

    async fn ask_within(
        &mut self,
        limit: Duration,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Answer, ClientError> {
        let answer = timeout(limit, self.transport.send(method, path, body)).await;
        let answer = answer
            .map_err(|error| self.lost(error))?
            .map_err(|error| self.lost(error))?;
        let Some(status) = answer.refusal() else {
            return Ok(answer);
        };
        let body = self.read(answer).await?;
        let problem = serde_json::from_slice(&body).unwrap_or_else(|_| unnamed(&status));
        Err(ClientError::Refused(problem))
    }

    async fn read(&self, answer: Answer) -> Result<Bytes, ClientError> {
        let body = answer.read(MAX_ANSWER_BYTES).await;
        body.map_err(|error| self.lost(error))
    }

    async fn read_json<T: serde::de::DeserializeOwned>(
        &self,
        answer: Answer,
    ) -> Result<T, ClientError> {
        let body = self.read(answer).await?;
        serde_json::from_slice(&body).map_err(|error| self.lost(error))
    }

    fn lost(&self, error: impl ToString) -> ClientError {
        ClientError::Lost {
            socket: self.socket.clone(),
            what: error.to_string(),
        }
    }
}

/// Envelopes on their way from a daemon.
pub(crate) struct Events {
    answer: Answer,
    /// Holds the connection open.
    client: Client,
}

impl Events {
    /// The next bytes, not always whole lines; `None` at the end.
    pub(crate) async fn next_chunk(&mut self) -> Result<Option<Bytes>, ClientError> {
        let chunk = self.answer.next_chunk().await;
        chunk.map_err(|error| self.client.lost(error))
    }
}

fn dead_letters_path(sink: &SinkName, chosen: Chosen) -> String {
    match chosen {
        Chosen::One(seq) => format!("/v1/dead-letters/{sink}/{seq}"),
        Chosen::All => format!("/v1/dead-letters/{sink}"),
    }
}

fn unnamed(status: &str) -> Problem {
    Problem {
        title: format!("the daemon answered {status}"),
        detail: None,
        hint: None,
        line: None,
    }
}

/// Whether whoever listens is ourselves, root, or the owner of the socket's directory. In a
/// directory that others can write to, anybody could have put a socket of that name.
fn is_trusted(uid: u32, socket: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt as _;
    let own = rustix::process::geteuid().as_raw();
    let directory = socket.parent().unwrap_or(Path::new("/"));
    Ok(uid == own || uid == 0 || uid == std::fs::metadata(directory)?.uid())
}
