//! A Postgres with the table of events, which syncs what it commits.

use edge_outbox_benches::classroom::number;
use tokio::runtime::Runtime;
use tokio_postgres::Client;

use super::Hub;
use crate::{load::runtime, postgres_server::PostgresServer};

/// The server.
pub struct PostgresHub {
    server: PostgresServer,
    runtime: Runtime,
    client: Option<Client>,
}

impl PostgresHub {
    pub fn new() -> Self {
        let runtime = runtime(1);
        let mut server = runtime.block_on(PostgresServer::durable_with_tables());
        server.stop();
        Self {
            server,
            runtime,
            client: None,
        }
    }

    /// Waits for what is done with it.
    pub fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// A client's view of it.
    pub fn client(&self) -> &Client {
        self.client.as_ref().expect("it runs")
    }
}

impl Hub for PostgresHub {
    fn start(&mut self) {
        self.server.start_again();
        self.client = Some(self.runtime.block_on(self.server.connect()));
    }

    fn stop(&mut self) {
        self.client = None;
        self.server.stop();
    }

    fn count(&mut self) -> u64 {
        // To count them takes longer the more there are. This has gaps only where repeats came.
        let asked = "select coalesce(max(arrival), 0) from device_events";
        let row = self.runtime.block_on(self.client().query_one(asked, &[]));
        row.expect("a row").get::<_, i64>(0).unsigned_abs()
    }

    fn numbers(&mut self) -> Vec<u64> {
        let asked = self
            .client()
            .query("select payload from device_events", &[]);
        let rows = self.runtime.block_on(asked).expect("rows");
        let payloads = rows.iter().map(|row| row.get::<_, &[u8]>(0));
        payloads.filter_map(number).collect()
    }

    fn sink(&self) -> String {
        format!(
            "[sinks.hub]\ntype = \"postgres\"\nurl = \"{}\"\n",
            self.server.url()
        )
    }
}
