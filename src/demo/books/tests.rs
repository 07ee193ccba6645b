use super::*;
use crate::{event::Event, outbox::Outbox};

/// What a kiosk promised, and its envelopes: the one of the ledger first.
struct Kiosk {
    device: DeviceName,
    key: PublicKey,
    promises: Vec<Promise>,
    envelopes: Vec<String>,
}

/// A kiosk with four events, each a commit of its own.
async fn kiosk(name: &str) -> Kiosk {
    let dir = tempfile::tempdir().unwrap();
    let outbox = Outbox::builder(dir.path()).device(name.parse().unwrap());
    let outbox = outbox.open().unwrap();
    let mut promises = Vec::new();
    for score in 0..4 {
        let event = Event::builder("quiz.submitted.v1", Uuid::from_u128(9));
        let event = event.payload(format!("{{\"score\":{score}}}")).build();
        let place = outbox.append(event.unwrap()).await.unwrap();
        promises.push(Promise {
            seq: place.seq,
            id: place.id,
        });
    }
    let lines = outbox.events(Seq::FIRST).next_chunk().await.unwrap();
    let lines = String::from_utf8(lines.unwrap().to_vec()).unwrap();
    let kiosk = Kiosk {
        device: outbox.device().clone(),
        key: outbox.public_key().clone(),
        promises,
        envelopes: lines.lines().map(str::to_owned).collect(),
    };
    outbox.close().await;
    kiosk
}

/// Balances the books of a kiosk after these messages.
fn balance<'a>(
    kiosk: &Kiosk,
    messages: impl IntoIterator<Item = &'a String>,
) -> (Balance, Vec<String>) {
    let mut books = Books::new(false);
    books.enrol(kiosk.device.clone(), kiosk.key.clone());
    messages
        .into_iter()
        .for_each(|message| books.note(message.as_bytes()));
    let balance = books.balance(&kiosk.device, kiosk.promises.iter().copied());
    (balance, books.take_complaints())
}

fn as_repeat(envelope: &str) -> String {
    envelope.replace("\"redelivered\":false", "\"redelivered\":true")
}

const ALL_WELL: Balance = Balance {
    appended: 4,
    delivered: 4,
    repeated: 0,
    lost: 0,
    verified: 4,
};

#[tokio::test]
async fn books_balance_whatever_the_order_of_arrival() {
    let kiosk = kiosk("kiosk-1").await;
    assert_eq!(balance(&kiosk, &kiosk.envelopes), (ALL_WELL, vec![]));
    let backwards = kiosk.envelopes.iter().rev();
    assert_eq!(balance(&kiosk, backwards), (ALL_WELL, vec![]));
}

#[tokio::test]
async fn a_repeat_is_counted_and_has_to_be_marked() {
    let kiosk = kiosk("kiosk-1").await;
    let once = Balance {
        repeated: 1,
        ..ALL_WELL
    };
    // Either copy may bear the mark.
    for second in 0..2 {
        let mut messages = kiosk.envelopes.clone();
        messages.insert(2 + second, as_repeat(&kiosk.envelopes[2]));
        assert_eq!(balance(&kiosk, &messages), (once, vec![]));
    }
    let mut messages = kiosk.envelopes.clone();
    messages.push(kiosk.envelopes[2].clone());
    let complaint = "kiosk-1, seq 3: came 2 times, no copy is marked".to_owned();
    assert_eq!(balance(&kiosk, &messages), (once, vec![complaint]));
}

#[tokio::test]
async fn what_did_not_arrive_is_lost_wherever_it_was() {
    let kiosk = kiosk("kiosk-1").await;
    let lost = Balance {
        delivered: 3,
        lost: 1,
        verified: 3,
        ..ALL_WELL
    };
    for (missing, complaints) in [
        (2, vec!["kiosk-1: seq 3 to 3 are missing".to_owned()]),
        // Only the promise tells that there was one more.
        (4, vec![]),
    ] {
        let mut messages = kiosk.envelopes.clone();
        messages.remove(missing);
        assert_eq!(balance(&kiosk, &messages), (lost, complaints));
    }
    // The ledger's event is no event of the program, and missed all the same.
    let complaint = "kiosk-1: the beginning of its chain is missing".to_owned();
    let messages = &kiosk.envelopes[1..];
    assert_eq!(balance(&kiosk, messages), (ALL_WELL, vec![complaint]));
}

#[tokio::test]
async fn what_was_altered_is_not_delivered() {
    let kiosk = kiosk("kiosk-1").await;
    let mut messages = kiosk.envelopes.clone();
    messages[2] = messages[2].replace("{\"score\":1}", "{\"score\":9}");
    let (balance, complaints) = balance(&kiosk, &messages);
    assert_eq!((balance.delivered, balance.lost), (3, 1));
    let altered = "kiosk-1, seq 3: the personal part does not match its digest: it was altered";
    assert_eq!(complaints[0], altered);
}

#[tokio::test]
async fn what_nobody_promised_and_who_is_not_enrolled_is_complained_of() {
    let mut one = kiosk("kiosk-1").await;
    let never = one.promises.pop().unwrap();
    let (balanced, complaints) = balance(&one, &one.envelopes);
    assert_eq!((balanced.appended, balanced.delivered), (3, 3));
    let complaint = format!("kiosk-1, seq {}: arrived and was never promised", never.seq);
    assert_eq!(complaints, [complaint]);

    let stranger = kiosk("kiosk-1").await;
    let (balanced, complaints) = balance(&one, &stranger.envelopes[..1]);
    assert_eq!((balanced.delivered, balanced.lost), (0, 3));
    assert!(
        complaints[0].ends_with(" is not a trusted one"),
        "{complaints:?}"
    );

    let (_, complaints) = balance(&one, [&"{}".to_owned()]);
    assert!(
        complaints[0].starts_with("a message is no envelope: "),
        "{complaints:?}"
    );
}

#[tokio::test]
async fn an_event_that_is_left_out_stays_out_with_all_of_its_copies() {
    let kiosk = kiosk("kiosk-1").await;
    let mut books = Books::new(true);
    books.enrol(kiosk.device.clone(), kiosk.key.clone());
    for envelope in kiosk.envelopes.iter().chain(&kiosk.envelopes[1..2]) {
        books.note(envelope.as_bytes());
    }
    assert_eq!(books.delivered(&kiosk.device), 3);
    let balance = books.balance(&kiosk.device, kiosk.promises.iter().copied());
    assert_eq!(
        (balance.delivered, balance.lost, balance.verified),
        (3, 1, 3)
    );
}
