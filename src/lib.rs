//! A store-and-forward outbox for devices that are often offline and lose power without warning.
//!
//! A program hands over an [`Event`]; when [`Outbox::append`] returns, the event is durable on
//! the device and signed. A [`Forwarder`](forwarder::Forwarder) brings it to the school's broker
//! once there is a network, from where it left off, and whoever receives it can prove that what
//! arrived is complete and unaltered.
//!
//! ```
//! use edge_outbox::{Event, Outbox};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let dir = dir.path();
//! let outbox = Outbox::builder(dir).open()?;
//! let lesson = "0192f0c1-2345-7000-8000-0123456789ab".parse()?;
//! let event = Event::builder("lesson.published.v1", lesson).payload(r#"{"title":"Tides"}"#).build()?;
//! let place = outbox.blocking().append(event)?;
//! println!("durable as seq {}", place.seq);
//! outbox.blocking().close();
//! # Ok(())
//! # }
//! ```
//!
//! Events together with a program's own tables, in one commit:
//!
//! ```
//! use edge_outbox::{Event, Outbox, redb::TableDefinition};
//!
//! const SCORES: TableDefinition<'_, &str, u64> = TableDefinition::new("scores");
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let dir = dir.path();
//! # type Failure = Box<dyn std::error::Error + Send + Sync>;
//! let outbox = Outbox::builder(dir).open()?;
//! # let quiz = uuid::Uuid::nil();
//! outbox
//!     .transact(move |tx| {
//!         tx.open_table(SCORES)?.insert("ada", 7)?;
//!         tx.append(Event::builder("quiz.submitted.v1", quiz).payload(r#"{"score":7}"#).build()?)?;
//!         Ok::<_, Failure>(())
//!     })
//!     .await?;
//! # outbox.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! # What it promises
//!
//! - **Durable**: an append that was acknowledged survives a crash of the process and of the
//!   power, at any instant.
//! - **Ordered**: first attempts leave in the order of their seqs. A repeat is marked as one.
//! - **Once** in a JetStream stream and in Postgres, under conditions that are checked and shown.
//! - **Authentic**: an event that was altered, reordered, injected or withheld is detected.
//! - **Bounded**: disk within the quota; memory and start-up time independent of the backlog.
//!
//! It is not a broker, not a general database, not a stream processor. `docs/design.md` says how
//! the promises are kept.

#![cfg_attr(
    not(test),
    deny(
        clippy::expect_used,
        clippy::print_stderr,
        clippy::print_stdout,
        clippy::unwrap_used
    )
)]

#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
#[cfg(feature = "cli")]
mod client;
pub mod clock;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod config;
#[cfg(feature = "cli")]
mod daemon;
#[cfg(feature = "demo")]
mod demo;
mod digest;
#[cfg(feature = "cli")]
mod doctor;
mod encoding;
pub mod envelope;
pub mod event;
#[cfg(feature = "cli")]
#[cfg_attr(
    not(all(feature = "nats", feature = "mqtt", feature = "postgres")),
    allow(dead_code, reason = "a sink that is left out is not looked at")
)]
mod finding;
pub mod forwarder;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod hardware;
pub mod history;
#[cfg(feature = "http")]
pub mod http;
#[cfg(feature = "hub")]
#[doc(hidden)]
pub mod hub;
mod identity;
pub mod ingest;
pub mod journal;
mod lasted;
pub mod ledger;
pub mod meter;
pub mod outbox;
mod percent;
pub mod receipt;
#[cfg(feature = "hub")]
#[doc(hidden)]
pub mod relay;
pub mod secret;
pub mod seq;
mod signed;
pub mod signing;
pub mod sink;
#[cfg(feature = "cli")]
mod socket_path;
pub mod status;
mod status_board;
pub mod tail;

pub use self::{
    clock::Timestamp,
    envelope::{Chain, DeviceName, Envelope, Epoch, Verifier},
    event::{
        DomainEvent, Event, EventBuilder, EventError, LearningPulseCreated, LessonPublished,
        QuizSubmitted, UserEraseRequested,
    },
    journal::redb,
    outbox::{
        AppendError, Appended, Blocking, Delivery, EventStream, Found, OpenError, Outbox,
        OutboxBuilder, ReadError, TransactError, Transaction,
    },
    seq::Seq,
    signing::{DeviceKey, PublicKey},
    status::Status,
};
