//! A session: gathers rows while a statement is on its way, and finds the row that spoils one.

use std::{collections::VecDeque, future::pending, mem, sync::Arc};

use tokio::time::{Instant, sleep_until};
use tokio_postgres::Error;

use crate::{
    envelope::DeviceName,
    seq::Seq,
    sink::{
        ErrorKind, InDoubt, Incarnation, Outcome, Parcel, Position, ReadBack, SinkError,
        postgres::{
            flight::Flight,
            link::{Link, Site},
            refusal::{self, Verdict},
            row::{Absent, Batch, Row, Texts},
            stored,
        },
    },
    status::{Guarantee, GuaranteeLevel},
};

pub(super) struct Session {
    site: Arc<Site>,
    device: DeviceName,
    texts: Arc<Texts>,
    /// `None` where it was hung up for want of anything to send.
    link: Option<Link>,
    incarnation: Incarnation,
    /// Why the server's word is not safe, as the link found.
    unmet: Vec<String>,
    /// What waits for a statement to be put into.
    gathered: VecDeque<Row>,
    /// A full statement, which goes before what is gathered.
    prepared: Option<Batch>,
    /// What comes before all else from the first statement on that was refused, in the order of the seqs;
    /// never with an answer in front. So outcomes are told in that order whenever one spoils a statement,
    /// and who counts refusals with nothing stored between them is not misled.
    parts: VecDeque<Part>,
    flight: Flight,
    ready: VecDeque<Outcome>,
    /// When something was on its way last.
    idle_since: Instant,
}

/// Rows of one statement, behind one that was refused.
enum Part {
    /// It was refused as well, or is a piece of one that was: to be sent.
    Refused(Vec<Row>),
    /// It was answered, but for what is absent: to be told once it is its turn.
    Answered(Vec<Row>, Absent),
}

impl Part {
    fn first(&self) -> Option<Seq> {
        let (Self::Refused(rows) | Self::Answered(rows, _)) = self;
        rows.first().map(|row| row.parcel.seq)
    }
}

impl Session {
    /// # Errors
    /// Nothing can be delivered as things are.
    pub(super) async fn open(site: &Arc<Site>, device: &DeviceName) -> Result<Self, SinkError> {
        let mut link = Link::dial(site, device).await?;
        Ok(Self {
            texts: Texts::new(&site.tables).into(),
            flight: Flight::new(site.options.ack_timeout),
            site: site.clone(),
            device: device.clone(),
            incarnation: link.incarnation,
            unmet: mem::take(&mut link.unmet),
            link: Some(link),
            gathered: VecDeque::new(),
            prepared: None,
            parts: VecDeque::new(),
            ready: VecDeque::new(),
            idle_since: Instant::now(),
        })
    }

    /// The key makes every event unique, so there are no conditions but the server's own word.
    pub(super) fn guarantee(&self) -> Guarantee {
        Guarantee {
            level: match self.unmet.is_empty() {
                true => GuaranteeLevel::ExactlyOnce,
                false => GuaranteeLevel::AtLeastOnce,
            },
            unmet: self.unmet.clone(),
        }
    }

    pub(super) const fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    pub(super) fn max_in_flight(&self) -> usize {
        self.site.options.max_in_flight
    }

    pub(super) async fn read_back(&mut self, doubt: &InDoubt) -> Result<ReadBack, SinkError> {
        let link = self.linked().await?;
        let client = link.client().clone();
        stored::read_back(&client, &self.site, &self.device, doubt).await
    }

    pub(super) async fn send(&mut self, parcel: Parcel) -> Result<(), SinkError> {
        self.linked().await?;
        let seq = parcel.seq;
        match Row::new(parcel) {
            Ok(row) => self.gathered.push_back(row),
            Err(error) if error.kind == ErrorKind::Reject => {
                self.ready.push_back(Outcome::Refused { seq, error });
            }
            Err(error) => return Err(error),
        }
        if self.is_full() {
            self.launch_due().await;
        }
        Ok(())
    }

