//! One connection to a server: made once, never made again.
//!
//! The client would reconnect by itself and then send what was still queued, long after whoever
//! queued it has given up. Here it never does: after the first disconnect it waits until its
//! runtime is dropped. Everything it has to say (disconnects, permission violations, lame duck)
//! comes as a notice beside the answers.
//!
//! All answers come to one inbox, told apart by the last token of their subject. That is lighter
//! than the client's own requests (no timer, no channel and no entry in a map for each event, and
//! nothing left behind for a request that is never answered), and needs one subscription only.

use std::{
    collections::VecDeque,
    fmt::{self, Write as _},
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_nats::{
    Client, ConnectError, ConnectErrorKind, ConnectOptions, Event, HeaderMap, Message,
    PublishError, ServerError, StatusCode, Subject, Subscriber,
};
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use tokio::{sync::mpsc, task::unconstrained, time::timeout};

use crate::{
    envelope::DeviceName,
    receipt::MAX_RECEIPT_BYTES,
    seq::Seq,
    sink::{
        Outcome, SinkError,
        nats::{
            options::{NatsAuth, NatsOptions, Server},
            refusal::{self, Notice},
        },
        tls::{self, Remedies},
    },
};

/// Events of the connection that wait to be read. The first bad one ends the session, so what
/// does not fit is no loss.
const MAX_EVENTS: usize = 64;
/// Receipts that wait to be asked for; the oldest goes.
pub(super) const MAX_HEARD: usize = 64;
/// Room in the client's queues beyond the unanswered events: questions and pings.
const SPARE_COMMANDS: usize = 128;
/// After so long without a word from the server, an idle connection is tried. A server pings by
/// itself every two minutes unless told otherwise, so one that is alive is never asked, and an idle
/// device is woken half as often. A dead connection that nobody uses does no harm: an event without
/// an answer finds it out within `ack_timeout`.
const PING_INTERVAL: Duration = Duration::from_secs(180);
/// What the client calls the first subscription of a connection, the inbox. When any other is read
/// too slowly, what is lost is said again by the next message.
const INBOX_ID: u64 = 1;
/// How long the client waits before it connects again: longer than any process lives.
const NEVER: Duration = Duration::from_secs(100 * 365 * 24 * 3_600);

/// What an answer belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Token {
    /// An event that was sent.
    Event(Seq),
    /// A question, by its number.
    Question(u64),
}

/// A letter and a number of up to 20 digits.
const TOKEN_BYTES: usize = 21;

impl Token {
    fn parse(text: &str) -> Option<Self> {
        match text.split_at_checked(1)? {
            ("e", number) => number.parse().ok().map(|seq| Self::Event(Seq::new(seq))),
            ("q", number) => number.parse().ok().map(Self::Question),
            _ => None,
        }
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Event(seq) => write!(f, "e{seq}"),
            Self::Question(number) => write!(f, "q{number}"),
        }
    }
}

/// Why a question has no answer.
#[derive(Debug)]
pub(super) enum Unanswered {
    /// This user may not ask it.
    Denied,
    /// Nobody is there to answer it.
    NoResponders,
    /// The session is over.
    Lost(SinkError),
}

/// Something that came from the server.
pub(super) enum Arrival {
    /// An answer.
    Answer(Token, Message),
    /// What came where a hub's receipts come.
    Receipt(Bytes),
    /// Something about the connection.
    Notice(Notice),
}

pub(super) struct Link {
    client: Client,
    events: mpsc::Receiver<Event>,
    inbox: Subscriber,
    /// Where a hub's receipts come and tails go.
    way_back: Option<(Subscriber, Subject)>,
    /// What came there while something else was waited for.
    heard: VecDeque<Bytes>,
    /// Everything before the token in the subject of an answer, with its dot.
    prefix: String,
    questions: u64,
    /// The servers, as messages name them.
    server: String,
    answer_timeout: Duration,
}

