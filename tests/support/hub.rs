//! A hub's database, and looking at it.

use bytes::Bytes;
use edge_outbox::hub::{ErasureKey, Intake, Message, Options, SCHEMA_SQL, Taken};
use tokio_postgres::{Client, NoTls};

use super::{
    chained_device::{ChainedDevice, Sealed},
    postgres_server::PostgresServer,
};

/// Roles that log in, as the script says to make them.
const LOGINS: &str = "create role hub login in role edge_outbox_hub_intake; \
                      create role operator login in role edge_outbox_hub_operator; \
                      create role analyst login in role edge_outbox_hub_reader";

/// A server with the hub's tables.
pub(crate) async fn database() -> PostgresServer {
    database_with("").await
}

/// The same, with these settings.
pub(crate) async fn database_with(settings: &str) -> PostgresServer {
    let server = PostgresServer::with(settings, super::postgres_server::OPEN);
    server.execute(SCHEMA_SQL).await;
    server.execute(LOGINS).await;
    server
}

/// What every hub here is told.
pub(crate) fn options() -> Options {
    Options {
        first_use: false,
        erase_on_request: true,
        erasure_key: ErasureKey::new([7; 32]),
    }
}

/// A connection as this role.
pub(crate) async fn connect(server: &PostgresServer, role: &str) -> Client {
    try_connect(server, role).await.unwrap()
}

/// The same, where the server may be away.
pub(crate) async fn try_connect(
    server: &PostgresServer,
    role: &str,
) -> Result<Client, tokio_postgres::Error> {
    let url = server.url_as(role, "?sslmode=disable");
    let (client, connection) = tokio_postgres::connect(&url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// A hub, with the rights that it needs and no others.
pub(crate) async fn intake(server: &PostgresServer) -> Intake {
    intake_with(server, options()).await
}

pub(crate) async fn intake_with(server: &PostgresServer, options: Options) -> Intake {
    Intake::open(connect(server, "hub").await, options)
        .await
        .unwrap()
}

/// Has an operator register a device.
pub(crate) async fn register(server: &PostgresServer, device: &ChainedDevice) -> Taken {
    let mut hub = intake(server).await;
    hub.add_device(&device.name, &device.public_key())
        .await
        .unwrap()
}

pub(crate) fn message(body: impl Into<Bytes>) -> Message {
    Message {
        body: body.into(),
        origin: "test".into(),
    }
}

/// Events as messages.
pub(crate) fn messages<'a>(events: impl IntoIterator<Item = &'a Sealed>) -> Vec<Message> {
    events
        .into_iter()
        .map(|event| message(event.wire.clone()))
        .collect()
}

/// One number that a statement gives.
pub(crate) async fn number(client: &Client, question: &str) -> i64 {
    let row = client
        .query_one(&format!("select ({question})::bigint"), &[])
        .await;
    row.unwrap().get(0)
}

/// What a statement gives, as text, one line for each row with its columns apart by blanks.
pub(crate) async fn lines(client: &Client, question: &str) -> Vec<String> {
    let answer = client.simple_query(question).await.unwrap();
    let line = |it| match it {
        tokio_postgres::SimpleQueryMessage::Row(row) => {
            let columns: Vec<&str> = (0..row.len())
                .map(|at| row.get(at).unwrap_or("-"))
                .collect();
            Some(columns.join(" "))
        }
        _ => None,
    };
    answer.into_iter().filter_map(line).collect()
}

/// What `device_health` says of each epoch, the analyst's way.
pub(crate) async fn health(server: &PostgresServer) -> Vec<String> {
    let analyst = connect(server, "analyst").await;
    lines(
        &analyst,
        "select device, first_seq, held, highest, complete_to, proven_to, is_clean, missing, \
         declared_lost, tampering from edge_outbox_hub.device_health order by device, held",
    )
    .await
}

/// The open gaps.
pub(crate) async fn gaps(client: &Client) -> Vec<String> {
    lines(
        client,
        "select device, first_seq, last_seq from edge_outbox_hub.gaps order by 1, 2",
    )
    .await
}

/// The declared ones.
pub(crate) async fn losses(client: &Client) -> Vec<String> {
    lines(
        client,
        "select first_seq, last_seq, reason from edge_outbox_hub.losses order by device, first_seq",
    )
    .await
}

/// What is in quarantine.
pub(crate) async fn quarantined(client: &Client) -> Vec<String> {
    lines(
        client,
        "select reason, count(*) from edge_outbox_hub.quarantine group by reason order by reason",
    )
    .await
}
