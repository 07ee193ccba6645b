//! One source, and a connection of its own to the database: takes what comes, acknowledges what is
//! stored, and tells devices what is safe.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{
    Chains, Database, Gauges, Intake, Options, Taken, Touched,
    settle::Chain,
    source::{Feed, Limits, Load, SealedReceipt, SourceSpec},
    trouble::Trouble,
};
use crate::{seq::Seq, signing::DeviceKey, sink::SinkError};

/// A device is told of one chain at most so often.
const TOLD_EVERY: Duration = Duration::from_secs(1);
/// Receipts that are made at a time.
const RECEIPTS_AT_ONCE: usize = 256;
/// How long the database may take for what is asked of it at a time, beyond what each statement may.
const TAKE_LIMIT: Duration = Duration::from_secs(300);

/// What all desks of a hub have in common.
pub(super) struct Office {
    pub(super) database: Database,
    pub(super) options: Options,
    pub(super) limits: Limits,
    /// What signs receipts; without it, devices are told nothing.
    pub(super) key: Option<DeviceKey>,
    pub(super) gauges: Arc<Gauges>,
    /// What one desk has taken of what another one's source had brought: that one tells the devices.
    pub(super) elsewhere: Elsewhere,
}

/// Chains that wait for the desk of the source that they came by.
#[derive(Default)]
pub(super) struct Elsewhere {
    chains: Mutex<BTreeMap<Arc<str>, Chains>>,
    called: Notify,
}

impl Elsewhere {
    /// Leaves chains for the desks of their sources. Those of a source that this hub does not have
    /// are told of by whoever has it, once their devices ask.
    pub(super) fn leave(&self, office: &Office, events: BTreeMap<Arc<str>, Chains>) {
        let known = office.gauges.sources();
        let known = |origin: &str| office.key.is_some() && known.contains_key(origin);
        {
            let mut all = self.lock();
            for (origin, chains) in events {
                if known(&origin) {
                    all.entry(origin).or_default().extend(chains);
                }
            }
        }
        self.called.notify_waiters();
    }

