//! The play: a classroom of kiosks, in three acts.

use std::{io, time::Duration};

use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};

use super::{
    Act, Balance, DemoError, News, Options,
    books::Books,
    broker::Broker,
    kiosk::{Report, Task},
    line::{Carries, Line},
    listener::Listener,
    scratch::Scratch,
    seat::{Said, Seat},
};
use crate::{clock::Timestamp, envelope::DeviceName};

/// How long the network is there at first.
const ONLINE: Duration = Duration::from_secs(3);
/// How long pupils go on once it is back.
const AFTER: Duration = Duration::from_secs(2);
/// How long kiosks still reach the broker and hear no answer, before the network is gone. What
/// they send then arrives, and they cannot know: so there is something to repeat.
const NO_ANSWER: Duration = Duration::from_millis(300);
/// How long a kiosk is without power.
const POWER_OFF: Duration = Duration::from_secs(1);
/// How long everything may take to arrive once the network is back.
const ARRIVE_LIMIT: Duration = Duration::from_secs(60);
/// How long nothing may come before what is missing counts as lost, when all kiosks are done.
const QUIET: Duration = Duration::from_secs(1);

/// What an envelope of the lesson takes on the wire, roughly, in bytes.
const ENVELOPE_BYTES: u64 = 1_100;
/// How much faster the line is than pupils are: a backlog drains while they go on.
const LINE_FACTOR: u64 = 3;
/// The slowest line: 1 Mbit/s from each kiosk.
const MIN_LINE_BYTES_PER_SECOND: u64 = 125_000;

/// How often the standings are told.
const TELL_EVERY: Duration = Duration::from_millis(100);
/// Reports that wait to be noted; a kiosk that has more to say waits.
const QUEUE_REPORTS: usize = 1_024;

/// How it ended.
pub(crate) struct Ending {
    /// Promised and arrived, of each kiosk.
    pub(crate) balances: Vec<(DeviceName, Balance)>,
    /// What is wrong besides.
    pub(crate) complaints: Vec<String>,
}

