//! A row as an event.

use uuid::Uuid;

use crate::{
    clock::Timestamp,
    event::{Event, EventError},
};

/// A row as it was read. What it lacks is `None`.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) id: Uuid,
    pub(super) aggregate_id: Option<Uuid>,
    pub(super) event_type: Option<String>,
    pub(super) payload: Option<String>,
    /// In microseconds since 1970.
    pub(super) occurred_at: Option<i64>,
    /// Whether it is at no time that an event can have.
    pub(super) is_never: bool,
    pub(super) version: Option<i64>,
}

impl Row {
    /// The event, or why it can never be one. What the row says is not quoted: it may be personal.
    pub(super) fn event(self) -> Result<Event, String> {
        let aggregate_id = self.aggregate_id.ok_or("it has no aggregate")?;
        let event_type = self.event_type.ok_or("it has no type")?;
        let payload = self.payload.ok_or("it has no payload")?;
        if self.is_never {
            return Err("it has no time that could be sent".into());
        }
        let mut event = Event::builder(event_type, aggregate_id)
            .id(self.id)
            .payload(payload);
        if let Some(at) = self.occurred_at {
            event = event.occurred_at(Timestamp::from_micros(at).map_err(|it| it.to_string())?);
        }
        if let Some(version) = self.version {
            let version = u16::try_from(version);
            event = event.version(version.map_err(|_| "its version is not between 1 and 65535")?);
        }
        event.build().map_err(|error| said(&error))
    }
}

fn said(error: &EventError) -> String {
    format!("{}: {error}", error.field())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> Row {
        Row {
            id: Uuid::from_u128(7),
            aggregate_id: Some(Uuid::from_u128(8)),
            event_type: Some("lesson.published.v2".into()),
            payload: Some(r#"{"title": "Tides"}"#.into()),
            occurred_at: Some(1_700_000_000_123_456),
            is_never: false,
            version: Some(2),
        }
    }

    #[test]
    fn a_row_is_the_event_that_it_says() {
        let wanted = Event::builder("lesson.published.v2", Uuid::from_u128(8))
            .id(Uuid::from_u128(7))
            .occurred_at("2023-11-14T22:13:20.123456Z".parse().unwrap())
            .payload(r#"{"title": "Tides"}"#)
            .build()
            .unwrap();
        assert_eq!(row().event(), Ok(wanted.clone()));
        let version = None;
        assert_eq!(Row { version, ..row() }.event(), Ok(wanted));
    }

    #[test]
    fn what_can_never_be_an_event_is_refused_with_its_reason() {
        let refused = |change: fn(&mut Row)| {
            let mut row = row();
            change(&mut row);
            row.event().unwrap_err()
        };
        for (change, said) in [
            (
                (|row| row.id = Uuid::nil()) as fn(&mut Row),
                "id: the nil id",
            ),
            (|row| row.aggregate_id = None, "it has no aggregate"),
            (|row| row.event_type = None, "it has no type"),
            (|row| row.payload = None, "it has no payload"),
            (|row| row.is_never = true, "it has no time"),
            (|row| row.version = Some(70_000), "its version"),
            (|row| row.version = Some(3), "event_version"),
            (
                |row| row.event_type = Some("lesson.>".into()),
                "event_type: ",
            ),
            (
                |row| row.event_type = Some("outbox.mine.v1".into()),
                "event_type: ",
            ),
            (|row| row.occurred_at = Some(i64::MAX), "9998"),
        ] {
            let found = refused(change);
            assert!(found.contains(said), "{found:?} for {said:?}");
        }
    }
}
