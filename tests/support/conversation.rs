//! Talking to a sink at the level of its adapter.

use std::time::Duration;

#[cfg(feature = "nats")]
use edge_outbox::{
    secret::Secret,
    sink::{
        Sink,
        nats::{NatsOptions, NatsSink},
    },
};
use edge_outbox::{
    seq::Seq,
    sink::{Outcome, Parcel, Position, Session, SinkError},
};
use tokio::time::timeout;

#[cfg(feature = "nats")]
use super::{device::Device, nats_server::NatsServer};

/// How long any answer may take before a test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Options for a server that is open to everybody.
#[cfg(feature = "nats")]
pub(crate) fn options(server: &NatsServer) -> NatsOptions {
    options_for(&server.url())
}

/// Options for whatever is at a URL.
#[cfg(feature = "nats")]
pub(crate) fn options_for(url: &str) -> NatsOptions {
    NatsOptions {
        servers: vec![Secret::new(url)],
        ..NatsOptions::default()
    }
}

/// One attempt to connect.
#[cfg(feature = "nats")]
pub(crate) async fn connect(options: NatsOptions, device: &Device) -> Result<Session, SinkError> {
    Sink::Nats(NatsSink::new(options).unwrap())
        .connect(&device.name)
        .await
}

/// An attempt that has to fail.
#[cfg(feature = "nats")]
pub(crate) async fn refusal(options: NatsOptions, device: &Device) -> SinkError {
    connect(options, device)
        .await
        .err()
        .expect("no connection comes about")
}

/// Sends these, in this order.
pub(crate) async fn send(session: &mut Session, parcels: &[Parcel]) {
    for parcel in parcels {
        session.send(parcel.clone()).await.unwrap();
    }
}

/// The next outcome, within reason.
pub(crate) async fn next(session: &mut Session) -> Outcome {
    timeout(PATIENCE, session.next())
        .await
        .expect("an outcome in time")
}

/// The next outcome, which has to be a stored event.
pub(crate) async fn stored(session: &mut Session) -> (Seq, Position) {
    match next(session).await {
        Outcome::Stored { seq, position } => (seq, position),
        other => panic!("{other:?}"),
    }
}

/// The next outcome, which has to be a refused event.
pub(crate) async fn refused(session: &mut Session) -> (Seq, SinkError) {
    match next(session).await {
        Outcome::Refused { seq, error } => (seq, error),
        other => panic!("{other:?}"),
    }
}

/// The next outcome, which has to be the loss of the session.
pub(crate) async fn lost(session: &mut Session) -> SinkError {
    match next(session).await {
        Outcome::Lost(error) => error,
        other => panic!("{other:?}"),
    }
}

/// Sends these and waits until each is stored; gives their positions.
pub(crate) async fn deliver(session: &mut Session, parcels: &[Parcel]) -> Vec<Position> {
    send(session, parcels).await;
    let mut positions = Vec::new();
    for parcel in parcels {
        let (seq, position) = stored(session).await;
        assert_eq!(seq, parcel.seq);
        positions.push(position);
    }
    positions
}
