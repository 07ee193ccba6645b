//! What the server's words mean: each SQLSTATE is classified once.

use tokio_postgres::{
    Error,
    error::{DbError, SqlState},
};

use crate::sink::{
    SinkError,
    postgres::tables::Tables,
    tls::{self, Remedies},
};

/// What a refused statement means for its rows.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// One of the rows is the reason; the others could pass.
    Row(SinkError),
    /// None is stored, and it passes by itself.
    Statement(SinkError),
    /// The session is over.
    Lost(SinkError),
}

/// What a SQLSTATE is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    /// A row.
    Row(&'static str),
    /// Something that passes, on a connection that goes on.
    Passing(&'static str),
    /// The connection, or a server that takes nothing.
    Connection(&'static str),
    /// The device is not let in.
    Access,
    /// There is no such database.
    Database,
    /// A table is not there.
    Table,
    /// A table is not as it should be.
    Shape,
    /// A right is missing.
    Right,
    /// Anything else that somebody has to see to.
    Setup,
}

fn class(code: &SqlState) -> Class {
    match *code {
        SqlState::READ_ONLY_SQL_TRANSACTION => return Class::Connection("read_only"),
        SqlState::QUERY_CANCELED => return Class::Passing("canceled"),
        SqlState::INVALID_CATALOG_NAME => return Class::Database,
        SqlState::INVALID_SCHEMA_NAME | SqlState::UNDEFINED_TABLE => return Class::Table,
        SqlState::UNDEFINED_COLUMN
        | SqlState::INVALID_COLUMN_REFERENCE
        | SqlState::DATATYPE_MISMATCH
        | SqlState::GENERATED_ALWAYS
        | SqlState::WRONG_OBJECT_TYPE => return Class::Shape,
        SqlState::INSUFFICIENT_PRIVILEGE => return Class::Right,
        SqlState::TOO_MANY_CONNECTIONS => return Class::Connection("too_many_connections"),
        SqlState::DISK_FULL => return Class::Passing("server_full"),
        _ => {}
    }
    match code.code().get(..2).unwrap_or_default() {
        "22" => Class::Row("data_refused"),
        "23" | "44" => Class::Row("constraint"),
        "54" => Class::Row("row_too_large"),
        "P0" => Class::Row("raised"),
        "08" | "57" => Class::Connection("server_leaving"),
        "53" => Class::Passing("server_full"),
        "25" | "40" | "55" | "58" | "XX" => Class::Passing("server_error"),
        "28" => Class::Access,
        _ => Class::Setup,
    }
}

/// The server's words. Those about a row may quote what it holds, and so may those that come out
/// of a function, a trigger's for one. They are left out: the server's log has them.
pub(crate) fn said(error: &DbError) -> String {
    let code = error.code().code();
    if matches!(class(error.code()), Class::Row(_)) || error.where_().is_some() {
        let mut text = format!("SQLSTATE {code}");
        for (what, name) in [
            ("constraint", error.constraint()),
            ("table", error.table()),
            ("column", error.column()),
        ] {
            if let Some(name) = name {
                text.push_str(&format!(", {what} {name}"));
            }
        }
        return text;
    }
    format!("{} (SQLSTATE {code})", error.message())
}

/// Whether the server takes no writes at all, for want of numbers for its transactions. It uses the
/// SQLSTATE of a row that is too large, so that only the name of its function tells the two apart.
fn is_of_transactions(error: &DbError) -> bool {
    *error.code() == SqlState::PROGRAM_LIMIT_EXCEEDED
        && error
            .routine()
            .is_some_and(|name| name.starts_with("GetNew"))
}

/// Whether no partition takes the row. The server has no SQLSTATE of its own for it; a check names
/// its constraint, and a trigger that uses the SQLSTATE no table.
fn is_of_partitions(error: &DbError) -> bool {
    *error.code() == SqlState::CHECK_VIOLATION
        && error.constraint().is_none()
        && error.table().is_some()
}

/// Whether a row-level policy is the reason, and not a right that was not granted. The words for
/// it are the server's and in its language; the name of its function is not.
fn is_of_policy(error: &DbError) -> bool {
    error.routine() == Some("ExecWithCheckOptions")
}

/// Classifies what the server says. `tried` says what was tried, on what.
fn of_server(tried: &str, error: &DbError, tables: &Tables) -> Verdict {
    let message = format!("{tried}: the server says {}", said(error));
    let lost = |error| Verdict::Lost(error);
    match class(error.code()) {
        Class::Row(_) if is_of_transactions(error) => {
            Verdict::Statement(SinkError::retry("server_full", message).with_hint(
                "the server behind `url` has no transactions left: vacuum its databases as its \
                 log says; nothing is lost meanwhile",
            ))
        }
        Class::Row(_) if is_of_partitions(error) => {
            lost(SinkError::halt("no_partition", message).with_hint(
                "make a partition that takes the rows of this device, or a default one; `url` and \
                 `schema` say where",
            ))
        }
        // Several of them in a row are a trigger or a constraint that was set up wrong.
        Class::Row(code) => Verdict::Row(
            SinkError::reject(code, message)
                .by_limit()
                .with_hint("the server's log has its words; see to its constraints and triggers"),
        ),
        Class::Passing("server_full") => Verdict::Statement(
            SinkError::retry("server_full", message)
                .with_hint("give the server more room; nothing is lost meanwhile"),
        ),
        Class::Passing("canceled") => Verdict::Statement(
            SinkError::retry("canceled", message)
                .with_hint("raise the role's `statement_timeout`, or lower `batch`"),
        ),
        Class::Passing(code) => Verdict::Statement(SinkError::retry(code, message)),
        Class::Connection("read_only") => lost(read_only(message)),
        Class::Connection("too_many_connections") => lost(
            SinkError::retry("too_many_connections", message)
                .with_hint("raise the server's `max_connections`, or put a pooler before it"),
        ),
        Class::Connection(code) => lost(SinkError::retry(code, message)),
        // Whatever a trigger lacks, it is not what the script makes and grants.
        Class::Table | Class::Shape | Class::Right | Class::Setup if error.where_().is_some() => {
            lost(SinkError::halt("refused", message).with_hint(format!(
                "see to the triggers of `{}` in the database of `url`, one of which fails; the \
                 server's log has its words",
                tables.events
            )))
        }
        Class::Access => lost(SinkError::halt("not_authorized", message).with_hint(
            "correct user and password in `url`, `password_file` or `tls.certificate`, `sslmode` \
             where the server asks for encryption, or the server's pg_hba.conf",
        )),
        Class::Database => lost(
            SinkError::halt("no_database", message)
                .with_hint("create the database, or correct its name in `url`"),
        ),
        Class::Table => {
            lost(SinkError::halt("schema_missing", message).with_hint(tables.how_to_create()))
        }
        Class::Shape => {
            lost(SinkError::halt("schema_version", message).with_hint(tables.how_to_create()))
        }
        Class::Right if is_of_policy(error) => {
            lost(SinkError::halt("not_permitted", message).with_hint(format!(
                "let the row-level policies of `{}` allow the user in `url` to insert and to see \
                 the rows of this device",
                tables.events
            )))
        }
        Class::Right => lost(tables.not_permitted(message)),
        Class::Setup => lost(
            SinkError::halt("refused", message)
                .with_hint("correct what the server names, or `url` and `schema`"),
        ),
    }
}

/// A statement that failed.
pub(super) fn of_statement(tried: &str, error: &Error, tables: &Tables) -> Verdict {
    match error.as_db_error() {
        Some(error) => of_server(tried, error, tables),
        None => Verdict::Lost(SinkError::retry(
            "disconnected",
            format!("{tried}: {}", in_full(error)),
        )),
    }
}

/// A question that failed: the session is over in any case.
pub(super) fn of_question(tried: &str, error: &Error, tables: &Tables) -> SinkError {
    match of_statement(tried, error, tables) {
        Verdict::Row(error) | Verdict::Statement(error) | Verdict::Lost(error) => error,
    }
}

/// The server takes no writes: a standby, or one that is being switched.
pub(super) fn read_only(message: String) -> SinkError {
    SinkError::retry("read_only", message).with_hint(
        "passes when the server takes writes; with several hosts in `url`, add \
         `target_session_attrs=read-write`",
    )
}

const REMEDIES: Remedies = Remedies {
    name: "name the server in `url` as its certificate does, or set `sslmode = \"verify-ca\"`",
    no_tls: "what answers there speaks no TLS: correct `url`, or set `sslmode`",
};

/// Classifies why no connection could be made.
pub(super) fn of_connect(error: &Error, server: &str, tables: &Tables) -> SinkError {
    let tried = format!("connecting to {server}");
    if let Some(error) = error.as_db_error() {
        if let Some(error) = of_pooler(&tried, error) {
            return error;
        }
        return match of_server(&tried, error, tables) {
            Verdict::Row(error) | Verdict::Statement(error) | Verdict::Lost(error) => error,
        };
    }
    if let Some(cause) = tls::cause::<rustls::Error>(error) {
        return tls::failure(cause, server, tls::clock_is_set(), &REMEDIES);
    }
    let message = format!("{tried} failed: {}", in_full(error));
    if let Some(cause) = tls::cause::<std::io::Error>(error) {
        return of_io(cause, message);
    }
    // The client has no other word for these than its text.
    match root(error).as_str() {
        "server does not support TLS" => SinkError::halt("tls_not_offered", message).with_hint(
            "the server offers no TLS: enable it there, or set `sslmode = \"disable\"` where the \
             network can be trusted",
        ),
        "password missing" => SinkError::halt("not_authorized", message)
            .with_hint("the server asks for a password: set `password_file`"),
        "unsupported authentication method"
        | "unsupported SASL mechanism"
        | "server did not use channel binding" => SinkError::halt("not_authorized", message)
            .with_hint("let the server ask for scram-sha-256 or a client certificate"),
        _ => unreachable(message),
    }
}

/// pgbouncer, up to 1.18 at least, has one SQLSTATE for whatever is wrong with a login: that of a
/// violated protocol. Only its words tell what it is.
fn of_pooler(tried: &str, error: &DbError) -> Option<SinkError> {
    if *error.code() != SqlState::PROTOCOL_VIOLATION {
        return None;
    }
    let message = format!("{tried}: the server says {}", said(error));
    let said = error.message();
    Some(if said.starts_with("password authentication failed") {
        SinkError::halt("not_authorized", message).with_hint(
            "correct user and password in `url` or `password_file`, or the pooler's list of users",
        )
    } else if said.starts_with("no such database")
        || said.starts_with("database ") && said.ends_with(" does not exist")
    {
        SinkError::halt("no_database", message).with_hint(
            "correct the database's name in `url`, or add it to the pooler's list of databases",
        )
    } else {
        SinkError::retry("login_refused", message).with_hint(
            "check what `url` names, the pooler's configuration, and the server behind it",
        )
    })
}

fn of_io(error: &std::io::Error, message: String) -> SinkError {
    use std::io::ErrorKind;
    match error.kind() {
        // The client's way to say that no host has the `target_session_attrs` of the URL.
        ErrorKind::PermissionDenied if error.raw_os_error().is_none() => read_only(message),
        ErrorKind::TimedOut | ErrorKind::UnexpectedEof | ErrorKind::BrokenPipe => {
            unreachable(message)
        }
        // The resolver's errors have no number of the system's.
        _ if error.raw_os_error().is_none() => SinkError::retry("name_not_resolved", message)
            .with_hint("check the name in `url`, and this device's network and DNS"),
        _ => unreachable(message),
    }
}

fn unreachable(message: String) -> SinkError {
    SinkError::retry("unreachable", message)
        .with_hint("passes when the server can be reached; else check `url`")
}

/// The connection ended without a word of the server's about it.
pub(super) fn disconnected(server: &str) -> SinkError {
    SinkError::retry("disconnected", format!("the connection to {server} ended"))
}

/// The causes of an error, which say more than the client's own words for it.
pub(crate) fn in_full(error: &Error) -> String {
    let mut cause = std::error::Error::source(error);
    let mut texts = Vec::new();
    while let Some(error) = cause {
        texts.push(error.to_string());
        cause = error.source();
    }
    if texts.is_empty() {
        return error.to_string();
    }
    texts.join(": ")
}

fn root(error: &Error) -> String {
    std::error::Error::source(error)
        .map(ToString::to_string)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_class_of_sqlstate_is_classified_once() {
        for (code, expected) in [
            // The connection, or a server that takes nothing.
            ("08006", Class::Connection("server_leaving")),
            ("08P01", Class::Connection("server_leaving")),
            ("57P01", Class::Connection("server_leaving")),
            ("57P03", Class::Connection("server_leaving")),
            ("25006", Class::Connection("read_only")),
            ("53300", Class::Connection("too_many_connections")),
            // What passes.
            ("53100", Class::Passing("server_full")),
            ("53200", Class::Passing("server_full")),
            ("57014", Class::Passing("canceled")),
            ("40001", Class::Passing("server_error")),
            ("40P01", Class::Passing("server_error")),
            ("55P03", Class::Passing("server_error")),
            ("58030", Class::Passing("server_error")),
            ("XX000", Class::Passing("server_error")),
            // A row.
            ("22P02", Class::Row("data_refused")),
            ("22P05", Class::Row("data_refused")),
            ("22003", Class::Row("data_refused")),
            ("23502", Class::Row("constraint")),
            ("23505", Class::Row("constraint")),
            ("23514", Class::Row("constraint")),
            ("44000", Class::Row("constraint")),
            ("54000", Class::Row("row_too_large")),
            ("54001", Class::Row("row_too_large")),
            ("P0001", Class::Row("raised")),
            // What somebody has to mend.
            ("28P01", Class::Access),
            ("28000", Class::Access),
            ("3D000", Class::Database),
            ("3F000", Class::Table),
            ("42P01", Class::Table),
            ("42703", Class::Shape),
            ("42P10", Class::Shape),
            ("42804", Class::Shape),
            ("42501", Class::Right),
            ("0A000", Class::Setup),
            ("42601", Class::Setup),
            ("99999", Class::Setup),
        ] {
            assert_eq!(class(&SqlState::from_code(code)), expected, "{code}");
        }
    }
}
