//! The events of the EduPulse platform that a classroom device makes or meets.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::DomainEvent;
use crate::clock::Timestamp;

/// A lesson can be taken from now on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LessonPublished {
    /// The lesson; the aggregate.
    pub lesson_id: Uuid,
    /// The course it belongs to.
    pub course_id: Uuid,
    /// Its title, as pupils see it.
    pub title: String,
    /// The revision that was published, from 1.
    pub revision: u32,
    /// When.
    pub published_at: Timestamp,
}

impl DomainEvent for LessonPublished {
    const EVENT_TYPE: &'static str = "lesson.published.v1";
    const EVENT_VERSION: u16 = 1;

    fn aggregate_id(&self) -> Uuid {
        self.lesson_id
    }

    fn occurred_at(&self) -> Option<Timestamp> {
        Some(self.published_at)
    }
}

/// A pupil handed in a quiz.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuizSubmitted {
    /// This attempt; the aggregate.
    pub submission_id: Uuid,
    /// The quiz.
    pub quiz_id: Uuid,
    /// The lesson it belongs to.
    pub lesson_id: Uuid,
    /// The pupil; the subject person.
    pub student_id: Uuid,
    /// Points reached.
    pub score: u32,
    /// Points that could be reached.
    pub max_score: u32,
    /// When.
    pub submitted_at: Timestamp,
}

impl DomainEvent for QuizSubmitted {
    const EVENT_TYPE: &'static str = "quiz.submitted.v1";
    const EVENT_VERSION: u16 = 1;

    fn aggregate_id(&self) -> Uuid {
        self.submission_id
    }

    fn occurred_at(&self) -> Option<Timestamp> {
        Some(self.submitted_at)
    }

    fn subject_id(&self) -> Option<String> {
        Some(self.student_id.to_string())
    }
}

/// A pupil said, or showed, how a lesson is going.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LearningPulseCreated {
    /// This pulse; the aggregate.
    pub pulse_id: Uuid,
    /// The lesson.
    pub lesson_id: Uuid,
    /// The pupil; the subject person.
    pub student_id: Uuid,
    /// From 0, lost, to 100, with ease.
    pub level: u8,
    /// When.
    pub created_at: Timestamp,
}

impl DomainEvent for LearningPulseCreated {
    const EVENT_TYPE: &'static str = "learning_pulse.created.v1";
    const EVENT_VERSION: u16 = 1;

    fn aggregate_id(&self) -> Uuid {
        self.pulse_id
    }

    fn occurred_at(&self) -> Option<Timestamp> {
        Some(self.created_at)
    }

    fn subject_id(&self) -> Option<String> {
        Some(self.student_id.to_string())
    }
}

/// A person asked for their data to be erased.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserEraseRequested {
    /// The person; the aggregate and the subject person.
    pub user_id: Uuid,
    /// When.
    pub requested_at: Timestamp,
}

impl DomainEvent for UserEraseRequested {
    const EVENT_TYPE: &'static str = "user.erase_requested.v1";
    const EVENT_VERSION: u16 = 1;

    fn aggregate_id(&self) -> Uuid {
        self.user_id
    }

    fn occurred_at(&self) -> Option<Timestamp> {
        Some(self.requested_at)
    }

    fn subject_id(&self) -> Option<String> {
        Some(self.user_id.to_string())
    }
}
