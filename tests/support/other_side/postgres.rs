//! A Postgres with the tables of `config/postgres.sql` as the other side.

use edge_outbox::{
    Seq,
    envelope::Digest,
    secret::Secret,
    sink::{
        Sink,
        postgres::{PostgresOptions, PostgresSink},
    },
};
use tokio::runtime::{Builder, Runtime};
use tokio_postgres::Row;

use super::{Arrival, IMPATIENT, Network, OtherSide, Patience};
use crate::support::{
    fault_proxy::FaultProxy,
    kiosk::POISON,
    postgres_server::{OPEN, PostgresServer},
    postgres_table,
};

/// The script that an operator runs.
const TABLES: &str = include_str!("../../../config/postgres.sql");

/// A server, and the superuser who looks at its table by the Unix socket.
pub(crate) struct Postgres {
    server: PostgresServer,
    runtime: Runtime,
}

impl Postgres {
    pub(crate) fn start() -> Self {
        let side = Self {
            server: PostgresServer::with("", OPEN),
            runtime: Builder::new_current_thread().enable_all().build().unwrap(),
        };
        side.execute(TABLES);
        side
    }

    fn execute(&self, statements: &str) {
        self.runtime.block_on(self.server.execute(statements));
    }
}

fn arrival(row: &Row) -> Arrival {
    let digest: &[u8] = row.get("digest");
    let digest = Digest::from_bytes(digest.try_into().unwrap());
    Arrival::parse(&postgres_table::envelope(row), Some(digest))
}

impl OtherSide for Postgres {
    fn is_exactly_once(&self) -> bool {
        true
    }

    fn network(&self) -> Network {
        Network::Tcp(FaultProxy::to_port(self.server.port()))
    }

    fn sink(&self, network: &Network, patience: Patience) -> Sink {
        let url = format!(
            "postgres://postgres@127.0.0.1:{}/postgres?sslmode=disable",
            network.port()
        );
        let mut options = PostgresOptions {
            url: Secret::new(url),
            ..PostgresOptions::default()
        };
        if patience == Patience::Short {
            options.ack_timeout = IMPATIENT;
            options.connect_timeout = IMPATIENT;
        }
        Sink::Postgres(PostgresSink::new(options).unwrap())
    }

    fn received(&mut self, device: &str, _: Seq) -> Vec<Arrival> {
        let rows = self.runtime.block_on(async {
            let client = self.server.connect().await;
            postgres_table::rows(&client).await
        });
        let mut rows: Vec<Row> = rows
            .into_iter()
            .filter(|row| row.get::<_, &str>("device") == device)
            .collect();
        rows.sort_by_key(|row| row.get::<_, i64>("arrival"));
        rows.iter().map(arrival).collect()
    }

    fn stop(&mut self) {
        self.server.stop();
    }

    fn survives_a_kill(&self) -> bool {
        true
    }

    fn kill(&mut self) {
        self.server.kill();
    }

    fn start_again(&mut self) {
        self.server.start_again();
    }

    fn refuse(&mut self, _: &Network, _: Seq) {
        self.execute(&format!(
            "alter table device_events add constraint no_poison check (event_type <> '{POISON}')"
        ));
    }

    fn break_set_up(&mut self, _: &Network) {
        self.execute("alter table device_events rename to somewhere_else");
    }

    fn mend_set_up(&mut self, _: &Network) {
        self.execute("alter table somewhere_else rename to device_events");
    }
}
