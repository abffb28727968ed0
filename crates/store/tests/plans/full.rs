//! A database that is full.

use std::future::Future;

use postroad_store::{Database, connect, hot};
use postroad_worker_core::{Outcome, Settlement};
use sea_orm::{ConnectionTrait, DbBackend, Statement};
use uuid::Uuid;

/// Rows that are not due.
const OTHERS: u32 = 999_000;
/// Rows that are: new ones, ones to be tried again, and ones with an ordering key.
pub(crate) const DUE: [u32; 3] = [400, 300, 300];
/// What was received before.
const RECEIVED: u32 = 100_000;
/// Rows a claim.
pub(crate) const LIMIT: usize = 500;
pub(crate) const TOKEN: &str = "5c0e3a55-0e5c-4f6c-9d5c-000000000001";

/// What the rows are that are not due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Sent long ago.
    Published,
    /// To be tried again some day.
    Waiting,
    /// Half of each, where the plan does not depend on how many there are.
    Mixed,
}

/// A database with as many rows as there may be.
pub(crate) struct Full {
    pub(crate) database: Database,
}

impl Full {
    /// Makes tables and rows.
    pub(crate) async fn new(url: &str, shape: Shape) -> Self {
        let full = Self { database: connect(url).await.unwrap() };
        postroad_migration::up(full.database.connection()).await.unwrap();
        full.fill(shape).await;
        full
    }

    async fn fill(&self, shape: Shape) {
        let (status, retry) = match shape {
            Shape::Published => ("'published'", "NULL".to_owned()),
            Shape::Waiting => ("'pending'", self.in_future("n")),
            Shape::Mixed => {
                ("CASE n % 2 WHEN 0 THEN 'pending' ELSE 'published' END", self.in_future("n"))
            }
        };
        // Ids in order: into the index of random ones a million rows go slowly.
        let insert = |first: u32, columns: &str, values: &str, rows: u32| {
            format!(
                "INSERT INTO outbound_event (id, topic, payload{columns}) \
                 SELECT {}, 'event.a.b.c', '1'{values} FROM {}",
                self.id(first),
                self.numbers(rows)
            )
        };
        let base = format!(", {status}, {retry}");
        self.execute(&insert(0, ", status, next_retry_at", &base, OTHERS)).await;
        let [new, again, keyed] = DUE;
        self.execute(&insert(2_000_000, "", "", new)).await;
        let past = format!(", 1, {}", self.past());
        self.execute(&insert(3_000_000, ", retry_count, next_retry_at", &past, again)).await;
        let key = if self.is_mysql() { ", concat('k', n)" } else { ", 'k' || n" };
        self.execute(&insert(4_000_000, ", ordering_key", key, keyed)).await;
        let received = format!(
            "INSERT INTO inbound_dedupe (dedupe_key, payload_digest, inbound_id, config_key) \
             SELECT {digest}, {digest}, {id}, 'default' FROM {numbers}",
            digest = self.digest(),
            id = self.id(0),
            numbers = self.numbers(RECEIVED),
        );
        self.execute(&received).await;
        let kept = format!(
            "INSERT INTO inbound_event (id, message_id, topic, message_type, payload, status) \
             SELECT {}, 'm', 'event.a.b.c', 'event', '1', 'processed' FROM {}",
            self.id(0),
            self.numbers(RECEIVED)
        );
        self.execute(&kept).await;
    }

    /// Statements that settle so many claimed rows of each kind of outcome.
    pub(crate) fn settle(&self, rows: &[i64]) -> Vec<Statement> {
        let outcomes = [
            Outcome::Published,
            Outcome::Failed("no".to_owned()),
            Outcome::Released(Some("stopped".to_owned())),
        ];
        let settlements: Vec<_> = rows
            .iter()
            .zip(outcomes.iter().cycle())
            .map(|(seq, outcome)| Settlement { seq: *seq, outcome: outcome.clone() })
            .collect();
        let statements = hot::settle(&self.database, TOKEN, &settlements);
        assert_eq!(statements.len(), 3);
        statements
    }

