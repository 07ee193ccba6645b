//! An outbox that forwards to brokers which hang up over an event, whatever their reason: nothing may be
//! stuck for ever where the broker said why, and where it said nothing, a person is told where to look.

#![cfg(feature = "mqtt")]
mod support;

use edge_outbox::{
    Seq,
    forwarder::SinkSpec,
    sink::mqtt::{MqttOptions, MqttQos, MqttVersion},
    status::SinkState,
};
use support::{
    kiosk::{Kiosk, POISON},
    mosquitto::MosquittoServer,
    mqtt::{EVERYTHING, options_for, sink},
    subscriber::Subscriber,
};

const NAME: &str = "mqtt";

/// The seqs that arrived without a mark, in order.
fn first_attempts(subscriber: &Subscriber) -> Vec<u64> {
    let messages = subscriber.messages();
    let unmarked = messages
        .iter()
        .map(support::subscriber::Received::json)
        .filter(|event| event["redelivered"] == false);
    unmarked
        .map(|event| event["seq"].as_u64().unwrap())
        .collect()
}

#[test]
fn events_that_end_the_connection_become_dead_letters_and_all_others_arrive() {
    // mosquitto answers such a one with a code that is not defined there, and the client gives up.
    let server = MosquittoServer::with("allow_anonymous true\nmessage_size_limit 3000");
    for qos in [MqttQos::AtLeastOnce, MqttQos::ExactlyOnce] {
        let subscriber = Subscriber::start(&server.url(), EVERYTHING);
        let mut kiosk = Kiosk::new(&format!("kiosk-{qos:?}"));
        // One alone, two in a row, one at the end.
        let mut poison = Vec::new();
        for (before, row) in [(40, 1), (3, 2), (40, 1)] {
            kiosk.append_some(before);
            poison.extend((0..row).map(|_| kiosk.append_poison()));
        }
        let options = MqttOptions {
            qos,
            ..options_for(&server.url())
        };
        kiosk.forward(vec![SinkSpec::new(NAME, sink(options))]);
        kiosk.wait_for(NAME, |sink| sink.dead_letters == 4);
        kiosk.wait_until_caught_up(NAME);
        kiosk.stop_forwarding();
        let messages = subscriber.messages();
        for seq in 1..=kiosk.tail().get() {
            let copies = messages.iter().filter(|m| m.json()["seq"] == seq).count();
            let is_poison = poison.contains(&Seq::new(seq));
            assert_eq!(copies > 0, !is_poison, "{seq} came {copies} times");
        }
        let once = first_attempts(&subscriber);
        assert!(once.is_sorted_by(|one, next| one < next), "{once:?}");
    }
}

#[test]
fn a_limit_that_no_event_keeps_to_halts_and_gives_up_nothing() {
    let server = MosquittoServer::with("allow_anonymous true\nmessage_size_limit 100");
    let _subscriber = Subscriber::start(&server.url(), EVERYTHING);
    let mut kiosk = Kiosk::new("kiosk-1");
    kiosk.append_some(50);
    kiosk.forward(vec![SinkSpec::new(NAME, sink(options_for(&server.url())))]);
    let status = kiosk.wait_for(NAME, |sink| sink.state == SinkState::Halted);
    assert_eq!((status.dead_letters, status.acked), (0, Seq::NONE));
    let trouble = status.last_error.unwrap();
    let hint = trouble.hint.unwrap_or_default();
    assert!(hint.contains("limit"), "{} / {hint}", trouble.message);
}

#[test]
fn an_event_over_which_a_broker_hangs_up_without_a_word_is_named() {
    // A 3.1.1 broker has no way to say that a packet is too large for it.
    let server = MosquittoServer::with("allow_anonymous true\nmax_packet_size 3000");
    let _subscriber = Subscriber::start(&server.url(), EVERYTHING);
    let mut kiosk = Kiosk::new("kiosk-1");
    kiosk.append_some(5);
    let poison = kiosk.append_poison();
    kiosk.append_some(5);
    let options = MqttOptions {
        version: MqttVersion::V3_1_1,
        ..options_for(&server.url())
    };
    kiosk.forward(vec![SinkSpec::new(NAME, sink(options))]);
    let status = kiosk.wait_for(NAME, |sink| {
        let trouble = sink.last_error.as_ref();
        sink.acked.next() == poison
            && trouble.is_some_and(|it| it.message.contains(&format!("kiosk-1/{POISON}")))
    });
    let hint = status.last_error.and_then(|trouble| trouble.hint);
    let hint = hint.unwrap_or_default();
    assert!(hint.contains("`max_packet`"), "{hint}");
    assert_eq!(status.dead_letters, 0, "it may have been the network");
}