    /// Everything in here is kept in the session before it is waited for, so a call that is
    /// dropped loses nothing.
    pub(super) async fn next(&mut self) -> Outcome {
        loop {
            if let Some(outcome) = self.ready.pop_front() {
                return outcome;
            }
            self.launch_due().await;
            let patience = self.flight.deadline();
            let idle_until = self.idle_until();
            let Some(link) = &mut self.link else {
                return pending().await;
            };
            tokio::select! {
                biased;
                answered = self.flight.answer() => {
                    let Some((rows, answer)) = answered else { continue };
                    self.idle_since = Instant::now();
                    match answer {
                        Ok(absent) => self.put_in_turn(Part::Answered(rows, absent)),
                        Err(error) if error.is_closed() => {
                            return Outcome::Lost(link.ended(&self.site).await);
                        }
                        Err(error) => self.refused(rows, &error),
                    }
                    // The server need not wait until all outcomes are told.
                    self.launch_due().await;
                }
                // What was answered is told first.
                error = link.ended(&self.site), if self.flight.len() == 0 => {
                    return Outcome::Lost(error);
                }
                () = until(patience) => return Outcome::Lost(self.unanswered()),
                () = until(idle_until) => self.hang_up(),
            }
        }
    }

    /// The connection, made again where it was hung up.
    async fn linked(&mut self) -> Result<&mut Link, SinkError> {
        let link = match self.link.take() {
            Some(link) => link,
            None => {
                let mut link = Link::dial(&self.site, &self.device).await?;
                if link.incarnation != self.incarnation {
                    return Err(SinkError::retry(
                        "another_database",
                        format!("{} is another database than before", self.site.server),
                    ));
                }
                self.unmet = mem::take(&mut link.unmet);
                self.idle_since = Instant::now();
                link
            }
        };
        Ok(self.link.insert(link))
    }

    /// Nothing is left that could be lost with the connection.
    fn hang_up(&mut self) {
        tracing::debug!(server = %self.site.server, "nothing to send: the connection is closed");
        if let Some(link) = self.link.take() {
            link.hang_up();
        }
    }

    fn idle_until(&self) -> Option<Instant> {
        let idle = self.flight.len() == 0
            && self.prepared.is_none()
            && self.gathered.is_empty()
            && self.parts.is_empty();
        let timeout = self.site.options.idle_timeout.filter(|_| idle)?;
        self.idle_since.checked_add(timeout)
    }

    /// Sends what may leave: a full statement while there is room for one more on the way, and
    /// one that could hold more rows only where nothing is, as a single event does at once.
    async fn launch_due(&mut self) {
        let link = self.link.as_ref();
        let Some((client, pipeline)) =
            link.map(|link| (link.client().clone(), link.pipeline(&self.site)))
        else {
            return;
        };
        while self.flight.len() < pipeline {
            // One by one: which of them goes on being refused decides what is sent next.
            if !self.parts.is_empty() && self.flight.len() > 0 {
                return;
            }
            let batch = match (self.parts.pop_front(), self.prepared.take()) {
                (Some(Part::Refused(rows)), prepared) => {
                    self.prepared = prepared;
                    Batch::new(rows)
                }
                (Some(answered), prepared) => {
                    self.prepared = prepared;
                    self.put_in_turn(answered);
                    continue;
                }
                (None, Some(prepared)) => prepared,
                (None, None) if self.is_full() || self.flight.len() == 0 => {
                    Batch::new(self.take_batch())
                }
                (None, None) => return,
            };
            if batch.rows().is_empty() {
                return;
            }
            self.flight.launch(&client, &self.texts, batch).await;
        }
        if self.prepared.is_none() && self.is_full() {
            self.prepared = Some(Batch::new(self.take_batch()));
        }
    }

    /// Whether what is gathered fills a statement.
    fn is_full(&self) -> bool {
        self.gathered.len() >= self.site.options.batch
    }

