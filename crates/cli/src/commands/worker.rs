//! `postroad worker`.

use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use postroad_migration::SchemaState;
use postroad_store::config::{Config, load};
use postroad_store::health::{self, Unfit};
use postroad_store::{Database, SqlStore};
use postroad_transport::Transport;
use postroad_transport_memory::Broker;
use postroad_worker_core::{
    Backoff, Codec, Counts, EnvelopeCodec, Settings, StoreError, Worker as Engine, WorkerIdentity,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::args::{Way, Worker};
use crate::mqtt::MqttCodec;
use crate::seat::Seat;
use crate::{signals, transports};

/// Between looks at a database that is down, or at a config that is not active.
const PAUSE: Duration = Duration::from_secs(1);
/// Each may hold a socket and a window of messages.
const MOST_ABANDONED: u64 = 50;

pub(crate) async fn run(args: &Worker, database_url: &str) -> Result<ExitCode> {
    let stop = signals::stop_token()?;
    let database = postroad_store::connect(database_url).await?;
    let runner = Runner {
        args,
        database,
        identity: identity(),
        broker: Broker::new(),
        counted: Mutex::default(),
        stop,
    };
    while let Some(config) = runner.next_config().await? {
        runner.work(&config).await?;
    }
    Ok(ExitCode::SUCCESS)
}

struct Runner<'a> {
    args: &'a Worker,
    database: Database,
    identity: WorkerIdentity,
    /// Lives as long as the process, so that a changed config loses nothing that is in its queue.
    broker: Broker,
    /// By all configs up to now: they are the process's.
    counted: Mutex<Counts>,
    stop: CancellationToken,
}

