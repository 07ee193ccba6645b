//! Events out of the table of a Postgres sink. `config/hub-inbox.sql` has it keep a list of what is new,
//! and says why a list and not a place up to which all was read.
//!
//! What is in hand is locked in a transaction that lasts until it is stored, and removed from the list
//! by its commit. So a hub that is gone leaves the list as it was.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use serde_json::json;
use tokio::time::sleep;
use tokio_postgres::{Row, types::Type};
use uuid::Uuid;

use super::{Limits, Load};
use crate::{
    envelope::MAX_ENVELOPE_BYTES,
    hub::{
        HubError, Message,
        error::Tried as _,
        rows::{get, read_digest},
        stored,
    },
    sink::{
        SinkError,
        postgres::{Connection, Database},
    },
};

/// How often the list is looked at by default while it is empty.
pub const POLL: Duration = Duration::from_secs(1);
/// What a row takes beside what the list says of it, roughly, in bytes.
const ROW_BYTES: usize = 1_024;
/// What the session asks of the server. What is in hand while the hub's own database is away is let go
/// of at last: rows that were removed elsewhere cannot be cleared away as long as it lasts.
const SESSION: &str = "set statement_timeout = '60s'; \
                       set idle_in_transaction_session_timeout = '5min'; \
                       set client_min_messages = warning";
/// Whether row-level security hides nothing of a table from this user: it does not apply, or a policy
/// shows every row and none restricts that.
const SEES_ALL: &str = "select not row_security_active(t.oid) or coalesce(bool_or(p.polpermissive \
                        and pg_get_expr(p.polqual, t.oid) = 'true') \
                        and bool_and(p.polpermissive), false) \
                        from (select $1::text::regclass::oid as oid) t \
                        left join pg_policy p on p.polrelid = t.oid and p.polcmd in ('r', '*') \
                        and exists (select from unnest(p.polroles) as role where role = 0 \
                        or pg_has_role(role, 'usage')) group by t.oid";

/// The table of a Postgres sink.
#[derive(Clone)]
pub struct InboxSource {
    database: Database,
    poll: Duration,
}

impl InboxSource {
    /// In this database, looked at so often while nothing is new.
    #[must_use]
    pub const fn new(database: Database, poll: Duration) -> Self {
        Self { database, poll }
    }

    pub(super) async fn connect(&self, name: &str, limits: Limits) -> Result<InboxFeed, SinkError> {
        let connection = self.database.connect("edge-outbox hub inbox").await?;
        let schema = self.database.schema().map_or_else(String::new, |schema| {
            format!("\"{}\".", schema.replace('"', "\"\""))
        });
        let feed = InboxFeed {
            connection,
            poll: self.poll,
            limits,
            origin: name.into(),
            list: format!("{schema}edge_outbox_inbox"),
            events: format!("{schema}device_events"),
            in_hand: Vec::new(),
            is_open: false,
        };
        feed.look().await.map_err(|error| {
            SinkError::from(error).with_hint(
                "run `edge-outbox config sql --hub-inbox | psql …` as the owner of `device_events`, and \
                 grant what it says; `url` and `schema` say where",
            )
        })?;
        feed.see_all().await?;
        Ok(feed)
    }
}

/// A connection to a sink's database.
pub(in crate::hub) struct InboxFeed {
    connection: Connection,
    poll: Duration,
    limits: Limits,
    origin: Arc<str>,
    /// The tables' names.
    list: String,
    events: String,
    /// The places in the list of what was given.
    in_hand: Vec<i64>,
    /// Whether a transaction may be open that was not ended.
    is_open: bool,
}

impl InboxFeed {
    async fn look(&self) -> Result<(), HubError> {
        let client = &self.connection.client;
        let ready = client.batch_execute(SESSION).await;
        ready.tried("setting up the session")?;
        let question = format!("select 1 from {}, {} limit 0", self.list, self.events);
        let answer = client.query_typed(&question, &[]).await;
        answer.tried("looking at the inbox")?;
        Ok(())
    }

    /// Whether each row that is there is shown: what a policy hides looks as if it were removed.
    async fn see_all(&self) -> Result<(), SinkError> {
        let answer = self
            .connection
            .client
            .query_typed(SEES_ALL, &[(&self.events, Type::TEXT)])
            .await
            .tried("asking for the policies of the events")?;
        match answer.first().map_or(Ok(false), |row| get(row, 0))? {
            true => Ok(()),
            false => Err(SinkError::halt(
                "rows_hidden",
                format!(
                    "row-level security may hide rows of {} from this user",
                    self.events
                ),
            )
            .with_hint(
                "create policy all_rows_out on device_events for select to HUB using (true); with no \
                 restrictive policy beside it",
            )),
        }
    }

