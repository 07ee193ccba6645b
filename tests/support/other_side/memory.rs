//! A store in memory as the other side: a store for each network.

use std::sync::Mutex;

use edge_outbox::{
    Seq,
    sink::{
        Sink, SinkError,
        memory::{MemorySink, MemoryStore},
    },
};

use super::{Arrival, Network, OtherSide, Patience};

/// Every store that a network leads to.
#[derive(Default)]
pub(crate) struct Memory {
    stores: Mutex<Vec<MemoryStore>>,
}

impl Memory {
    pub(crate) fn start() -> Self {
        Self::default()
    }

    fn each(&self, change: impl Fn(&MemoryStore)) {
        self.stores.lock().unwrap().iter().for_each(change);
    }
}

impl OtherSide for Memory {
    fn is_exactly_once(&self) -> bool {
        true
    }

    fn network(&self) -> Network {
        let store = MemoryStore::new();
        self.stores.lock().unwrap().push(store.clone());
        Network::Memory(store)
    }

    fn sink(&self, network: &Network, _: Patience) -> Sink {
        Sink::Memory(MemorySink::new(network.store().clone()))
    }

    fn received(&mut self, device: &str, _: Seq) -> Vec<Arrival> {
        let stores = self.stores.lock().unwrap();
        let messages = stores.iter().flat_map(MemoryStore::messages);
        messages
            .map(|message| Arrival::parse(&message.body, Some(message.digest)))
            .filter(|arrival| arrival.is_of(device))
            .collect()
    }

    fn stop(&mut self) {
        self.each(|store| store.go_away(SinkError::retry("unreachable", "away")));
    }

    fn survives_a_kill(&self) -> bool {
        true
    }

    fn kill(&mut self) {
        self.stop();
    }

    fn start_again(&mut self) {
        self.each(MemoryStore::come_back);
    }

    fn refuse(&mut self, network: &Network, poison: Seq) {
        let error = SinkError::reject("constraint", "this one can never pass");
        network.store().refuse(poison, error);
    }

    fn break_set_up(&mut self, network: &Network) {
        let error = SinkError::halt("wrong_password", "no such user");
        network
            .store()
            .go_away(error.with_hint("set `password_file`"));
    }

    fn mend_set_up(&mut self, network: &Network) {
        network.store().come_back();
    }
}
