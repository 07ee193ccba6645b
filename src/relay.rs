//! The relay: what services at the hub have put into a table of unsent events, brought to the sinks.
//! `docs/design.md`, "Relay", says how and why.
//!
//! It is an outbox of its own. Rows are locked, appended to its journal under the ids that they have,
//! forwarded by the ordinary forwarder, and marked as sent once every required sink has confirmed
//! them: all of it within the transaction that locks them. A crash at any moment leaves rows that are
//! taken again, and a journal that knows their ids.
//!
//! - `table`: what the table is called, and what is asked of it.
//! - `row`: a row as an event. `refused`: rows that cannot be sent. Both are pure.
//! - `standing`: what the sinks have. `gauges`: what is counted.

mod gauges;
mod refused;
mod row;
mod standing;
mod table;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep, sleep_until, timeout},
};
use uuid::Uuid;

pub use self::{
    gauges::{Activity, Gauges},
    table::{Columns, MAX_NAME_BYTES},
};
use self::{
    refused::{Refused, Why},
    row::Row,
    standing::Standing,
    table::{Session, Taken, Wanted},
};
use crate::{
    event::Event,
    hub::Trouble,
    outbox::{AppendError, Appended, Chosen, Delivery, Outbox},
    sink::{SinkError, postgres::Database},
};

/// The script that makes the table, and has it say what is new.
pub const TABLE_SQL: &str = include_str!("../config/relay.sql");

/// The name of the table, and of the channel that says what is new in it, unless told otherwise.
pub const DEFAULT_TABLE: &str = "event_outbox";
/// Rows that are taken at a time unless told otherwise.
pub const DEFAULT_BATCH: usize = 256;
/// The most rows that can be taken at a time. Each has a place in the server's table of locks, of which
/// there are a few thousand for everybody.
pub const MAX_BATCH: usize = 1_024;
/// Bytes of payloads that are taken at a time unless told otherwise.
pub const DEFAULT_BATCH_BYTES: usize = 1024 * 1024;
/// The most bytes of payloads that can be taken at a time.
pub const MAX_BATCH_BYTES: usize = 8 * 1024 * 1024;
/// How long rows stay locked for the sinks to confirm them, unless told otherwise.
pub const DEFAULT_CONFIRM_TIMEOUT: Duration = Duration::from_secs(30);
/// How often the table is looked at that said nothing, unless told otherwise.
pub const DEFAULT_POLL: Duration = Duration::from_secs(30);
/// After how long a row that was refused is tried again, unless told otherwise.
pub const DEFAULT_RETRY_REFUSED: Duration = Duration::from_secs(3_600);

/// How long rows in the journal are kept from other relays while the sinks are away, unless told
/// otherwise.
pub const DEFAULT_KEEP: Duration = Duration::from_secs(600);

/// How long it takes to be told of sinks that take nothing: at the start they have to connect.
const TELL_AFTER: Duration = Duration::from_secs(5);
/// The most dead letters of one's own that are kept from other relays: each has a place in the server's
/// table of locks.
const MAX_LETTERS: usize = 256;
/// After how long rows are looked at again that are confirmed, and locked by somebody.
const SETTLE_AGAIN: Duration = Duration::from_millis(100);
/// After how long a row that another relay keeps is looked at again.
const ELSEWHERE: Duration = Duration::from_secs(5);
/// After how long it is looked at what became of a row that a sink was asked to take after all.
const SECOND_LOOK: Duration = Duration::from_secs(10);
/// How long what is in hand may take once the relay is told to stop.
pub(crate) const FINISH_LIMIT: Duration = Duration::from_secs(2);