impl Link {
    /// Makes one attempt to reach a server and to authenticate. Bounded by the caller.
    pub(super) async fn dial(
        options: &NatsOptions,
        servers: &[Server],
        device: &DeviceName,
    ) -> Result<Self, SinkError> {
        // With a second provider among an embedding program's crates, rustls refuses to choose.
        // An error says that one was chosen already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();

        let names = names(servers);
        let (sender, events) = mpsc::channel(MAX_EVENTS);
        let connected = Arc::new(AtomicBool::new(false));
        let gate = connected.clone();
        let room = options.max_in_flight + SPARE_COMMANDS;
        let mut connect = ConnectOptions::new()
            .name(format!("edge-outbox {}", device.as_str()))
            // A name may have several addresses, of which the first may be dead.
            .connection_timeout(options.connect_timeout / 2)
            .ping_interval(PING_INTERVAL)
            .client_capacity(room)
            .subscription_capacity(room)
            .ignore_discovered_servers()
            .reconnect_delay_callback(move |_| {
                if gate.load(Ordering::Relaxed) {
                    NEVER
                } else {
                    Duration::ZERO
                }
            })
            .event_callback(move |event| {
                let _ = sender.try_send(event);
                std::future::ready(())
            })
            .require_tls(options.tls.is_required());
        if options.tls.first {
            connect = connect.tls_first();
        }
        if let Some(roots) = &options.tls.roots {
            connect = connect.add_root_certificates(roots.clone());
        }
        if let Some(identity) = &options.tls.identity {
            connect =
                connect.add_client_certificate(identity.certificate.clone(), identity.key.clone());
        }
        let in_url = servers.first().map(Server::auth).unwrap_or_default();
        let auth = if options.auth == NatsAuth::None {
            &in_url
        } else {
            &options.auth
        };
        connect = authenticated(connect, auth).await?;

        let addresses: Vec<_> = servers.iter().map(|server| server.addr().clone()).collect();
        let client = connect
            .connect(addresses)
            .await
            .map_err(|error| connect_failure(&error, &names, options))?;
        // On the connection's one thread no task of the client has run since, so none can have
        // slipped through the gate.
        connected.store(true, Ordering::Relaxed);

        let inbox = client.new_inbox();
        let subscriber = client
            .subscribe(format!("{inbox}.*"))
            .await
            .map_err(|_| refusal::disconnected(&names))?;
        Ok(Self {
            client,
            events,
            inbox: subscriber,
            way_back: None,
            heard: VecDeque::new(),
            prefix: format!("{inbox}."),
            questions: 0,
            server: names,
            answer_timeout: options.ack_timeout,
        })
    }

    /// The servers, as messages name them.
    pub(super) fn server(&self) -> &str {
        &self.server
    }

    /// Whether the server has JetStream, in its own words at the greeting.
    pub(super) fn has_jetstream(&self) -> bool {
        self.client.server_info().jetstream
    }

    /// The server's name for its own version.
    #[cfg(feature = "cli")]
    pub(super) fn server_version(&self) -> String {
        self.client.server_info().version
    }

    /// Whether the server insists on TLS, which the client then speaks without being told to.
    #[cfg(feature = "cli")]
    pub(super) fn server_wants_tls(&self) -> bool {
        self.client.server_info().tls_required
    }

    /// The largest message the server takes, headers and all, in bytes.
    pub(super) fn max_payload(&self) -> usize {
        self.client.max_payload()
    }

    /// Listens for receipts on this subject, and sends tails to that one.
    pub(super) async fn open_way_back(
        &mut self,
        receipts: String,
        tails: String,
    ) -> Result<(), SinkError> {
        let subscriber = self.client.subscribe(receipts).await;
        let subscriber = subscriber.map_err(|_| refusal::disconnected(&self.server))?;
        self.way_back = Some((subscriber, tails.into()));
        Ok(())
    }

