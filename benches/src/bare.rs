//! The clients that edge-outbox uses, without edge-outbox: bytes from memory, and nothing kept.

pub mod hub;
pub mod mqtt;
pub mod nats;
pub mod postgres;