/// What a relay can be told.
#[derive(Clone, Debug)]
pub struct Options {
    /// The table's name.
    pub table: String,
    /// Its columns.
    pub columns: Columns,
    /// The channel on which it is said that rows were added.
    pub channel: String,
    /// Rows at a time, at most [`MAX_BATCH`].
    pub batch: usize,
    /// Bytes of payloads at a time, at most [`MAX_BATCH_BYTES`], unless it is one row.
    pub batch_bytes: usize,
    /// How long rows stay locked for the sinks to confirm them.
    pub confirm_timeout: Duration,
    /// How long rows that they did not confirm in time are kept from other relays. Afterwards others
    /// may send them, and this one's sinks get them, too, once they are back.
    pub keep: Duration,
    /// How often the table is looked at where it says nothing.
    pub poll: Duration,
    /// After how long a row that was refused is tried again.
    pub retry_refused: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            table: DEFAULT_TABLE.into(),
            columns: Columns::default(),
            channel: DEFAULT_TABLE.into(),
            batch: DEFAULT_BATCH,
            batch_bytes: DEFAULT_BATCH_BYTES,
            confirm_timeout: DEFAULT_CONFIRM_TIMEOUT,
            keep: DEFAULT_KEEP,
            poll: DEFAULT_POLL,
            retry_refused: DEFAULT_RETRY_REFUSED,
        }
    }
}

/// Brings rows into an outbox, and marks them as sent once its sinks have them.
pub struct Relay {
    outbox: Outbox,
    database: Database,
    options: Options,
    /// The names of the sinks that have to confirm.
    sinks: Vec<String>,
    gauges: Arc<Gauges>,
    stopping: watch::Receiver<bool>,
    notified: Arc<Notify>,
    refused: Refused,
    /// Rows that are in the journal, as far as is known, and not marked.
    carried: Vec<Uuid>,
    /// Until when they are kept from others.
    keep_until: Instant,
    /// Rows that are dead letters of the journal, which other relays would only send again.
    letters: BTreeSet<Uuid>,
    /// Whether it was told that there are rows without an id.
    has_told_nameless: bool,
    /// Behind which place of the table the next rows are looked for.
    after: Option<(String, Uuid)>,
    trouble: Trouble,
    away: Trouble,
}

/// Why nothing more was done.
enum Ended {
    /// The relay was told to stop.
    Stopped,
    /// The database, or the journal, did not do what it was asked.
    Failed(SinkError),
}

impl From<SinkError> for Ended {
    fn from(error: SinkError) -> Self {
        Self::Failed(error)
    }
}

/// What became of rows that were taken.
enum Outcome {
    /// They are marked or refused; whether there may be more.
    Done { more: bool },
    /// The sinks did not confirm them in time. They are in the journal, and let go of in the table.
    NotConfirmed,
}

impl Relay {
    /// From this database into this outbox, whose forwarder serves at least the required `sinks`, until
    /// `stopping` says so.
    #[must_use]
    pub fn new(
        outbox: Outbox,
        database: Database,
        options: Options,
        sinks: Vec<String>,
        stopping: watch::Receiver<bool>,
    ) -> Self {
        Self {
            trouble: Trouble::with("the relay".into()),
            away: Trouble::with("the relay's sinks".into()),
            refused: Refused::new(options.retry_refused),
            outbox,
            database,
            options,
            sinks,
            gauges: Arc::default(),
            stopping,
            notified: Arc::default(),
            carried: Vec::new(),
            keep_until: Instant::now(),
            letters: BTreeSet::new(),
            has_told_nameless: false,
            after: None,
        }
    }

    /// What it counts.
    #[must_use]
    pub fn gauges(&self) -> Arc<Gauges> {
        Arc::clone(&self.gauges)
    }

    /// Works until it is stopped. What is in hand then gets [`FINISH_LIMIT`]; what is not confirmed by
    /// then is let go of, and known to the journal when it is taken again.
    pub async fn run(mut self) {
        while let Ended::Failed(error) = self.session().await {
            self.gauges.set(Activity::NoDatabase);
            let wait = self.trouble.begins(&error);
            tokio::select! {
                () = sleep(wait) => {}
                () = stopped(&mut self.stopping) => return,
            }
        }
    }

    /// One connection, from its beginning to its end.
    async fn session(&mut self) -> Ended {
        let opened = tokio::select! {
            opened = Session::open(&self.database, &self.options, &self.notified) => opened,
            () = stopped(&mut self.stopping) => return Ended::Stopped,
        };
        let worked = match opened {
            Ok(mut session) => self.work(&mut session).await,
            Err(error) => Err(error.into()),
        };
        match worked {
            Ok(never) => match never {},
            Err(ended) => ended,
        }
    }