    /// The next rows, in the order of their key.
    fn take_batch(&mut self) -> Vec<Row> {
        let room = self.flight.room();
        let mut bytes = 0;
        let device = self.gathered.front().map(|row| row.device().clone());
        let fitting = self.gathered.iter().take(self.site.options.batch);
        // A role may be allowed the rows of one device alone, and the name of this one may change.
        let fitting = fitting.take_while(|row| Some(row.device()) == device.as_ref());
        let count = fitting
            .take_while(|row| {
                let first = bytes == 0;
                bytes += row.bytes();
                first || bytes <= room
            })
            .count();
        let mut rows: Vec<Row> = self.gathered.drain(..count).collect();
        rows.sort_by_key(Row::place);
        rows
    }

    /// What the server has is stored. What it left out without a word is not, whatever it says:
    /// the session ends with it, for a set-up that throws events away has to be mended.
    fn stored(&mut self, rows: &[Row], absent: &Absent) {
        let is_there = |(place, row)| (!absent.contains(&place)).then_some(row);
        let there = rows.iter().enumerate().filter_map(is_there);
        self.ready.extend(there.map(|row: &Row| Outcome::Stored {
            seq: row.parcel.seq,
            position: Position::default(),
        }));
        if let Some(first) = absent.iter().min().and_then(|&place| rows.get(place)) {
            let message = format!(
                "storing {} events at {}: the server reports no error, and has left out {} of \
                 them, the first one being event {}",
                rows.len(),
                self.site.server,
                absent.len(),
                first.parcel.seq
            );
            let error = self.site.tables.left_out(message);
            self.ready.push_back(Outcome::Lost(error));
        }
    }

    fn refused(&mut self, rows: Vec<Row>, error: &Error) {
        let tried = match rows.as_slice() {
            [row] => format!("storing event {} at {}", row.parcel.seq, self.site.server),
            rows => format!("storing {} events at {}", rows.len(), self.site.server),
        };
        match refusal::of_statement(&tried, error, &self.site.tables) {
            Verdict::Lost(error) => self.ready.push_back(Outcome::Lost(error)),
            Verdict::Statement(error) => self.refuse(&rows, &error),
            Verdict::Row(error) => self.divide(rows, &error),
        }
    }

    /// A row spoiled its statement. Both halves are tried again, until it stands alone; then
    /// without its `jsonb`, where the server may know a limit that we do not.
    fn divide(&mut self, mut rows: Vec<Row>, error: &SinkError) {
        if rows.len() > 1 {
            let behind = rows.split_off(rows.len() / 2);
            self.put_in_turn(Part::Refused(rows));
            self.put_in_turn(Part::Refused(behind));
        } else if rows.iter_mut().any(Row::give_up_json) || !self.is_next(&rows) {
            // Where it is not its turn it is refused again then.
            self.put_in_turn(Part::Refused(rows));
        } else {
            self.refuse(&rows, error);
        }
    }

    /// Whether nothing comes before these rows.
    fn is_next(&self, rows: &[Row]) -> bool {
        let first = rows.first().map(|row| row.parcel.seq);
        self.parts.front().is_none_or(|part| first < part.first())
    }

    /// Takes a part in at its place, and tells the answers in front.
    fn put_in_turn(&mut self, part: Part) {
        let place = self.parts.partition_point(|it| it.first() < part.first());
        self.parts.insert(place, part);
        while let Some(part) = self.parts.pop_front() {
            match part {
                Part::Answered(rows, absent) => self.stored(&rows, &absent),
                refused @ Part::Refused(_) => {
                    self.parts.push_front(refused);
                    return;
                }
            }
        }
    }

    fn refuse(&mut self, rows: &[Row], error: &SinkError) {
        self.ready.extend(rows.iter().map(|row| Outcome::Refused {
            seq: row.parcel.seq,
            error: error.clone(),
        }));
    }

    /// A server that still works on the statement may yet store it. That does no harm: sent
    /// again, its rows are found by their key.
    fn unanswered(&self) -> SinkError {
        let (events, patience) = (self.flight.events(), self.site.options.ack_timeout);
        let server = &self.site.server;
        SinkError::retry(
            "no_answer",
            format!("{server} left {events} events unanswered for {patience:?}"),
        )
    }
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => pending().await,
    }
}
