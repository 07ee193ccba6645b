//! A Postgres sink looked at step by step.
//!
//! Nothing is written: the statement that stores events is planned for no rows, which looks at
//! rights, columns and the unique index as storing would.

use tokio::time::timeout;
use tokio_postgres::{Error, types::Type};

use crate::{
    finding::{Check, Finding},
    sink::{
        SinkError,
        checkup::{self, INQUIRY_LIMIT, Place, Survey, Visit},
        postgres::{
            PostgresSink,
            link::{Link, Site},
            options::SslMode,
            refusal, row,
            tables::SCHEMA_VERSION,
        },
    },
};

impl PostgresSink {
    pub(in crate::sink) async fn checkup(&self, visit: &Visit<'_>) -> Vec<Finding> {
        let site = &*self.site;
        let places = site.address.tcp_hosts().into_iter();
        let places = places.map(|(host, port)| Place {
            name: format!("{host}:{port}"),
            host,
            port,
        });
        let survey = Survey::of(places.collect(), "url").await;
        let link = match Link::dial(site, visit.device).await {
            Ok(link) => link,
            Err(error) => {
                let at = step(&error);
                let mut findings = survey.findings(Some(&(at, error.clone())));
                if at > Check::SinkTls {
                    findings.push(encryption(site, &survey));
                }
                if at > Check::SinkLogin {
                    findings.push(let_in());
                }
                if at > Check::SinkReach {
                    findings.push(Finding::of_error(at, error));
                }
                return findings;
            }
        };
        let mut findings = survey.findings(None);
        findings.push(encryption(site, &survey));
        findings.push(let_in());
        match timeout(INQUIRY_LIMIT, inquire(site, &link)).await {
            Ok(Ok(found)) => findings.extend(found),
            Ok(Err(error)) => findings.push(Finding::of_error(step(&error), error)),
            Err(_) => findings.push(checkup::too_slow(&site.server)),
        }
        findings
    }
}

fn let_in() -> Finding {
    Finding::ok(Check::SinkLogin, "let in")
}

/// Where the attempt to connect fell.
fn step(error: &SinkError) -> Check {
    match error.code {
        "no_database" | "encoding" => Check::PostgresDatabase,
        "read_only" => Check::PostgresWritable,
        "schema_missing" | "schema_version" => Check::PostgresSchema,
        "not_permitted" => Check::PostgresRights,
        code => checkup::step(code).unwrap_or(Check::SinkLogin),
    }
}

fn encryption(site: &Site, survey: &Survey) -> Finding {
    let hint = "set `sslmode = \"verify-full\"` (and `tls.roots` for an authority of your own)";
    let unchecked = |message: &str| match survey.is_local() {
        true => Finding::ok(Check::SinkTls, message),
        false => Finding::warn(Check::SinkTls, message, hint.to_owned()),
    };
    match (site.address.sslmode, &site.address.tls.roots) {
        (SslMode::Disable, _) if site.address.is_on_unix_socket() => {
            Finding::ok(Check::SinkTls, "a Unix socket, which needs none")
        }
        (SslMode::Disable, _) => survey.plain(hint),
        (SslMode::Prefer, _) => {
            unchecked("encrypted only where the server offers it, whoever the server is")
        }
        (SslMode::Require, None) => unchecked("encrypted, whoever the server is"),
        (SslMode::VerifyCa, _) | (SslMode::Require, Some(_)) => Finding::ok(
            Check::SinkTls,
            "encrypted, with a server that a trusted authority signed for, under whatever name",
        ),
        (SslMode::VerifyFull, _) => Finding::ok(
            Check::SinkTls,
            "encrypted, and the server's certificate is accepted",
        ),
    }
}

/// What the link has not looked at already.
async fn inquire(site: &Site, link: &Link) -> Result<Vec<Finding>, SinkError> {
    let tables = &site.tables;
    let mut findings = vec![
        Finding::ok(Check::PostgresDatabase, format!("{}, UTF8", site.server)),
        Finding::ok(Check::PostgresWritable, "takes writes"),
        Finding::ok(
            Check::PostgresSchema,
            format!("{} of schema version {SCHEMA_VERSION}", tables.events),
        ),
    ];
    let tried = format!("planning to store events at {}", site.server);
    match row::rehearse(link.client(), tables).await {
        Ok(()) => findings.extend([
            Finding::ok(
                Check::PostgresRights,
                "may insert events and look for their keys",
            ),
            Finding::ok(
                Check::PostgresInsert,
                "the server would store events by their key",
            ),
        ]),
        Err(error) => {
            let error = refusal::of_question(&tried, &error, tables);
            let check = match error.code {
                "not_permitted" => Check::PostgresRights,
                _ => Check::PostgresInsert,
            };
            findings.push(Finding::of_error(check, error));
        }
    }
    let facts = Facts::ask(site, link).await?;
    findings.push(rows(&facts, &tables.events));
    findings.extend(commit(link, &facts));
    findings.extend(pooler(site, link));
    Ok(findings)
}