    async fn work(&mut self, session: &mut Session) -> Result<std::convert::Infallible, Ended> {
        session.keep(&self.carried).await?;
        session.keep(&self.letters()).await?;
        loop {
            self.sweep(session).await?;
            let now = Instant::now();
            let next = now + self.options.poll;
            let next = self.refused.next_due().map_or(next, |due| due.min(next));
            tokio::select! {
                () = self.notified.notified() => {}
                () = sleep_until(next) => {}
                () = stopped(&mut self.stopping) => return Err(Ended::Stopped),
            }
        }
    }

    /// Takes what there is, from the first row to the last.
    async fn sweep(&mut self, session: &mut Session) -> Result<(), Ended> {
        self.after = None;
        let began = Instant::now();
        loop {
            if !self.carried.is_empty() {
                self.settle(session).await?;
                continue;
            }
            self.sinks_take().await?;
            let wanted = Wanted::Next {
                except: self.refused.waiting(Instant::now()),
                after: self.after.clone(),
            };
            match self.take(session, wanted).await? {
                Outcome::Done { more: false } => break,
                Outcome::Done { more: true } | Outcome::NotConfirmed => {}
            }
            if *self.stopping.borrow() {
                return Err(Ended::Stopped);
            }
        }
        self.refused.forget_gone(began);
        let letters = self.letters.len();
        self.letters.retain(|id| self.refused.contains(id));
        if self.letters.len() < letters {
            session.let_go_but(&self.letters()).await?;
        }
        if !self.has_told_nameless && session.has_nameless().await? {
            self.has_told_nameless = true;
            tracing::warn!("rows without an id are not sent, and stay as they are");
        }
        self.gauges.set_refused(self.refused.len());
        Ok(())
    }

    /// Waits until each required sink takes events. Rows that wait meanwhile belong to any relay.
    async fn sinks_take(&mut self) -> Result<(), Ended> {
        let mut status = self.outbox.status();
        let sinks = &self.sinks;
        let take = status.wait_for(|status| Standing::of(status, sinks).takes());
        let waited = tokio::select! {
            waited = timeout(TELL_AFTER, take) => waited.map(|took| took.is_ok()),
            () = stopped(&mut self.stopping) => return Err(Ended::Stopped),
        };
        match waited {
            Ok(true) => {}
            Ok(false) => return Err(Ended::Stopped),
            Err(_) => {
                self.gauges.set(Activity::NoSinks);
                let away = Standing::of(&status.borrow(), sinks).away().join(", ");
                self.away.begins(&SinkError::retry(
                    "sinks_away",
                    format!("no rows are taken while events are not taken by {away}"),
                ));
                tokio::select! {
                    took = status.wait_for(|status| Standing::of(status, sinks).takes()) => {
                        took.map_err(|_| Ended::Stopped)?;
                    }
                    () = stopped(&mut self.stopping) => return Err(Ended::Stopped),
                }
            }
        }
        self.away.ends();
        Ok(())
    }

    /// Waits until what is in the journal is confirmed, marks it, and lets others have what is left.
    async fn settle(&mut self, session: &mut Session) -> Result<(), Ended> {
        let outbox = self.outbox.clone();
        let tail = outbox.status().borrow().tail;
        let sinks = self.sinks.clone();
        tokio::select! {
            // Confirmed is confirmed, however late it is found.
            biased;
            has = Standing::confirmed(&outbox, &sinks, tail) => {
                if !has {
                    return Err(Ended::Stopped);
                }
                let carried = self.carried.clone();
                if let Outcome::Done { .. } = self.take(session, Wanted::These(carried)).await? {
                    self.away.ends();
                }
                // What somebody has locked, who may not have it, is this one's until it is marked.
                if !self.carried.is_empty() {
                    self.carried = session.unsent(&self.carried).await?;
                }
                if !self.carried.is_empty() && Instant::now() < self.keep_until {
                    tokio::select! {
                        () = sleep(SETTLE_AGAIN) => {}
                        () = stopped(&mut self.stopping) => return Err(Ended::Stopped),
                    }
                    return Ok(());
                }
                self.carried.clear();
            }
            () = sleep_until(self.keep_until) => {
                let rows = self.carried.len();
                tracing::warn!(rows, "rows that the sinks did not confirm are left to other relays");
                self.carried.clear();
            }
            () = stopped(&mut self.stopping) => return Err(Ended::Stopped),
        }
        if self.carried.is_empty() {
            session.let_go_but(&self.letters()).await?;
        }
        Ok(())
    }