/// Whoever is told what happens. An error ends the play.
pub(crate) trait Audience: FnMut(News<'_>) -> io::Result<()> {}

impl<F: FnMut(News<'_>) -> io::Result<()>> Audience for F {}

/// Plays it, and leaves neither process nor file behind, however it ends. `stop` resolves to the
/// reason for an early end.
///
/// # Errors
/// As [`DemoError`] says. That something was lost is no error: the [`Ending`] says it.
pub(crate) async fn play(
    options: Options,
    tell: impl Audience,
    stop: impl Future<Output = &'static str>,
) -> Result<Ending, DemoError> {
    let scratch = Scratch::make()?;
    let mut classroom = Classroom::set_up(options, &scratch, tell).await?;
    let played = tokio::select! {
        played = classroom.play() => played,
        why = stop => Err(DemoError::Stopped(why)),
    };
    // The kiosks first: what they still write must not come in the way of removing it.
    classroom.clear().await;
    played
}

struct Classroom<T> {
    options: Options,
    broker: Broker,
    line: Line,
    listener: Listener,
    seats: Vec<Seat>,
    said: mpsc::Sender<Said>,
    reports: mpsc::Receiver<Said>,
    tell: T,
}

impl<T: Audience> Classroom<T> {
    async fn set_up(options: Options, scratch: &Scratch, tell: T) -> Result<Self, DemoError> {
        let lesson = ONLINE + options.cut + AFTER;
        let every = lesson / u32::try_from(options.events).unwrap_or(u32::MAX).max(1);
        let bytes = LINE_FACTOR * ENVELOPE_BYTES * options.events / lesson.as_secs().max(1);
        let events = u64::from(options.kiosks) * options.events;
        let broker = Broker::start(usize::try_from(events).unwrap_or(usize::MAX)).await?;
        let line = Line::open(broker.address(), bytes.max(MIN_LINE_BYTES_PER_SECOND)).await?;

        let mut books = Books::new(options.lose_one);
        let mut seats = Vec::new();
        for index in 0..usize::from(options.kiosks) {
            let Ok(device) = format!("kiosk-{}", index + 1).parse::<DeviceName>() else {
                continue;
            };
            let task = Task {
                dir: scratch.path().join(device.as_str()),
                device: device.clone(),
                port: line.port(),
                seed: options.seed,
                began: Timestamp::now(),
                every,
                first: 0,
                events: options.events,
            };
            let (seat, key) = Seat::set_up(index, task).await?;
            books.enrol(device, key);
            seats.push(seat);
        }
        let listener = Listener::subscribe(broker.address(), books).await?;
        let (said, reports) = mpsc::channel(QUEUE_REPORTS);
        Ok(Self {
            options,
            broker,
            line,
            listener,
            seats,
            said,
            reports,
            tell,
        })
    }

    async fn play(&mut self) -> Result<Ending, DemoError> {
        self.act(Act::Online)?;
        let now = Timestamp::now();
        for seat in &mut self.seats {
            seat.begin_lesson(now);
            seat.start(&self.said)?;
        }
        self.go_on(ONLINE, |_| false).await?;
        self.line.carry(Carries::NoAnswer);
        self.go_on(NO_ANSWER, |_| false).await?;

        self.line.carry(Carries::Nothing);
        self.act(Act::Offline)?;
        let back_at = Instant::now() + self.options.cut;
        let (first, second) = self.unlucky();
        self.go_on(self.options.cut / 2, |_| false).await?;
        self.lose_power(first).await?;
        self.go_on(back_at.saturating_duration_since(Instant::now()), |_| false)
            .await?;

        self.line.carry(Carries::Everything);
        self.act(Act::Back)?;
        let before = self.delivered(second);
        let is_sending = |room: &Self| room.delivered(second) > before || room.is_done();
        self.go_on(ARRIVE_LIMIT, is_sending).await?;
        self.lose_power(second).await?;
        self.go_on(ARRIVE_LIMIT, Self::is_done).await?;
        self.settle().await?;
        Ok(self.balance())
    }

    /// Goes on until it is `enough`, at most for so long.
    async fn go_on(
        &mut self,
        limit: Duration,
        enough: impl Fn(&Self) -> bool,
    ) -> Result<(), DemoError> {
        let until = Instant::now() + limit;
        let mut ticks = interval(TELL_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !enough(self) {
            tokio::select! {
                () = sleep_until(until) => break,
                Some(said) = self.reports.recv() => self.note(said)?,
                _ = ticks.tick() => self.tell_standings()?,
            }
        }
        self.tell_standings()
    }

    /// Waits for what is still between broker and listener.
    async fn settle(&mut self) -> Result<(), DemoError> {
        loop {
            let before = self.arrived();
            self.go_on(QUIET, Self::has_everything).await?;
            if self.has_everything() || self.arrived() == before {
                return Ok(());
            }
        }
    }

    fn note(&mut self, Said { seat, life, report }: Said) -> Result<(), DemoError> {
        let Some(seat) = self.seats.get_mut(seat) else {
            return Ok(());
        };
        match report {
            Some(Report::Opened { held, took }) if life > 1 => {
                let device = seat.device();
                let news = News::PowerBack { device, held, took };
                (self.tell)(news).map_err(DemoError::Told)?;
            }
            None if seat.is_alive_in(life) => {
                let device = seat.device().clone();
                return Err(DemoError::Ended { device });
            }
            _ => {}
        }
        if let Some(report) = report {
            seat.note(report);
        }
        Ok(())
    }

    /// Takes a kiosk's power away for a while, and waits until it has its journal open again.
    async fn lose_power(&mut self, index: usize) -> Result<(), DemoError> {
        let delivered = self.delivered(index);
        let Some(seat) = self.seats.get_mut(index) else {
            return Ok(());
        };
        seat.cut_power().await;
        let standing = seat.standing(delivered);
        let news = News::PowerLost {
            device: standing.device,
            pending: standing.pending(),
        };
        (self.tell)(news).map_err(DemoError::Told)?;
        self.go_on(POWER_OFF, |_| false).await?;
        if let Some(seat) = self.seats.get_mut(index) {
            seat.start(&self.said)?;
        }
        self.go_on(ARRIVE_LIMIT, Self::all_open).await
    }

    /// The kiosks that lose power: two, where there are two.
    fn unlucky(&self) -> (usize, usize) {
        let seats = self.seats.len().max(1);
        let seed = usize::try_from(self.options.seed % 0x1_0000).unwrap_or_default();
        let first = seed % seats;
        let others = (seats - 1).max(1);
        (first, (first + 1 + seed / seats % others) % seats)
    }

    fn act(&mut self, act: Act) -> Result<(), DemoError> {
        (self.tell)(News::Act(act)).map_err(DemoError::Told)
    }

    fn tell_standings(&mut self) -> Result<(), DemoError> {
        let standings: Vec<_> = {
            let books = self.listener.books();
            let standing = |seat: &'_ Seat| books.delivered(seat.device());
            let delivered: Vec<_> = self.seats.iter().map(standing).collect();
            self.seats
                .iter()
                .zip(delivered)
                .map(|(seat, delivered)| seat.standing(delivered))
                .collect()
        };
        (self.tell)(News::Standings(&standings)).map_err(DemoError::Told)
    }

    /// How many events of a kiosk have arrived.
    fn delivered(&self, index: usize) -> u64 {
        self.seats
            .get(index)
            .map_or(0, |seat| self.listener.books().delivered(seat.device()))
    }

    /// How many events of all have arrived.
    fn arrived(&self) -> u64 {
        (0..self.seats.len())
            .map(|index| self.delivered(index))
            .sum()
    }

    fn has_everything(&self) -> bool {
        self.arrived() == u64::from(self.options.kiosks) * self.options.events
    }

    fn all_open(&self) -> bool {
        self.seats.iter().all(Seat::is_open)
    }

    /// Whether no kiosk has anything left to do.
    fn is_done(&self) -> bool {
        self.seats.iter().all(Seat::is_done)
    }

    fn balance(&mut self) -> Ending {
        let mut books = self.listener.books();
        for seat in self.seats.iter().filter(|seat| !seat.is_done()) {
            books.complain(format!(
                "{} is not done after {} s",
                seat.device(),
                ARRIVE_LIMIT.as_secs()
            ));
        }
        let balance = |seat: &Seat| {
            let device = seat.device();
            (device.clone(), books.balance(device, seat.promises()))
        };
        let balances = self.seats.iter().map(balance).collect();
        Ending {
            balances,
            complaints: books.take_complaints(),
        }
    }

    /// Ends everything, kiosks first.
    async fn clear(mut self) {
        self.seats.iter_mut().for_each(Seat::tell_to_end);
        for seat in &mut self.seats {
            seat.end().await;
        }
        self.listener.close().await;
        drop(self.line);
        self.broker.stop().await;
    }
}