    /// Statements of a batch of which half came before.
    pub(crate) fn dedupe(&self) -> Vec<Statement> {
        let keys: Vec<_> = (RECEIVED - 100..RECEIVED + 100).map(|n| format!("{n:064x}")).collect();
        hot::dedupe(&self.database, "default", &keys, &Uuid::nil().to_string())
    }

    /// Statements of a batch that cleans up.
    pub(crate) fn cleanup(&self) -> Vec<Statement> {
        let keys: Vec<_> = (1..=200).map(|n| format!("{n:064x}")).collect();
        let rows: Vec<_> = (1..=i64::try_from(LIMIT).unwrap()).collect();
        hot::cleanup(&self.database, "default", &rows, &keys)
    }

    pub(crate) async fn execute(&self, sql: &str) {
        let done = self.database.connection().execute_unprepared(sql).await;
        done.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    fn backend(&self) -> DbBackend {
        self.database.connection().get_database_backend()
    }

    fn is_mysql(&self) -> bool {
        self.backend() == DbBackend::MySql
    }

    fn is_postgres(&self) -> bool {
        self.backend() == DbBackend::Postgres
    }

    /// A table of numbers from 1 on, in its column `n`.
    fn numbers(&self, last: u32) -> String {
        if self.is_mysql() {
            format!("(SELECT seq AS n FROM seq_1_to_{last}) AS t")
        } else if self.is_postgres() {
            format!("generate_series(1, {last}) AS t (n)")
        } else {
            format!(
                "(WITH RECURSIVE r (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < {last}) SELECT n FROM r)"
            )
        }
    }

    /// The id of row `first + n`.
    fn id(&self, first: u32) -> String {
        if self.is_mysql() {
            format!("lpad({first} + n, 36, '0')")
        } else if self.is_postgres() {
            format!("lpad(({first} + n)::text, 32, '0')::uuid")
        } else {
            format!("printf('%036d', {first} + n)")
        }
    }

    /// A digest of 32 bytes that ends in `n`.
    fn digest(&self) -> &'static str {
        if self.is_mysql() {
            "unhex(lpad(hex(n), 64, '0'))"
        } else if self.is_postgres() {
            "decode(lpad(to_hex(n), 64, '0'), 'hex')"
        } else {
            "unhex(printf('%064x', n))"
        }
    }

    fn in_future(&self, seconds: &str) -> String {
        if self.is_mysql() {
            format!("'2100-01-01' + INTERVAL {seconds} SECOND")
        } else if self.is_postgres() {
            format!("timestamptz '2100-01-01' + {seconds} * interval '1 second'")
        } else {
            format!("strftime('%Y-%m-%dT%H:%M:%fZ', 4102444800 + {seconds}, 'unixepoch')")
        }
    }

    fn past(&self) -> &'static str {
        if self.is_mysql() {
            "utc_timestamp(6) - INTERVAL 1 MINUTE"
        } else if self.is_postgres() {
            "now() - interval '1 minute'"
        } else {
            "strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-60 seconds')"
        }
    }
}

/// Runs a check on each shape in a database of a server, and drops that whatever comes of it.
pub(crate) async fn in_new_database<F>(variable: &str, check: fn(String, Shape) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let admin_url = std::env::var(variable).unwrap_or_else(|_| panic!("{variable} is set"));
    let admin = connect(&admin_url).await.unwrap();
    let (server, _) = admin_url.rsplit_once('/').expect("the URL ends in a database's name");
    for shape in [Shape::Published, Shape::Waiting] {
        let name = format!("postroad_{}", Uuid::new_v4().simple());
        admin.connection().execute_unprepared(&format!("CREATE DATABASE {name}")).await.unwrap();
        let outcome = tokio::spawn(check(format!("{server}/{name}"), shape)).await;
        admin.connection().execute_unprepared(&format!("DROP DATABASE {name}")).await.unwrap();
        outcome.unwrap();
    }
    admin.close().await;
}