    fn letters(&self) -> Vec<Uuid> {
        self.letters.iter().copied().collect()
    }

    /// Takes rows, in one transaction.
    async fn take(&mut self, session: &mut Session, wanted: Wanted) -> Result<Outcome, Ended> {
        let max_payload = self.outbox.max_payload_bytes();
        let is_next = matches!(wanted, Wanted::Next { .. });
        let mut taken = session.take(&self.options, wanted, max_payload).await?;
        let (mut more, last) = (taken.more, taken.last.clone());
        let now = Instant::now();
        let mut events = Vec::with_capacity(taken.rows.len());
        for row in taken.rows.drain(..) {
            let Row { id, .. } = row;
            // What is refused, or another relay's, is carried no more.
            self.carried.retain(|carried| *carried != id);
            match row.event() {
                Ok(event) => events.push((id, event)),
                Err(why) => self.refuse(id, &why, now),
            }
        }
        for (id, why) in taken.refused.drain(..) {
            self.carried.retain(|carried| *carried != id);
            self.refuse(id, &why, now);
        }
        for id in taken.elsewhere.drain(..) {
            self.carried.retain(|carried| *carried != id);
            self.refused.put_off(id, now + ELSEWHERE);
        }
        if is_next {
            self.keep_until = now + self.options.keep;
        }
        let not_obtained = std::mem::take(&mut self.carried);
        // From here on they may be in the journal, whatever happens.
        self.carried = events.iter().map(|(id, _)| *id).collect();
        self.carried.extend(&not_obtained);
        let (places, is_cut) = self.append(events).await?;
        more |= is_cut;
        self.carried = places.iter().map(|place| place.id).collect();
        self.carried.extend(&not_obtained);
        if let Some(last) = places.iter().map(|place| place.seq).max() {
            self.gauges.set(Activity::Sends);
            let has = Standing::confirmed(&self.outbox, &self.sinks, last);
            let mut stopping = self.stopping.clone();
            let hurry = async move {
                stopped(&mut stopping).await;
                sleep(FINISH_LIMIT).await;
            };
            tokio::select! {
                has = timeout(self.options.confirm_timeout, has) => match has {
                    Ok(true) => {}
                    Ok(false) => return Err(Ended::Stopped),
                    Err(_) => return self.give_back(taken).await,
                },
                () = hurry => return Err(Ended::Stopped),
            }
        }
        let letters = self.letters.len();
        let confirmed = self.sort(&places, now).await?;
        if self.letters.len() > letters {
            taken.keep(&self.letters()).await?;
        }
        taken.mark(&confirmed).await?;
        self.carried = not_obtained;
        if is_next {
            tell_known(&places, &confirmed);
        }
        self.after = last.filter(|_| self.refused.is_full());
        self.gauges.add_sent(confirmed.len());
        self.gauges.set_refused(self.refused.len());
        self.gauges.set(Activity::Waits);
        self.trouble.ends();
        Ok(Outcome::Done { more })
    }

    /// Lets go of rows that the sinks did not confirm, which others leave alone for a while all the
    /// same.
    async fn give_back(&mut self, taken: Taken<'_>) -> Result<Outcome, Ended> {
        let late = {
            let status = self.outbox.status();
            let status = status.borrow();
            Standing::of(&status, &self.sinks).behind().join(", ")
        };
        self.away.begins(&SinkError::retry(
            "not_confirmed",
            format!(
                "{} rows were not confirmed within {:?} by {late}; they stay unsent until they are",
                self.carried.len(),
                self.options.confirm_timeout,
            ),
        ));
        self.gauges.set(Activity::NoSinks);
        taken.give_back(&self.carried).await?;
        Ok(Outcome::NotConfirmed)
    }

