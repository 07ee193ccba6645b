//! One contract for every sink: each promise is a function over
//! [`OtherSide`](support::other_side::OtherSide), and is kept before the real server of each sink,
//! through a network that fails.
//!
//! What is promised by which sink, and which test shows it: `docs/sinks.md`.

#![cfg(all(feature = "mqtt", feature = "nats", feature = "postgres"))]

#[path = "contract/delivery.rs"]
mod delivery;
#[path = "contract/faults.rs"]
mod faults;
#[path = "contract/refusal.rs"]
mod refusal;
#[path = "contract/resumption.rs"]
mod resumption;
mod support;

/// A test for each promise, before this other side.
macro_rules! promises {
    ($side:expr; $($module:ident: $($promise:ident)*;)*) => {
        $($(
            #[test]
            fn $promise() {
                crate::$module::$promise(&mut $side);
            }
        )*)*
    };
}

/// What holds for every sink.
macro_rules! every_sink {
    ($side:expr) => {
        promises! {
            $side;
            delivery:
                first_attempts_arrive_in_order
                what_is_in_doubt_comes_marked_and_nothing_else
                a_program_that_stops_in_mid_window_goes_on_where_it_left_off;
            faults:
                nothing_is_lost_when_connections_are_cut
                nothing_is_lost_when_connections_are_refused
                nothing_is_lost_when_answers_are_swallowed
                nothing_is_lost_when_a_message_is_cut_in_two
                nothing_is_lost_when_the_server_is_started_again;
            refusal:
                one_poison_event_is_given_up_and_all_others_arrive
                a_halt_ends_by_itself_once_its_cause_is_mended;
            resumption:
                everything_pending_is_delivered_within_5_s_of_the_return_of_the_network;
        }
    };
}

/// What holds besides for a sink that has a network.
macro_rules! every_sink_with_a_network {
    ($side:expr) => {
        promises! {
            $side;
            faults:
                nothing_is_lost_when_connections_are_reset
                nothing_is_lost_when_everything_is_slow
                nothing_is_lost_in_a_blackhole
                nothing_is_lost_when_connections_are_half_open
                nothing_is_lost_when_an_answer_is_cut_in_two
                nothing_is_lost_when_a_byte_comes_at_a_time;
        }
    };
}

/// What holds besides for a server that has kept what it confirmed when it is killed.
macro_rules! every_sink_whose_server_keeps_its_data {
    ($side:expr) => {
        promises! {
            $side;
            faults: nothing_is_lost_when_the_server_is_killed;
        }
    };
}

mod memory {
    use crate::support::other_side::memory::Memory;

    every_sink!(Memory::start());
}

mod nats {
    use crate::support::other_side::nats::Nats;

    every_sink!(Nats::start());
    every_sink_with_a_network!(Nats::start());
    every_sink_whose_server_keeps_its_data!(Nats::start());
}

mod mqtt_5 {
    use edge_outbox::sink::mqtt::MqttVersion;

    use crate::support::other_side::mqtt::Mqtt;

    every_sink!(Mqtt::start(MqttVersion::V5));
    every_sink_with_a_network!(Mqtt::start(MqttVersion::V5));
}

mod mqtt_3_1_1 {
    use edge_outbox::sink::mqtt::MqttVersion;

    use crate::support::other_side::mqtt::Mqtt;

    every_sink!(Mqtt::start(MqttVersion::V3_1_1));
    every_sink_with_a_network!(Mqtt::start(MqttVersion::V3_1_1));
}

mod postgres {
    use crate::support::other_side::postgres::Postgres;

    every_sink!(Postgres::start());
    every_sink_with_a_network!(Postgres::start());
    every_sink_whose_server_keeps_its_data!(Postgres::start());
}
