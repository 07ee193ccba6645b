//! What integration tests share. Each test crate takes what it needs.

#![allow(dead_code, reason = "each test crate uses a part of it")]
pub(crate) mod acting_hub;
#[cfg(feature = "cli")]
pub(crate) mod board;
#[cfg(feature = "cli")]
pub(crate) mod broken_setup;
pub(crate) mod certificates;
#[cfg(feature = "hub")]
pub(crate) mod chained_device;
pub(crate) mod conversation;
pub(crate) mod device;
#[cfg(feature = "cli")]
pub(crate) mod doctor;
pub(crate) mod fault_proxy;
#[cfg(feature = "hub")]
pub(crate) mod hub;
#[cfg(all(feature = "hub", feature = "cli"))]
pub(crate) mod hub_program;
#[cfg(feature = "nats")]
pub(crate) mod jwt;
pub(crate) mod kiosk;
#[cfg(feature = "mqtt")]
pub(crate) mod mosquitto;
#[cfg(feature = "mqtt")]
pub(crate) mod mqtt;
#[cfg(feature = "nats")]
pub(crate) mod nats_server;
#[cfg(all(feature = "mqtt", feature = "nats", feature = "postgres"))]
pub(crate) mod other_side;
#[cfg(feature = "postgres")]
pub(crate) mod pgbouncer;
#[cfg(feature = "postgres")]
pub(crate) mod postgres_server;
#[cfg(feature = "postgres")]
pub(crate) mod postgres_table;
#[cfg(feature = "cli")]
pub(crate) mod program;
#[cfg(feature = "mqtt")]
pub(crate) mod rabbitmq;
pub(crate) mod random;
#[cfg(all(feature = "hub", feature = "cli"))]
pub(crate) mod relay_program;
#[cfg(feature = "mqtt")]
pub(crate) mod scripted_broker;
pub(crate) mod server_process;
pub(crate) mod snapshot;
#[cfg(feature = "mqtt")]
pub(crate) mod subscriber;
