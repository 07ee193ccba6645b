//! The brokers and the subscriber that the other tests rely on do what those tests assume.

#![cfg(feature = "mqtt")]
mod support;

use rumqttc::v5;
use support::{
    mosquitto::MosquittoServer,
    rabbitmq::RabbitServer,
    subscriber::{Subscriber, address},
};

/// Publishes numbers at QoS 1 and waits until each is acknowledged.
async fn publish(url: &str, numbers: std::ops::Range<usize>) {
    let (host, port) = address(url);
    let options = v5::MqttOptions::new("publisher", host, port);
    let (client, mut connection) = v5::AsyncClient::new(options, numbers.len());
    for number in numbers.clone() {
        let payload = number.to_string();
        client
            .try_publish("a/b", v5::mqttbytes::QoS::AtLeastOnce, false, payload)
            .unwrap();
    }
    let mut acknowledged = 0;
    while acknowledged < numbers.len() {
        if let v5::Event::Incoming(v5::Incoming::PubAck(_)) = connection.poll().await.unwrap() {
            acknowledged += 1;
        }
    }
}

fn numbers(subscriber: &Subscriber) -> Vec<usize> {
    let texts = subscriber.messages().into_iter();
    texts
        .map(|message| {
            String::from_utf8(message.payload.to_vec())
                .unwrap()
                .parse()
                .unwrap()
        })
        .collect()
}

#[tokio::test]
async fn a_subscriber_gathers_everything_in_order_and_once_across_restarts() {
    let mut server = MosquittoServer::start();
    let subscriber = Subscriber::start(&server.url(), "a/+");
    for round in 0..5 {
        publish(&server.url(), round * 500..(round + 1) * 500).await;
        // While much of it is still on its way to the subscriber.
        server.stop();
        server.start_again();
    }
    subscriber.arrived(2_500).await;
    assert_eq!(numbers(&subscriber), (0..2_500).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_broker_stopped_and_started_again_holds_what_nobody_has_fetched() {
    let mut server = MosquittoServer::start();
    let first = Subscriber::start(&server.url(), "a/+");
    publish(&server.url(), 0..10).await;
    first.arrived(10).await;
    server.freeze();
    server.thaw();
    publish(&server.url(), 10..20).await;
    server.stop();
    assert!(server.dir().join("mosquitto.db").is_file());
    server.start_again_with("allow_anonymous true\nmax_keepalive 60");
    publish(&server.url(), 20..30).await;
    first.arrived(30).await;
    assert_eq!(numbers(&first), (0..30).collect::<Vec<_>>());
}

#[tokio::test]
async fn rabbitmq_keeps_what_a_subscriber_has_not_fetched() {
    let server = RabbitServer::shared();
    let subscriber = Subscriber::start_3_1_1(&server.url(), "rabbit/+");
    let (host, port) = address(&server.url());
    let options = rumqttc::MqttOptions::new("publisher", host, port);
    let (client, mut connection) = rumqttc::AsyncClient::new(options, 1);
    let qos = rumqttc::QoS::AtLeastOnce;
    client.try_publish("rabbit/b", qos, false, "7").unwrap();
    while !matches!(
        connection.poll().await.unwrap(),
        rumqttc::Event::Incoming(rumqttc::Incoming::PubAck(_))
    ) {}
    subscriber.arrived(1).await;
    assert_eq!(numbers(&subscriber), [7], "{}", server.log());
}