    pub(super) async fn next(&mut self) -> Result<Load, SinkError> {
        loop {
            let load = self.lock().await?;
            if !load.events.is_empty() {
                return Ok(load);
            }
            sleep(self.poll).await;
        }
    }

    /// What is new, as much as may be in hand.
    async fn lock(&mut self) -> Result<Load, SinkError> {
        let client = &self.connection.client;
        if self.is_open {
            // Whoever asked before gave up in the midst of it.
            client
                .batch_execute("rollback")
                .await
                .tried("letting go of the inbox")?;
        }
        self.is_open = true;
        self.in_hand.clear();
        client
            .batch_execute("begin")
            .await
            .tried("beginning a transaction")?;
        let most = i64::try_from(self.limits.messages).unwrap_or(i64::MAX);
        let question = format!(
            "select id, device, epoch, seq, digest, bytes from {} order by id limit $1 \
             for update skip locked",
            self.list
        );
        let answer = client.query_typed(&question, &[(&most, Type::INT8)]).await;
        let answer = answer.tried("looking through the inbox")?;
        let mut load = Load::default();
        let (mut device, mut epoch, mut seq, mut digest) = (vec![], vec![], vec![], vec![]);
        let mut bytes = 0;
        for row in &answer {
            let size = usize::try_from(get::<i64>(row, 5)?).unwrap_or(usize::MAX);
            let is_readable = size <= MAX_ENVELOPE_BYTES;
            bytes += ROW_BYTES + if is_readable { size } else { 0 };
            if bytes > self.limits.bytes && !self.in_hand.is_empty() {
                break;
            }
            self.in_hand.push(get(row, 0)?);
            if is_readable {
                device.push(get::<&str>(row, 1)?);
                epoch.push(get::<Uuid>(row, 2)?);
                seq.push(get::<i64>(row, 3)?);
                digest.push(get::<&[u8]>(row, 4)?);
            } else {
                // Larger than any event: not a byte of it is fetched.
                load.push_event(self.no_event(row, 1)?);
            }
        }
        if self.in_hand.is_empty() {
            client
                .batch_execute("rollback")
                .await
                .tried("letting go of the inbox")?;
            self.is_open = false;
            return Ok(Load::default());
        }
        let question = format!(
            "select {} from unnest($1, $2, $3, $4) with ordinality \
             as listed (device, epoch, seq, digest, place) \
             join {} t on t.device = listed.device and t.epoch = listed.epoch \
             and t.seq = listed.seq and t.digest = listed.digest order by listed.place",
            stored::COLUMNS,
            self.events
        );
        let answer = client
            .query_typed(
                &question,
                &[
                    (&device, Type::TEXT_ARRAY),
                    (&epoch, Type::UUID_ARRAY),
                    (&seq, Type::INT8_ARRAY),
                    (&digest, Type::BYTEA_ARRAY),
                ],
            )
            .await
            .tried("reading events")?;
        for row in &answer {
            let message = match stored::envelope(row)? {
                Some(envelope) => Message {
                    body: Bytes::from(envelope),
                    origin: self.origin.clone(),
                },
                None => self.no_event(row, 0)?,
            };
            load.push_event(message);
        }
        if load.events.len() < self.in_hand.len() {
            self.see_all().await?;
        }
        if load.events.is_empty() {
            // All that was in hand was removed from the table: nothing is left to take.
            self.remove().await?;
        }
        Ok(load)
    }

    /// A device's role may write what it likes. What it says it is, for quarantine: the key of the event
    /// is in the columns from `at` on.
    fn no_event(&self, row: &Row, at: usize) -> Result<Message, HubError> {
        let digest = get::<&[u8]>(row, at + 3)?;
        let said = json!({
            "no_event_of": self.events,
            "device": get::<&str>(row, at)?,
            "epoch": get::<Uuid>(row, at + 1)?.to_string(),
            "seq": get::<i64>(row, at + 2)?,
            "digest": read_digest(digest).map(|it| it.to_string()),
        });
        Ok(Message {
            body: Bytes::from(said.to_string()),
            origin: self.origin.clone(),
        })
    }

    pub(super) async fn acknowledge(&mut self) -> Result<(), SinkError> {
        Ok(self.remove().await?)
    }

    async fn remove(&mut self) -> Result<(), HubError> {
        let client = &self.connection.client;
        let statement = format!("delete from {} where id = any($1)", self.list);
        client
            .execute_typed(&statement, &[(&self.in_hand, Type::INT8_ARRAY)])
            .await
            .tried("removing what was taken from the inbox")?;
        client.batch_execute("commit").await.tried("committing")?;
        self.in_hand.clear();
        self.is_open = false;
        Ok(())
    }
}