    /// Appends events; those that cannot be are refused, one by one. Also whether some were left out,
    /// for there was no room for all of them at a time.
    async fn append(&mut self, events: Vec<(Uuid, Event)>) -> Result<(Vec<Appended>, bool), Ended> {
        let (mut events, mut is_cut) = (events, false);
        loop {
            let batch = events.iter().map(|(_, event)| event.clone()).collect();
            let error = match self.outbox.append_batch(batch).await {
                Ok(places) => return Ok((places, is_cut)),
                Err(error) => error,
            };
            let index = match &error {
                AppendError::Conflict { index, .. } | AppendError::TooLarge { index, .. } => *index,
                AppendError::LargerThanQuota { .. } | AppendError::BatchTooLarge { .. } => {
                    if events.len() > 1 {
                        // The rest is taken the next time.
                        is_cut = true;
                        events.truncate(events.len() / 2);
                        continue;
                    }
                    0
                }
                AppendError::Closed => return Err(Ended::Stopped),
                _ => {
                    let message = format!("appending to the journal: {error}");
                    let error = match error.hint() {
                        Some(hint) => SinkError::retry("journal", message).with_hint(hint),
                        None => SinkError::retry("journal", message),
                    };
                    return Err(error.into());
                }
            };
            if index >= events.len() {
                return Err(SinkError::retry("journal", error.to_string()).into());
            }
            let (id, _) = events.remove(index);
            self.refuse(id, &error.to_string(), Instant::now());
        }
    }

    /// Which of these every required sink has; the others are dead letters of one.
    async fn sort(&mut self, places: &[Appended], now: Instant) -> Result<Vec<Uuid>, Ended> {
        let outbox = self.outbox.clone();
        let any = {
            let status = outbox.status();
            let status = status.borrow();
            Standing::of(&status, &self.sinks).rejects()
        };
        let mut confirmed = Vec::with_capacity(places.len());
        for place in places {
            // What is new is in nobody's dead letters as long as there are none.
            if !any && !place.repeated {
                confirmed.push(place.id);
                continue;
            }
            let found = outbox.find(place.id).await.map_err(|error| {
                SinkError::retry("journal", format!("asking the journal: {error}"))
            })?;
            let rejected = found.iter().flat_map(|found| &found.sinks).find_map(|it| {
                let (sink, Delivery::Rejected(code)) = it else {
                    return None;
                };
                self.sinks.contains(sink).then_some((sink, code))
            });
            let Some((sink, code)) = rejected else {
                self.refused.remove(&place.id);
                confirmed.push(place.id);
                continue;
            };
            if self.refused.is_due(&place.id, now) && !self.refused.is_asked(&place.id) {
                let again = outbox
                    .retry_dead_letters(sink, Chosen::One(place.seq))
                    .await;
                match again {
                    Ok(_) => {
                        self.refused.ask(place.id, now + SECOND_LOOK);
                        continue;
                    }
                    Err(error) => tracing::debug!(id = %place.id, %error, "it is not tried again"),
                }
            }
            if self.letters.len() < MAX_LETTERS {
                self.letters.insert(place.id);
            }
            let why = format!("sink {sink} rejected it for good: {code}");
            self.refuse(place.id, &why, now);
        }
        Ok(confirmed)
    }

    /// A row that is not sent stays as it is, and is told of once.
    fn refuse(&mut self, id: Uuid, why: &str, now: Instant) {
        match self.refused.add(id, now) {
            Why::New => {
                self.gauges.add_refusal();
                tracing::warn!(%id, reason = why, "a row is not sent, and stays as it is");
            }
            Why::NoRoom => tracing::error!(
                kept = self.refused.len(),
                "more rows cannot be sent than are kept in mind: they are looked at again and again, \
                 and no more of them are named here"
            ),
            Why::Known => {}
        }
    }
}

/// Says how many rows were marked because the journal knew them.
fn tell_known(places: &[Appended], marked: &[Uuid]) {
    let marked: BTreeSet<&Uuid> = marked.iter().collect();
    let known = places
        .iter()
        .filter(|place| place.repeated && marked.contains(&place.id));
    let rows = known.count();
    if rows > 0 {
        tracing::info!(
            rows,
            "rows that were sent before are marked, and not sent again"
        );
    }
}

/// The word to stop. An error means that whoever could say it is gone.
async fn stopped(stopping: &mut watch::Receiver<bool>) {
    drop(stopping.wait_for(|stop| *stop).await);
}