    fn fetch(&self, origin: &str) -> Chains {
        self.lock().remove(origin).unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Chains>> {
        self.chains.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Office {
    /// A connection to the database that is ready to take messages.
    pub(super) async fn intake(&self) -> Result<Intake, SinkError> {
        Intake::connect(&self.database, self.options.clone()).await
    }
}

/// What is done for one source.
pub(super) struct Desk {
    office: Arc<Office>,
    spec: SourceSpec,
    stopping: watch::Receiver<bool>,
    intake: Option<Intake>,
    /// What is in the way of the source, and of the database.
    source: Trouble,
    database: Trouble,
    due: Due,
}

/// Nothing more is done.
struct Stopped;

impl Desk {
    pub(super) fn new(
        office: Arc<Office>,
        spec: SourceSpec,
        stopping: watch::Receiver<bool>,
    ) -> Self {
        Self {
            source: Trouble::with(format!("source {}", spec.name)),
            database: Trouble::with(format!("the database, for source {}", spec.name)),
            office,
            spec,
            stopping,
            intake: None,
            due: Due::default(),
        }
    }

    /// Works until it is stopped; then what is in hand is still stored and acknowledged.
    pub(super) async fn run(mut self) {
        while self.session().await.is_ok() {}
        self.set_connected(false);
    }

    /// One connection to the source, from its beginning to its end.
    async fn session(&mut self) -> Result<(), Stopped> {
        // Nothing is asked for that could not be stored.
        self.ready().await?;
        let tells = self.office.key.is_some();
        let connect = self
            .spec
            .source
            .connect(&self.spec.name, self.office.limits, tells);
        let connected = tokio::select! {
            connected = connect => connected,
            () = stopped(&mut self.stopping) => return Err(Stopped),
        };
        let ended = match connected {
            Ok(mut feed) => {
                self.source.ends();
                self.set_connected(true);
                match self.work(&mut feed).await {
                    Ok(error) => error,
                    Err(Stopped) => {
                        feed.close().await;
                        return Err(Stopped);
                    }
                }
            }
            Err(error) => error,
        };
        self.set_connected(false);
        let wait = self.source.begins(&ended);
        self.pause(wait).await
    }

    /// Takes one load after the other; gives why the source is lost.
    async fn work(&mut self, feed: &mut Feed) -> Result<SinkError, Stopped> {
        let office = self.office.clone();
        loop {
            // Made before what is there is fetched, so that nothing is left between the two.
            let called = office.elsewhere.called.notified();
            let left = office.elsewhere.fetch(&self.spec.name);
            if feed.can_tell() {
                self.due.add(left);
            }
            let due = self.due.first().filter(|_| feed.can_tell());
            let load = tokio::select! {
                biased;
                () = stopped(&mut self.stopping) => {
                    // What was stored last is worth a word.
                    self.due.hurry();
                    drop(self.tell(feed).await);
                    return Err(Stopped);
                }
                () = until(due) => {
                    // Where the database failed at receipts before, nothing else asks for it.
                    self.ready().await?;
                    if let Some(error) = self.tell(feed).await? {
                        return Ok(error);
                    }
                    continue;
                }
                () = called => continue,
                load = feed.next() => match load {
                    Ok(load) => load,
                    Err(error) => return Ok(error),
                },
            };
            let taken = self.take(&load, feed.can_tell()).await?;
            if let Err(error) = feed.acknowledge().await {
                return Ok(error);
            }
            if let Some(gauges) = self.office.gauges.sources().get(&self.spec.name) {
                gauges.count(&taken, load.tails.len());
            }
            tracing::trace!(source = self.spec.name, ?taken, "a batch is stored");
        }
    }

    /// Has a load stored, however long that takes; `tells`: its devices can be told of it.
    async fn take(&mut self, load: &Load, tells: bool) -> Result<Taken, Stopped> {
        loop {
            self.ready().await?;
            let Some(intake) = &mut self.intake else {
                continue;
            };
            let taken = timeout(TAKE_LIMIT, async {
                let mut taken = Taken::default();
                if !load.events.is_empty() {
                    taken = intake.take(load.events.clone()).await?;
                }
                if !load.tails.is_empty() {
                    // What is wrong with tails is not kept, nor counted among events.
                    intake.take_tails(&load.tails).await?;
                }
                Ok(taken)
            });
            match taken.await.unwrap_or_else(|_| Err(too_slow())) {
                Ok(taken) => {
                    let Touched { mut events, tails } = intake.touched();
                    let own = events.remove(self.spec.name.as_str());
                    if tells && self.office.key.is_some() {
                        self.due.add(own.unwrap_or_default());
                        self.due.add(tails);
                    }
                    if !events.is_empty() {
                        self.office.elsewhere.leave(&self.office, events);
                    }
                    return Ok(taken);
                }
                Err(error) => self.let_go(&error).await?,
            }
        }
    }

    /// Sends the receipts that are due; gives why the source is lost, where it is.
    async fn tell(&mut self, feed: &mut Feed) -> Result<Option<SinkError>, Stopped> {
        let (Some(intake), true) = (&mut self.intake, feed.can_tell()) else {
            return Ok(None);
        };
        let chains = self.due.take();
        if chains.is_empty() {
            return Ok(None);
        }
        let made = match timeout(TAKE_LIMIT, intake.receipts(&chains)).await {
            Ok(made) => made.map_err(SinkError::from),
            Err(_) => Err(too_slow()),
        };
        let receipts = match made {
            Ok(receipts) => receipts,
            Err(error) => {
                self.due.add(chains);
                self.let_go(&error).await?;
                return Ok(None);
            }
        };
        let office = self.office.clone();
        let sealed = receipts.into_iter().filter_map(|receipt| {
            let message = receipt.sign(office.key.as_ref()?);
            let message = message.inspect_err(|error| {
                tracing::error!(device = %receipt.device, %error, "a receipt cannot be made");
            });
            let message = message.ok()?;
            Some(SealedReceipt { receipt, message })
        });
        let sealed: Vec<SealedReceipt> = sealed.collect();
        let places = sealed.iter().map(|it| &it.receipt);
        let places: Vec<Chain> = places
            .map(|it| (it.device.as_str().to_owned(), *it.epoch.as_uuid()))
            .collect();
        let count = match feed.tell(sealed).await {
            Ok(count) => count,
            Err(error) => {
                // They may not have arrived.
                self.due.add(chains);
                return Ok(Some(error));
            }
        };
        // What there was no room for is made anew when it is due again.
        for chain in places.into_iter().skip(count) {
            let asked = chains.get(&chain).copied().flatten();
            self.due.add(Chains::from([(chain, asked)]));
        }
        if let Some(gauges) = office.gauges.sources().get(&self.spec.name) {
            gauges.count_receipts(count);
        }
        Ok(None)
    }

    /// Waits until there is a connection to the database.
    async fn ready(&mut self) -> Result<(), Stopped> {
        while self.intake.is_none() {
            let office = self.office.clone();
            let opened = tokio::select! {
                opened = office.intake() => opened,
                () = stopped(&mut self.stopping) => return Err(Stopped),
            };
            match opened {
                Ok(intake) => {
                    self.intake = Some(intake);
                    self.database.ends();
                    self.set_database(true);
                }
                Err(error) => self.let_go(&error).await?,
            }
        }
        Ok(())
    }

    /// Gives the connection to the database up, and waits before there may be another.
    async fn let_go(&mut self, error: &SinkError) -> Result<(), Stopped> {
        self.intake = None;
        self.set_database(false);
        let wait = self.database.begins(error);
        self.pause(wait).await
    }

    async fn pause(&mut self, wait: Duration) -> Result<(), Stopped> {
        tokio::select! {
            () = sleep(wait) => Ok(()),
            () = stopped(&mut self.stopping) => Err(Stopped),
        }
    }

    fn set_connected(&self, connected: bool) {
        if let Some(gauges) = self.office.gauges.sources().get(&self.spec.name) {
            gauges.set_connected(connected);
        }
    }

    fn set_database(&self, works: bool) {
        if let Some(gauges) = self.office.gauges.sources().get(&self.spec.name) {
            gauges.set_database(works);
        }
    }
}

/// The word to stop. An error means that whoever could say it is gone.
pub(super) async fn stopped(stopping: &mut watch::Receiver<bool>) {
    drop(stopping.wait_for(|stop| *stop).await);
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

fn too_slow() -> SinkError {
    let message = format!("the database has not answered for {TAKE_LIMIT:?}");
    SinkError::retry("no_answer", message)
}

/// Chains of which devices are to be told, each at most once in [`TOLD_EVERY`].
#[derive(Default)]
struct Due {
    due: BTreeMap<Chain, (Instant, Option<Seq>)>,
    /// When each was told of last; no longer than that matters.
    told: BTreeMap<Chain, Instant>,
}

impl Due {
    fn add(&mut self, chains: Chains) {
        let now = Instant::now();
        for (chain, seq) in chains {
            let at = self.told.get(&chain).map_or(now, |told| *told + TOLD_EVERY);
            let due = self.due.entry(chain).or_insert((at, seq));
            due.1 = due.1.max(seq);
        }
    }

    /// When the next is due.
    fn first(&self) -> Option<Instant> {
        self.due.values().map(|(at, _)| *at).min()
    }

    /// All of it is due now.
    fn hurry(&mut self) {
        let now = Instant::now();
        for (at, _) in self.due.values_mut() {
            *at = now;
        }
    }

    /// What is due, no more than is made at a time.
    fn take(&mut self) -> Chains {
        let now = Instant::now();
        self.told.retain(|_, told| *told + TOLD_EVERY > now);
        let due = self.due.extract_if(.., |_, (at, _)| *at <= now);
        let taken: Chains = due
            .take(RECEIPTS_AT_ONCE)
            .map(|(chain, (_, seq))| (chain, seq))
            .collect();
        self.told
            .extend(taken.keys().map(|chain| (chain.clone(), now)));
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_chain_is_due_at_once_and_then_once_a_second_however_often_it_is_touched() {
        let chain = |device: &str| (device.to_owned(), uuid::Uuid::nil());
        let touched = |seq| BTreeMap::from([(chain("kiosk-1"), seq)]);
        let mut due = Due::default();
        assert_eq!(due.first(), None);
        due.add(touched(None));
        due.add(touched(Some(Seq::new(7))));
        due.add(touched(None));
        assert_eq!(due.take(), touched(Some(Seq::new(7))));
        due.add(touched(None));
        assert_eq!(due.take(), BTreeMap::new(), "it was told just now");
        assert_eq!(due.first(), Some(Instant::now() + TOLD_EVERY));
        due.add(BTreeMap::from([(chain("kiosk-2"), None)]));
        assert_eq!(due.take(), BTreeMap::from([(chain("kiosk-2"), None)]));
        tokio::time::advance(TOLD_EVERY).await;
        assert_eq!(due.take(), touched(None));
        assert_eq!(due.first(), None);
        assert_eq!(due.told.len(), 1);
        due.add(touched(None));
        due.hurry();
        assert_eq!(due.take(), touched(None));
    }
}