/// What the server says of the table and of itself.
struct Facts {
    hides_rows: bool,
    /// Triggers and rules, by name.
    on_the_way: String,
    syncs: bool,
}

impl Facts {
    async fn ask(site: &Site, link: &Link) -> Result<Self, SinkError> {
        const QUESTION: &str = "select row_security_active($1::regclass), \
            coalesce((select string_agg(name, ', ' order by name) from (\
            select tgname::text from pg_trigger where tgrelid = $1::regclass \
            and not tgisinternal and tgenabled <> 'D' union all \
            select rulename::text from pg_rewrite where ev_class = $1::regclass \
            and rulename <> '_RETURN') as found (name)), ''), \
            current_setting('fsync') = 'on'";
        let tried = format!("looking at {} at {}", site.tables.events, site.server);
        let failed = |error: Error| refusal::of_question(&tried, &error, &site.tables);
        let parameters: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 1] =
            [(&site.tables.events, Type::TEXT)];
        let answer = link
            .client()
            .query_typed(QUESTION, &parameters)
            .await
            .map_err(failed)?;
        let Some(row) = answer.first() else {
            return Err(SinkError::retry("bad_answer", format!("{tried}: no row")));
        };
        Ok(Self {
            hides_rows: row.try_get(0).map_err(failed)?,
            on_the_way: row.try_get(1).map_err(failed)?,
            syncs: row.try_get(2).map_err(failed)?,
        })
    }
}

fn rows(facts: &Facts, table: &str) -> Finding {
    if facts.hides_rows {
        let message = format!("row security decides what this user may insert and see in {table}");
        let hint = "let its policies show this user every row of this device: what cannot be \
                    found again counts as left out, and delivery halts";
        return Finding::warn(Check::PostgresRows, message, hint.to_owned());
    }
    if !facts.on_the_way.is_empty() {
        let message = format!("{table} has triggers or rules: {}", facts.on_the_way);
        let hint = "see that they neither drop an event nor change its key, or delivery halts";
        return Finding::warn(Check::PostgresRows, message, hint.to_owned());
    }
    Finding::ok(
        Check::PostgresRows,
        "no trigger, rule or row security stands in the way",
    )
}

fn commit(link: &Link, facts: &Facts) -> Vec<Finding> {
    let mut findings: Vec<Finding> = link
        .unmet
        .iter()
        .map(|unmet| {
            let message = "what is confirmed may not outlive a crash: no more than at least once";
            Finding::warn(Check::PostgresCommit, message, unmet.clone())
        })
        .collect();
    if !facts.syncs {
        let message = "a power cut of the server can take back what it confirmed (`fsync = off`)";
        let hint = "set `fsync = on` in the server's postgresql.conf";
        findings.push(Finding::warn(
            Check::PostgresCommit,
            message,
            hint.to_owned(),
        ));
    }
    if findings.is_empty() {
        findings.push(Finding::ok(
            Check::PostgresCommit,
            "what is confirmed outlives a crash of the server",
        ));
    }
    findings
}

/// A server that itself listens elsewhere has something before it. Of a Unix socket it cannot be
/// told.
fn pooler(site: &Site, link: &Link) -> Option<Finding> {
    if site.address.is_on_unix_socket() {
        return None;
    }
    let count = link.pipeline(site);
    if link.is_direct() {
        let message =
            format!("the server itself answers: statements on their way at once: {count}");
        return Some(Finding::ok(Check::PostgresPooler, message));
    }
    let listens = match link.listens {
        Some(at) => at.to_string(),
        None => "its Unix socket".to_owned(),
    };
    let message =
        format!("a pooler or a forwarded port stands between: the server listens at {listens}");
    Some(match count {
        1 => Finding::ok(Check::PostgresPooler, message),
        _ => Finding::warn(
            Check::PostgresPooler,
            message,
            "leave `pipeline` out if it is a pooler, which may mix up statements".to_owned(),
        ),
    })
}