impl Runner<'_> {
    /// The config to work by, as soon as the database is up and the config active; `None` when stopped before.
    async fn next_config(&self) -> Result<Option<Config>> {
        let mut said = None;
        while !self.stop.is_cancelled() {
            let (obstacle, error) = match self.look().await? {
                Ok(config) if config.runtime.is_active => return Ok(Some(config)),
                Ok(_) => ("config is not active, waiting for `postroad config activate`", None),
                Err(StoreError::Unavailable(error)) => {
                    ("database not available, trying again until it is", Some(error.to_string()))
                }
                Err(error) => return Err(error.into()),
            };
            let news = Some((obstacle, error));
            if said != news {
                let error = news.as_ref().and_then(|(_, error)| error.as_deref());
                tracing::warn!(config_key = %self.args.config_key, error, "{obstacle}");
                said = news;
            }
            tokio::select! {
                () = self.stop.cancelled() => {}
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
        Ok(None)
    }

    /// `Err` inside: of the database; outside: nothing that waiting mends.
    async fn look(&self) -> Result<std::result::Result<Config, StoreError>> {
        if let Err(error) = self.database.ping().await {
            return Ok(Err(error));
        }
        match health::require(&self.database).await {
            Ok(()) => {}
            Err(Unfit::Store(error)) => return Ok(Err(error)),
            Err(unfit) => return Err(unfit.into()),
        }
        match postroad_migration::schema_state(self.database.connection()).await {
            Ok(SchemaState::Current) => {}
            Ok(state @ SchemaState::TooNew { .. }) => bail!("{state}: upgrade postroad"),
            Ok(state) => bail!("{state}: run `postroad migrate up`"),
            // It answered a moment ago; ask again.
            Err(error) => return Ok(Err(StoreError::Unavailable(error.into()))),
        }
        let key = &self.args.config_key;
        match self.load().await {
            Ok(Some(config)) => Ok(Ok(config)),
            Ok(None) => Err(anyhow!(
                "there is no config `{key}`: `postroad config import FILE.toml` makes one, `postroad config list` shows all"
            )),
            Err(error) => Ok(Err(error)),
        }
    }

    async fn load(&self) -> std::result::Result<Option<Config>, StoreError> {
        load(&self.database, &self.args.config_key).await
    }

    /// Works by one config until it changes or the worker is stopped.
    async fn work(&self, config: &Config) -> Result<()> {
        // Before the transport reads it, so that what is exchanged meanwhile is noticed.
        let password = password(config);
        match self.broker_type(config) {
            "memory" => {
                let broker = self.broker.clone();
                let transport = transports::memory(broker, &config.runtime, &config.rabbitmq)?;
                self.work_over(config, password, transport, EnvelopeCodec).await
            }
            "rabbitmq" => {
                let transport = transports::rabbitmq(&config.runtime, &config.rabbitmq)?;
                self.work_over(config, password, transport, EnvelopeCodec).await
            }
            "mqtt" => {
                let seat = Seat::take(&config.runtime.config_key, &config.mqtt)?;
                let transport = transports::mqtt(&config.runtime, &config.mqtt, &seat)?;
                let codec = MqttCodec { base_prefix: config.mqtt.edgex_base_prefix.clone() };
                self.work_over(config, password, transport, codec).await
            }
            other => bail!("there is no broker type `{other}`: use rabbitmq, mqtt or memory"),
        }
    }

    async fn work_over<T: Transport, C: Codec>(
        &self,
        config: &Config,
        password: Option<String>,
        transport: T,
        codec: C,
    ) -> Result<()> {
        let key = config.runtime.config_key.as_str();
        let stop = self.stop.child_token();
        let store = SqlStore::new(self.database.clone(), key)
            .delete_on_publish(config.runtime.delete_on_publish);
        let settings = self.settings(config)?;
        let goes_on = Arc::clone(&settings.goes_on);
        let worker = Engine {
            store: Arc::new(store),
            transport: Arc::new(transport),
            codec: Arc::new(codec),
            settings,
            identity: self.identity.clone(),
        };
        let worker = async {
            let counted = worker.run(stop.clone()).await;
            *self.counted.lock().unwrap_or_else(PoisonError::into_inner) = counted;
        };
        tokio::pin!(worker);
        tokio::select! {
            () = &mut worker => Ok(()),
            is_active = self.changed(config, password) => {
                tracing::info!(config_key = key, "config changed");
                goes_on.store(is_active, Ordering::Relaxed);
                stop.cancel();
                tokio::select! {
                    () = &mut worker => {}
                    () = self.stop.cancelled() => {
                        goes_on.store(false, Ordering::Relaxed);
                        worker.await;
                    }
                }
                Ok(())
            }
            abandoned = too_many_abandoned() => {
                stop.cancel();
                worker.await;
                bail!("{abandoned} broken broker connections cannot be closed: start the worker anew")
            }
        }
    }

    /// Waits until the stored config is another one than `config`, and one that can be worked by; whether it is active.
    /// A password in a file or the environment is a part of it; while that cannot be read, the one there was goes on.
    async fn changed(&self, config: &Config, used: Option<String>) -> bool {
        let mut complained_of = None;
        loop {
            let interval = config.runtime.heartbeat_interval_seconds;
            tokio::time::sleep(Duration::from_secs(interval.into())).await;
            // A database that is down is the engine's to tell; a config that was deleted ends the work too.
            let Ok(now) = self.load().await else { continue };
            if now.as_ref() == Some(config) {
                match password(config) {
                    password @ Some(_) if password != used => {
                        tracing::info!("the password is another one now");
                        return config.runtime.is_active;
                    }
                    _ => continue,
                }
            }
            if now == complained_of {
                continue;
            }
            match now.as_ref().map_or(Ok(()), |now| self.check(now)) {
                Ok(()) => return now.is_some_and(|now| now.runtime.is_active),
                Err(error) => {
                    let error = format!("{error:#}");
                    tracing::error!(%error, "the changed config cannot be used, going on with the one before");
                    complained_of = now;
                }
            }
        }
    }

    /// Whether a worker could start by this config.
    fn check(&self, config: &Config) -> Result<()> {
        transports::check(config, self.broker_type(config))
    }

    fn broker_type<'c>(&self, config: &'c Config) -> &'c str {
        match self.args.broker_type {
            Some(given) => given.as_str(),
            None => &config.runtime.broker_type,
        }
    }

    fn settings(&self, config: &Config) -> Result<Settings> {
        let runtime = &config.runtime;
        let seconds = |value: u32| Duration::from_secs(value.into());
        let wanted = |way| self.args.only.is_none_or(|only| only == way);
        Ok(Settings {
            limits: postroad_envelope::Limits {
                max_message_bytes: runtime.max_message_bytes as usize,
                max_chain_depth: runtime.max_chain_depth,
            },
            outbound: runtime.outbound_enabled && wanted(Way::Outbound),
            inbound: runtime.inbound_enabled && wanted(Way::Inbound),
            batch_size: runtime.batch_size as usize,
            lease: Duration::from_secs(self.args.lease_seconds),
            poll_interval: Duration::from_millis(runtime.poll_interval_ms.into()),
            reconnect_interval: seconds(runtime.retry_interval_seconds),
            heartbeat_interval: seconds(runtime.heartbeat_interval_seconds),
            max_retry_count: runtime.max_retry_count,
            backoff: Backoff::new(
                seconds(runtime.retry_backoff_base_seconds),
                seconds(runtime.retry_backoff_max_seconds),
            ),
            grace: Duration::from_secs(self.args.grace_seconds),
            seed: Uuid::new_v4().as_u64_pair().0,
            counted: *self.counted.lock().unwrap_or_else(PoisonError::into_inner),
            ..Settings::new(runtime.config_key.as_str(), transports::service(runtime)?)
        })
    }
}

/// As it is now; `None` where there is none, or it cannot be read.
fn password(config: &Config) -> Option<String> {
    config.runtime.password.as_ref()?.resolve().ok()
}

/// Waits until connections that were given up, and that the client library cannot let go of, have become too many for
/// this process. A supervisor that starts it anew is the cure.
async fn too_many_abandoned() -> u64 {
    loop {
        tokio::time::sleep(PAUSE).await;
        let abandoned = postroad_transport_amqp::abandoned_connections();
        if abandoned >= MOST_ABANDONED {
            return abandoned;
        }
    }
}

fn identity() -> WorkerIdentity {
    WorkerIdentity {
        id: Uuid::now_v7().to_string(),
        host: gethostname::gethostname().to_string_lossy().into_owned(),
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}
