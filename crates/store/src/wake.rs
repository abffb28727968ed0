//! Hints that rows were written to an outbox.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, OnceLock};
use std::time::Duration;

use postroad_worker_core::{Hint, StoreError};
use sea_orm::ConnectionTrait;
use sea_orm::sqlx;
use sea_orm::sqlx::postgres::{PgListener, PgPool};
use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use crate::Database;
use crate::dialect::Dialect;
use crate::fault::ask;
use crate::wake_sqlite::Watcher;

/// What the trigger of the outbox notifies.
const CHANNEL: &str = "postroad_outbox";
/// A notification of our own that is not back after this is lost.
const ECHO: Duration = Duration::from_secs(5);
/// How often one is sent, to know that notifications come through.
const ECHO_INTERVAL: Duration = Duration::from_mins(1);
/// Between attempts to listen.
pub(crate) const RETRY: Duration = Duration::from_secs(10);

/// Counts rows that this process wrote, to whatever database: by the time the worker looks, most are committed.
static WRITTEN: LazyLock<watch::Sender<u64>> = LazyLock::new(|| watch::Sender::new(0));

/// This process wrote a row of some outbox, or made one due.
pub(crate) fn written() {
    WRITTEN.send_modify(|count| *count += 1);
}

/// Rows became due by a change: tells the workers, those of other processes where they can be told.
pub(crate) async fn announce(database: &Database) -> Result<(), StoreError> {
    written();
    if database.postgres_pool().is_some() {
        let notify = format!("NOTIFY {CHANNEL}");
        ask(database.connection().execute_unprepared(&notify)).await?;
    }
    Ok(())
}

/// What wakes the relay of one store.
#[derive(Debug)]
pub(crate) struct Wake {
    own: Mutex<watch::Receiver<u64>>,
    notified: Mutex<watch::Receiver<u64>>,
    notify: watch::Sender<u64>,
    /// Whether notifications come through.
    is_told: Arc<AtomicBool>,
    listening: OnceLock<AbortOnDropHandle<()>>,
}

impl Default for Wake {
    fn default() -> Self {
        let notify = watch::Sender::new(0);
        Self {
            own: Mutex::new(WRITTEN.subscribe()),
            notified: Mutex::new(notify.subscribe()),
            notify,
            is_told: Arc::default(),
            listening: OnceLock::new(),
        }
    }
}

impl Wake {
    pub(crate) fn is_told(&self) -> bool {
        self.is_told.load(Ordering::Relaxed)
    }

    /// Ends when there is a hint that was not heard yet. The first call begins to listen, where the database can be
    /// listened to.
    pub(crate) async fn hint(&self, database: &Database) -> Hint {
        self.listen(database);
        let (mut own, mut notified) = (self.own.lock().await, self.notified.lock().await);
        tokio::select! {
            // Neither sender is ever dropped before.
            _ = own.changed() => Hint::Written,
            _ = notified.changed() => match database.dialect() {
                Dialect::Sqlite => Hint::Committed,
                // A row of an ordering key may have to wait for another transaction.
                Dialect::Postgres | Dialect::MySql => Hint::Written,
            }
        }
    }

    fn listen(&self, database: &Database) {
        let (notify, is_told) = (&self.notify, &self.is_told);
        if let Some(pool) = database.postgres_pool() {
            self.listening.get_or_init(|| {
                let listener = Listener { notify: notify.clone(), is_told: Arc::clone(is_told) };
                AbortOnDropHandle::new(tokio::spawn(listener.run(pool.clone())))
            });
        } else if self.listening.get().is_none()
            && let Some(file) = database.sqlite_file()
        {
            self.listening.get_or_init(|| {
                let watcher = Watcher { notify: notify.clone(), is_told: Arc::clone(is_told) };
                AbortOnDropHandle::new(tokio::spawn(watcher.run(file)))
            });
        }
    }
}

struct Listener {
    notify: watch::Sender<u64>,
    is_told: Arc<AtomicBool>,
}

impl Listener {
    /// Listens for ever, on a connection of its own.
    async fn run(self, pool: PgPool) {
        let mut was_told = true;
        loop {
            let why = match self.listen(&pool, &mut was_told).await {
                Ok(()) => {
                    "a notification of our own did not come back: a pooler in between?".to_owned()
                }
                Err(error) => error.to_string(),
            };
            self.is_told.store(false, Ordering::Relaxed);
            if was_told {
                tracing::warn!(
                    error = why,
                    "no notifications from the database, polling for new rows"
                );
                was_told = false;
            }
            sleep(RETRY).await;
        }
    }

    /// Returns where notifications do not come through.
    async fn listen(&self, pool: &PgPool, was_told: &mut bool) -> Result<(), sqlx::Error> {
        let mut listener = PgListener::connect_with(pool).await?;
        listener.listen(CHANNEL).await?;
        loop {
            let token = Uuid::new_v4().to_string();
            let echo = sqlx::query("SELECT pg_notify($1, $2)").bind(CHANNEL).bind(&token);
            timeout(ECHO, echo.execute(pool)).await.map_err(|_| sqlx::Error::PoolTimedOut)??;
            if !self.hear(&mut listener, Some(&token), ECHO).await? {
                return Ok(());
            }
            if !self.is_told.swap(true, Ordering::Relaxed) && !*was_told {
                tracing::info!("notifications from the database again");
                *was_told = true;
            }
            self.hear(&mut listener, None, ECHO_INTERVAL).await?;
        }
    }

    /// Passes hints on for so long, or until `token` comes back; whether it did.
    async fn hear(
        &self,
        listener: &mut PgListener,
        token: Option<&str>,
        time: Duration,
    ) -> Result<bool, sqlx::Error> {
        let until = Instant::now() + time;
        while let Ok(notification) = timeout_at(until, listener.try_recv()).await {
            let Some(notification) = notification? else { return Err(sqlx::Error::WorkerCrashed) };
            if Some(notification.payload()) == token {
                return Ok(true);
            }
            // Another worker's token has a payload, the trigger's hints have none.
            if notification.payload().is_empty() {
                self.notify.send_modify(|count| *count += 1);
            }
        }
        Ok(false)
    }
}
