//! What happens at a kiosk in a lesson: events of the platform, the same for the same seed.

use std::time::Duration;

use serde::Serialize;
use uuid::Uuid;

use crate::{
    clock::Timestamp,
    envelope::DeviceName,
    event::{DomainEvent, Event, EventError, LearningPulseCreated, LessonPublished, QuizSubmitted},
};

/// Pupils who share a kiosk.
const PUPILS: u64 = 4;
/// Points in a quiz.
const MAX_SCORE: u32 = 10;
const TITLES: [&str; 6] = [
    "Tides",
    "Fractions",
    "The water cycle",
    "Volcanoes",
    "Verbs in the past",
    "Shadows and light",
];

/// A lesson at one kiosk: a run of numbered events.
pub(super) struct Lesson {
    /// All ids of this lesson are made under it.
    root: Uuid,
    began: Timestamp,
    every: Duration,
}

/// An event under an id of its own, so that handing it over again is a repeat and no second event.
#[derive(Serialize)]
#[serde(transparent)]
struct Numbered<E> {
    #[serde(skip)]
    id: Uuid,
    event: E,
}

impl<E: DomainEvent> DomainEvent for Numbered<E> {
    const EVENT_TYPE: &'static str = E::EVENT_TYPE;
    const EVENT_VERSION: u16 = E::EVENT_VERSION;

    fn aggregate_id(&self) -> Uuid {
        self.event.aggregate_id()
    }

    fn event_id(&self) -> Option<Uuid> {
        Some(self.id)
    }

    fn occurred_at(&self) -> Option<Timestamp> {
        self.event.occurred_at()
    }

    fn subject_id(&self) -> Option<String> {
        self.event.subject_id()
    }
}

impl Lesson {
    /// The lesson of this device and seed: an event every so often from `began` on.
    pub(super) fn new(device: &DeviceName, seed: u64, began: Timestamp, every: Duration) -> Self {
        let root = Uuid::new_v5(&Uuid::NAMESPACE_OID, &seed.to_be_bytes());
        Self {
            root: Uuid::new_v5(&root, device.as_str().as_bytes()),
            began,
            every,
        }
    }

    /// How long after the beginning the event of this number happens.
    pub(super) fn due(&self, number: u64) -> Duration {
        self.every
            .saturating_mul(u32::try_from(number).unwrap_or(u32::MAX))
    }

    /// When the lesson began.
    pub(super) const fn began(&self) -> Timestamp {
        self.began
    }

    /// The event of this number, to the byte the same whenever it is asked for.
    ///
    /// # Errors
    /// None that a valid clock could bring about.
    pub(super) fn event(&self, number: u64) -> Result<Event, EventError> {
        let lesson_id = self.id("lesson", 0);
        let quiz_id = self.id("quiz", 0);
        let chance = self.chance(number);
        let student_id = self.id("student", chance % PUPILS);
        let at = self.at(number);
        let id = self.id("event", number);
        if number == 0 {
            let title = usize::try_from(chance).unwrap_or_default() % TITLES.len();
            let published = LessonPublished {
                lesson_id,
                course_id: self.id("course", 0),
                title: TITLES.get(title).copied().unwrap_or_default().into(),
                revision: 1,
                published_at: at,
            };
            return Event::new(&Numbered {
                id,
                event: published,
            });
        }
        if chance.is_multiple_of(3) {
            let submitted = QuizSubmitted {
                submission_id: self.id("submission", number),
                quiz_id,
                lesson_id,
                student_id,
                score: u32::try_from(chance / 16 % u64::from(MAX_SCORE + 1)).unwrap_or_default(),
                max_score: MAX_SCORE,
                submitted_at: at,
            };
            return Event::new(&Numbered {
                id,
                event: submitted,
            });
        }
        let pulse = LearningPulseCreated {
            pulse_id: self.id("pulse", number),
            lesson_id,
            student_id,
            level: u8::try_from(chance / 16 % 101).unwrap_or_default(),
            created_at: at,
        };
        Event::new(&Numbered { id, event: pulse })
    }

    fn id(&self, what: &str, number: u64) -> Uuid {
        Uuid::new_v5(&self.root, format!("{what} {number}").as_bytes())
    }

    fn chance(&self, number: u64) -> u64 {
        self.id("chance", number).as_u64_pair().1 >> 8
    }

    fn at(&self, number: u64) -> Timestamp {
        let after = i64::try_from(self.due(number).as_micros()).unwrap_or(i64::MAX);
        Timestamp::from_micros(self.began.as_micros().saturating_add(after)).unwrap_or(self.began)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn an_event_is_the_same_whenever_it_is_asked_for() {
        let began = Timestamp::from_micros(1_772_352_000_000_000).unwrap();
        let device = "kiosk-1".parse().unwrap();
        let lesson = |seed| Lesson::new(&device, seed, began, Duration::from_millis(20));
        let (mut types, mut ids) = (BTreeSet::new(), BTreeSet::new());
        for number in 0..50 {
            let event = lesson(7).event(number).unwrap();
            assert_eq!(event, lesson(7).event(number).unwrap());
            assert_ne!(event, lesson(8).event(number).unwrap());
            assert!(ids.insert(event.id));
            types.insert(event.event_type().as_str().to_owned());
        }
        assert_eq!(types.len(), 3, "{types:?}");
    }
}
