// quiz.rs: hands an event over to an outbox in the program itself.

use std::{error::Error, path::Path, time::Duration};

use edge_outbox::{
    Event, Outbox,
    outbox::{AppendError, Appended},
};
use uuid::Uuid;

const WAIT: Duration = Duration::from_secs(1);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let place = submit_quiz(Path::new("/var/lib/kiosk/outbox"), 7).await?;
    println!("event {} is durable, seq {}", place.id, place.seq);
    Ok(())
}

async fn submit_quiz(dir: &Path, score: u32) -> Result<Appended, Box<dyn Error>> {
    let outbox = Outbox::builder(dir).open()?;
    let lesson = "0192f0c1-2345-7000-8000-0123456789ab".parse()?;
    let event = Event::builder("quiz.submitted.v1", lesson)
        .id(Uuid::now_v7())
        .payload(format!(r#"{{"score":{score},"max_score":10}}"#))
        .build()?;
    let place = hand_over(&outbox, event).await?;
    outbox.close().await;
    Ok(place)
}

/// Returns the event's place once it is durable.
async fn hand_over(outbox: &Outbox, event: Event) -> Result<Appended, AppendError> {
    loop {
        match outbox.append(event.clone()).await {
            // The disk failed or is full: the same again, with the same id.
            Err(
                AppendError::OutcomeUnknown | AppendError::Unavailable | AppendError::Full { .. },
            ) => tokio::time::sleep(WAIT).await,
            answer => return answer,
        }
    }
}