    /// Keeps what came where receipts come, until it is asked for.
    pub(super) fn hear(&mut self, message: Bytes) {
        if message.len() > MAX_RECEIPT_BYTES {
            return;
        }
        if self.heard.len() == MAX_HEARD {
            self.heard.pop_front();
        }
        self.heard.push_back(message);
    }

    /// The first of what was kept.
    pub(super) fn heard(&mut self) -> Option<Outcome> {
        self.heard.pop_front().map(Outcome::Receipt)
    }

    /// Sends a tail where tails go.
    pub(super) async fn tell(&self, tail: Bytes) -> Result<(), SinkError> {
        let Some((_, subject)) = &self.way_back else {
            return Ok(());
        };
        let sent = self.client.publish(subject.clone(), tail).await;
        sent.map_err(|_| refusal::disconnected(&self.server))
    }

    /// Publishes with the inbox to answer to. Waits only while the client's queue is full.
    pub(super) async fn publish(
        &self,
        subject: Subject,
        token: Token,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<(), PublishError> {
        let reply = self.own_subject(token);
        self.client
            .publish_with_reply_and_headers(subject, reply, headers, body)
            .await
    }

    /// The subject of this link's inbox that says what is answered.
    fn own_subject(&self, token: Token) -> Subject {
        let mut subject = String::with_capacity(self.prefix.len() + TOKEN_BYTES);
        // Writing into memory does not fail.
        _ = write!(subject, "{}{token}", self.prefix);
        Subject::from(subject)
    }

    /// Publishes without an answer.
    pub(super) async fn publish_unanswered(
        &self,
        subject: Subject,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<(), PublishError> {
        self.client
            .publish_with_headers(subject, headers, body)
            .await
    }

    /// Sends this link's own inbox an empty message. When it is back, the server has read
    /// everything that was sent before it.
    pub(super) fn echo(&mut self) -> Option<Token> {
        let token = self.next_question();
        let sent = self.client.publish(self.own_subject(token), Bytes::new());
        at_once(sent).map(|()| token)
    }

    /// Asks without waiting for the answer, which arrives under the token given. `None` where the
    /// client's queue is full.
    pub(super) fn ask_ahead(
        &mut self,
        subject: &str,
        question: &impl serde::Serialize,
    ) -> Option<Token> {
        let token = self.next_question();
        let body = serde_json::to_vec(question).ok()?;
        at_once(self.publish(subject.into(), token, HeaderMap::new(), body.into())).map(|()| token)
    }

    /// Asks one question and waits for its answer.
    pub(super) async fn ask(
        &mut self,
        subject: &str,
        question: &impl serde::Serialize,
    ) -> Result<Message, Unanswered> {
        let mut answers = self
            .ask_all(subject, std::slice::from_ref(question))
            .await?;
        answers.pop().ok_or(Unanswered::NoResponders)
    }

    /// Asks several questions at once and waits for all answers, which come back in the order of
    /// the questions. Answers to anything else are dropped, so it is for a session's beginning; receipts
    /// are kept.
    ///
    /// # Errors
    /// [`Unanswered::Lost`] also where no answer came for as long as an answer may take.
    pub(super) async fn ask_all(
        &mut self,
        subject: &str,
        questions: &[impl serde::Serialize],
    ) -> Result<Vec<Message>, Unanswered> {
        let first = self.questions + 1;
        let target = Subject::from(subject);
        for question in questions {
            let token = self.next_question();
            let sent = match serde_json::to_vec(question) {
                Ok(body) => self
                    .publish(target.clone(), token, HeaderMap::new(), body.into())
                    .await
                    .is_ok(),
                Err(_) => false,
            };
            if !sent {
                return Err(Unanswered::Lost(refusal::disconnected(&self.server)));
            }
        }
        let mut answers: Vec<Option<Message>> = questions.iter().map(|_| None).collect();
        let mut missing = answers.len();
        while missing > 0 {
            let Ok(arrival) = timeout(self.answer_timeout, self.arrival()).await else {
                return Err(Unanswered::Lost(SinkError::retry(
                    "no_answer",
                    format!("{} did not answer on {subject} in time", self.server),
                )));
            };
            match arrival {
                Arrival::Answer(_, message) if is_no_responders(&message) => {
                    return Err(Unanswered::NoResponders);
                }
                Arrival::Answer(Token::Question(number), message) => {
                    let place = number
                        .checked_sub(first)
                        .and_then(|at| usize::try_from(at).ok())
                        .and_then(|at| answers.get_mut(at));
                    if let Some(place @ None) = place {
                        *place = Some(message);
                        missing -= 1;
                    }
                }
                Arrival::Notice(Notice::Lost(error)) => return Err(Unanswered::Lost(error)),
                Arrival::Notice(Notice::PublishDenied {
                    subject: denied, ..
                }) if denied == subject => {
                    return Err(Unanswered::Denied);
                }
                Arrival::Receipt(message) => self.hear(message),
                Arrival::Answer(Token::Event(_), _) | Arrival::Notice(_) => {}
            }
        }
        Ok(answers.into_iter().flatten().collect())
    }

    /// The next thing that comes from the server. Cancel-safe.
    pub(super) async fn arrival(&mut self) -> Arrival {
        loop {
            tokio::select! {
                biased;
                event = self.events.recv() => {
                    let notice = match event {
                        Some(Event::SlowConsumer(id)) if id != INBOX_ID => Notice::Nothing,
                        Some(event) => refusal::notice(&event, &self.server),
                        None => Notice::Lost(refusal::disconnected(&self.server)),
                    };
                    return Arrival::Notice(notice);
                }
                message = self.inbox.next() => match message {
                    Some(message) => if let Some(token) = self.token(&message) {
                        return Arrival::Answer(token, message);
                    },
                    None => return Arrival::Notice(Notice::Lost(refusal::disconnected(&self.server))),
                },
                Some(message) = next_receipt(&mut self.way_back) => {
                    if message.payload.len() <= MAX_RECEIPT_BYTES {
                        return Arrival::Receipt(message.payload);
                    }
                }
            }
        }
    }

    /// An answer that is here already. Spares the cost of waiting where answers come in bursts.
    pub(super) fn answer_at_hand(&mut self) -> Option<(Token, Message)> {
        loop {
            let message = self.inbox.next().now_or_never().flatten()?;
            if let Some(token) = self.token(&message) {
                return Some((token, message));
            }
        }
    }

    fn token(&self, message: &Message) -> Option<Token> {
        Token::parse(message.subject.strip_prefix(self.prefix.as_str())?)
    }

    /// What the next question is answered under.
    pub(super) fn next_question(&mut self) -> Token {
        self.questions += 1;
        Token::Question(self.questions)
    }
}

/// The next message where receipts come; never without such a place. Cancel-safe.
async fn next_receipt(way_back: &mut Option<(Subscriber, Subject)>) -> Option<Message> {
    match way_back {
        Some((receipts, _)) => receipts.next().await,
        None => pending().await,
    }
}

/// Whether a message says that nobody is there to answer.
pub(super) fn is_no_responders(message: &Message) -> bool {
    message.status == Some(StatusCode::NO_RESPONDERS)
}

/// Publishes from where nothing can be awaited. The client's queue has room for everything that
/// may be unanswered, so it is full only when the client is wedged. Unconstrained, because the
/// scheduler's budget would else make a queue with room look full.
fn at_once(publish: impl Future<Output = Result<(), PublishError>>) -> Option<()> {
    unconstrained(publish).now_or_never()?.ok()
}

pub(super) fn names(servers: &[Server]) -> String {
    servers
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}

pub(super) async fn authenticated(
    connect: ConnectOptions,
    auth: &NatsAuth,
) -> Result<ConnectOptions, SinkError> {
    let unusable = |what: &str, error: &dyn fmt::Display, key: &str| {
        SinkError::halt(
            "credentials_unreadable",
            format!("reading {what} failed: {error}"),
        )
        .with_hint(format!("correct `{key}`"))
    };
    match auth {
        NatsAuth::None => Ok(connect),
        NatsAuth::CredentialsFile(path) => connect
            .credentials_file(path)
            .await
            .map_err(|error| unusable(&path.display().to_string(), &error, "credentials_file")),
        NatsAuth::NkeyFile(path) => match std::fs::read_to_string(path) {
            Ok(seed) => Ok(connect.nkey(seed.trim().to_owned())),
            Err(error) => Err(unusable(&path.display().to_string(), &error, "nkey_file")),
        },
        NatsAuth::Jwt { jwt, seed } => connect
            .credentials(&credentials(jwt.reveal(), seed.reveal()))
            .map_err(|error| unusable("the JWT and its seed", &error, "jwt_file")),
        NatsAuth::User { name, password } => {
            Ok(connect.user_and_password(name.clone(), password.reveal().to_owned()))
        }
        NatsAuth::Token(token) => Ok(connect.token(token.reveal().to_owned())),
    }
}

/// A JWT and a seed in the form of a credentials file, which is how the client takes a pair whose
/// nonce it shall sign itself.
fn credentials(jwt: &str, seed: &str) -> zeroize::Zeroizing<String> {
    zeroize::Zeroizing::new(format!(
        "-----BEGIN NATS USER JWT-----\n{}\n------END NATS USER JWT------\n\n\
         -----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
        jwt.trim(),
        seed.trim()
    ))
}

const REMEDIES: Remedies = Remedies {
    name: "name the server in `servers` as its certificate does",
    no_tls: "the server offers no TLS here: enable it there, set `tls.first` to what the server \
             does, or write nats:// in `servers`",
};

/// Classifies why no connection could be made.
pub(super) fn connect_failure(
    error: &ConnectError,
    servers: &str,
    options: &NatsOptions,
) -> SinkError {
    // The client's own word for it ("IO error") says nothing that the cause does not say.
    let said = match std::error::Error::source(error) {
        Some(cause) => cause.to_string(),
        None => error.to_string(),
    };
    let message = format!("connecting to {servers} failed: {said}");
    if let Some(cause) = tls::cause::<ServerError>(error) {
        return refusal::of_connection(cause, servers);
    }
    if let Some(cause) = tls::cause::<rustls::Error>(error) {
        return tls::failure(cause, servers, tls::clock_is_set(), &REMEDIES);
    }
    match error.kind() {
        ConnectErrorKind::Dns => SinkError::retry("name_not_resolved", message)
            .with_hint("check the name in `servers`, and this device's network and DNS"),
        ConnectErrorKind::AuthorizationViolation => refusal::not_authorized(message),
        ConnectErrorKind::Authentication => SinkError::halt(
            "credentials_unusable",
            format!("signing the server's nonce failed: {said}"),
        )
        .with_hint("correct the seed in `credentials_file` or `nkey_file`"),
        ConnectErrorKind::Tls => SinkError::halt("tls_unusable", message).with_hint(
            "correct `tls.roots`, `tls.certificate` and `tls.key`: PEM files that exist",
        ),
        ConnectErrorKind::ServerParse => {
            SinkError::halt("bad_server", message).with_hint("correct `servers`")
        }
        ConnectErrorKind::TimedOut => unreachable(message),
        ConnectErrorKind::Io | ConnectErrorKind::MaxReconnects => {
            let hung_up = matches!(
                tls::cause::<std::io::Error>(error).map(std::io::Error::kind),
                Some(std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::ConnectionReset)
            );
            if hung_up && options.tls.is_required() {
                unreachable(message).with_hint(
                    "the server hung up during TLS: check `tls.first` and the \
                                certificate in `tls.certificate`",
                )
            } else {
                unreachable(message)
            }
        }
    }
}

pub(super) fn unreachable(message: String) -> SinkError {
    SinkError::retry("unreachable", message)
        .with_hint("passes when the server can be reached; else check `servers`")
}
