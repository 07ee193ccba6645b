//! The demo: a classroom that loses its network, on one machine and with nothing installed.
//!
//! What is real: each kiosk is a process of its own with a journal of its own, and runs this
//! library with the MQTT sink. Its events go over TCP through a [`line`] that can fail, to an MQTT
//! [`broker`], where a [`listener`] that shares no code with the sink takes them down. Power is
//! lost by SIGKILL: the page cache of the machine survives that, so it is a crash of the process
//! and no more. In the end the [`books`] are balanced: what the kiosks were told is durable
//! against what came.
//!
//! What is not: everything is on the loopback interface, and pupils are drawn from a seed.
//!
//! Nothing here prints; whoever plays it is told the [`News`].

mod books;
mod broker;
mod classroom;
mod kiosk;
mod lesson;
mod line;
mod listener;
mod scratch;
mod seat;

use std::{io, path::PathBuf, time::Duration};

pub(crate) use self::{
    books::Balance,
    classroom::play,
    kiosk::{KioskError, Task, run as run_kiosk},
    seat::COMMAND as KIOSK_COMMAND,
};
use crate::{envelope::DeviceName, outbox::OpenError};

/// The most kiosks: each is a process.
pub(crate) const MAX_KIOSKS: u8 = 16;
/// The most events of a kiosk: all that arrive are held in memory until the books are balanced.
pub(crate) const MAX_EVENTS: u64 = 2_000;
/// The longest time without a network.
pub(crate) const MAX_CUT: Duration = Duration::from_secs(60);

/// What is played.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    /// How many kiosks, at least one.
    pub(crate) kiosks: u8,
    /// How many events each of them takes, at least one.
    pub(crate) events: u64,
    /// How long the network is gone.
    pub(crate) cut: Duration,
    /// What pupils do, and which kiosks lose power, follows from it.
    pub(crate) seed: u64,
    /// Leaves one event that arrives out of the books, every copy of it: shows that a loss is
    /// found.
    pub(crate) lose_one: bool,
}

/// One of the three acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// The network is there.
    Online,
    /// The network is gone.
    Offline,
    /// The network is there again.
    Back,
}

/// What happens, as it happens.
pub(crate) enum News<'a> {
    /// An act begins.
    Act(Act),
    /// A kiosk was killed.
    PowerLost {
        /// Which.
        device: &'a DeviceName,
        /// Events that it was told are durable, and that have not arrived.
        pending: u64,
    },
    /// A kiosk that was killed has its journal open again.
    PowerBack {
        /// Which.
        device: &'a DeviceName,
        /// Events that its journal holds and that nobody has confirmed to it.
        held: u64,
        /// How long opening the journal took.
        took: Duration,
    },
    /// How the kiosks are doing, several times a second.
    Standings(&'a [Standing<'a>]),
}

/// How a kiosk is doing.
pub(crate) struct Standing<'a> {
    /// Which.
    pub(crate) device: &'a DeviceName,
    /// Events that it was told are durable.
    pub(crate) appended: u64,
    /// Those of them that have arrived.
    pub(crate) delivered: u64,
    /// Events that it will take in all.
    pub(crate) events: u64,
    /// What it is at.
    pub(crate) doing: Doing,
}

impl Standing<'_> {
    /// Events that are durable and have not arrived.
    pub(crate) const fn pending(&self) -> u64 {
        self.appended.saturating_sub(self.delivered)
    }
}

/// What a kiosk is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doing {
    /// Nothing: it has no power.
    NoPower,
    /// Takes events, and has no connection.
    Offline,
    /// Sends what is pending.
    Sending,
    /// Has sent everything it has.
    CaughtUp,
    /// Has taken all of its events, and all of them have arrived.
    Done,
}

/// Why the demo has no end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DemoError {
    /// No directory for the journals, or it cannot be used.
    #[error("using {} for the journals failed: {source}", .path.display())]
    Scratch { path: PathBuf, source: io::Error },
    /// A kiosk's journal could not be made.
    #[error("setting up {device} failed: {source}")]
    SetUp {
        device: DeviceName,
        source: OpenError,
    },
    /// The broker in the process did not start.
    #[error("starting the MQTT broker failed: {0}")]
    Broker(String),
    /// The school's side cannot listen.
    #[error("listening at the MQTT broker failed: {0}")]
    Listener(String),
    /// No port for the line.
    #[error("opening a port for the kiosks failed: {0}")]
    Line(io::Error),
    /// A kiosk's process could not be started.
    #[error("starting {device} failed: {source}")]
    Start {
        device: DeviceName,
        source: io::Error,
    },
    /// A kiosk ended by itself.
    #[error("{device} ended before its time")]
    Ended { device: DeviceName },
    /// The system has no threads, tasks or signals to give.
    #[error("starting failed: {0}")]
    System(io::Error),
    /// Whoever was told the news does not want any more.
    #[error("writing to standard output failed: {0}")]
    Told(io::Error),
    /// A signal, or Ctrl-C.
    #[error("stopped by {0} before the end")]
    Stopped(&'static str),
}
