//! A paho client on a thread of its own.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use paho_mqtt::{
    AsyncClient, ConnectOptions, CreateOptionsBuilder, Error, MqttVersion, PersistenceType,
    ServerResponse, Token,
};
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, timeout, timeout_at};
use tracing::warn;

/// For the broker's answer to a good-bye.
const GOODBYE: Duration = Duration::from_secs(1);
/// For paho to end an attempt to connect; it has a timeout of its own.
const GIVE_UP: Duration = Duration::from_mins(2);
/// More clients than this that are being made or ended mean that paho is held up; no more are made until it is not.
const MOST_WAITING: usize = 8;

/// How many threads wait for paho to make or end their client.
static WAITING: AtomicUsize = AtomicUsize::new(0);

/// What a client is made with.
#[derive(Debug, Clone)]
pub(crate) struct Make {
    pub(crate) uri: String,
    pub(crate) client_id: String,
    pub(crate) version: MqttVersion,
    /// How many messages paho takes before it refuses more.
    pub(crate) max_buffered: usize,
}

/// Every call of paho takes a lock that it holds while a message callback runs, which writes to disk. So no call is
/// made but on the thread of its client, and there is no way to the client but this. Dropping it ends the
/// client, on that thread, without a good-bye.
#[derive(Debug)]
pub(crate) struct Client {
    calls: mpsc::Sender<Call>,
    lost: watch::Sender<Option<String>>,
    gone: Gone,
    /// Goes to paho with the request to connect.
    connecting: Mutex<Option<mpsc::Sender<()>>>,
}

/// Resolves, with an error, when something is no more.
pub(crate) type Gone = watch::Receiver<()>;

enum Call {
    Run(Box<dyn FnOnce(&AsyncClient) + Send>),
    End,
}

impl Client {
    /// Makes a client and lets `prepare` install its callbacks. It is not connected yet.
    pub(crate) async fn start(
        make: Make,
        prepare: impl FnOnce(&AsyncClient) + Send + 'static,
    ) -> Result<Self, String> {
        if WAITING.load(Ordering::Relaxed) >= MOST_WAITING {
            return Err("the MQTT client library is held up; is the disk of the spool?".to_owned());
        }
        let (calls, received) = mpsc::channel();
        let lost = watch::Sender::new(None);
        let losing = lost.clone();
        let (going, gone) = watch::channel(());
        let (connecting, connect_ended) = mpsc::channel();
        let (report, told) = oneshot::channel();
        let run = move || {
            // Dropped last, which says that paho's client is no more.
            let _going = going;
            let waiting = Waiting::new();
            match create(make) {
                Ok(client) => {
                    drop(waiting);
                    watch_loss(&client, &losing);
                    prepare(&client);
                    // Whoever asked may be gone; then the calls end at once.
                    report.send(Ok(())).ok();
                    while let Ok(Call::Run(call)) = received.recv() {
                        call(&client);
                    }
                    let _waiting = Waiting::new();
                    destroy(client, &connect_ended);
                }
                Err(error) => drop(report.send(Err(error.to_string()))),
            }
        };
        thread::Builder::new()
            .name("mqtt-client".to_owned())
            .spawn(run)
            .map_err(|error| error.to_string())?;
        told.await.map_err(|_| "the client's thread failed".to_owned())??;
        Ok(Self { calls, lost, gone, connecting: Mutex::new(Some(connecting)) })
    }

    /// Runs a call on the client's thread, some time, or drops it if the client has ended.
    pub(crate) fn run(&self, call: impl FnOnce(&AsyncClient) + Send + 'static) {
        self.calls.send(Call::Run(Box::new(call))).ok();
    }

    /// Connects, once.
    pub(crate) async fn connect(
        &self,
        deadline: Instant,
        options: ConnectOptions,
    ) -> Result<ServerResponse, Error> {
        let connecting = self.connecting().ok_or(Error::Disconnected)?;
        let request = move |client: &AsyncClient| {
            // Neither does anything but hold it.
            let (done, failed) = (connecting.clone(), connecting);
            let done = move |_: &AsyncClient, _| _ = &done;
            let failed = move |_: &AsyncClient, _, _| _ = &failed;
            client.connect_with_callbacks(options, done, failed)
        };
        self.ask(deadline, request).await
    }

    fn connecting(&self) -> Option<mpsc::Sender<()>> {
        self.connecting.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Makes a request and waits for the broker's answer.
    pub(crate) async fn ask(
        &self,
        deadline: Instant,
        request: impl FnOnce(&AsyncClient) -> Token + Send + 'static,
    ) -> Result<ServerResponse, Error> {
        let (sent, token) = oneshot::channel();
        self.run(move |client| drop(sent.send(request(client))));
        let answer = async {
            match token.await {
                Ok(token) => token.await,
                Err(_) => Err(Error::Disconnected),
            }
        };
        timeout_at(deadline, answer).await.unwrap_or(Err(Error::Timeout))
    }

    /// Says why the connection was lost, when it is.
    pub(crate) fn lost(&self) -> watch::Receiver<Option<String>> {
        self.lost.subscribe()
    }

    /// Takes the connection for lost.
    pub(crate) fn lose(&self, reason: &str) {
        tell(&self.lost, reason.to_owned());
    }

    /// Ends the client without a good-bye; what is queued in it is never sent.
    pub(crate) fn end(&self) {
        drop(self.connecting());
        self.calls.send(Call::End).ok();
    }

    /// Says good-bye and ends the client, within a second or two unless paho is stuck.
    pub(crate) async fn close(&self) {
        let goodbye = |client: &AsyncClient| client.disconnect_after(GOODBYE);
        // An error means that the connection is closed already, which is what is wanted.
        self.ask(Instant::now() + GOODBYE, goodbye).await.ok();
        self.end();
        wait_for_end(self.gone.clone(), GOODBYE).await;
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.end();
    }
}

pub(crate) async fn wait_for_end(mut gone: Gone, at_most: Duration) {
    // The sender says nothing: it is dropped.
    timeout(at_most, gone.changed()).await.ok().transpose().ok();
}

/// No persistence: otherwise paho writes files where the process runs. No sending while disconnected: the outbox is the
/// only queue there is.
fn create(make: Make) -> Result<AsyncClient, Error> {
    keep_paho_running();
    CreateOptionsBuilder::new()
        .server_uri(make.uri)
        .client_id(make.client_id)
        .mqtt_version(make.version)
        .persistence(PersistenceType::None)
        .send_while_disconnected(false)
        .max_buffered_messages(i32::try_from(make.max_buffered).unwrap_or(i32::MAX))
        .create_client()
}

/// While paho tries to connect it holds the client, too. If it were the last to let go of it, it would destroy it under
/// its own lock, and wait for that lock for ever. So this thread is the last: what paho lets go of together with the
/// client, at the end of the attempt, is the other end of `connect_ended`.
fn destroy(client: AsyncClient, connect_ended: &mpsc::Receiver<()>) {
    match connect_ended.recv_timeout(GIVE_UP) {
        Ok(()) | Err(RecvTimeoutError::Disconnected) => drop(client),
        Err(RecvTimeoutError::Timeout) => {
            warn!("an attempt to connect does not end, its client is left behind");
            std::mem::forget(client);
        }
    }
}

/// Keeps a client that is never connected. With the last client paho ends its threads, waits for them, and races with
/// whoever makes the next one.
fn keep_paho_running() {
    static KEEPER: OnceLock<Option<AsyncClient>> = OnceLock::new();
    let keeper = CreateOptionsBuilder::new()
        .server_uri("tcp://127.0.0.1:1")
        .client_id("keeper")
        .persistence(PersistenceType::None);
    KEEPER.get_or_init(|| keeper.create_client().ok());
}

fn watch_loss(client: &AsyncClient, losing: &watch::Sender<Option<String>>) {
    let lost = losing.clone();
    client.set_connection_lost_callback(move |_| {
        tell(&lost, "the connection broke or the broker ended it".to_owned());
    });
    let ended = losing.clone();
    client.set_disconnected_callback(move |_, _, code| {
        tell(&ended, format!("closed by the broker: {code}"));
    });
}

/// The first reason stays.
fn tell(losing: &watch::Sender<Option<String>>, reason: String) {
    losing.send_if_modified(|lost| {
        let first = lost.is_none();
        lost.get_or_insert(reason);
        first
    });
}

/// Counts a thread that waits for paho.
struct Waiting;

impl Waiting {
    fn new() -> Self {
        WAITING.fetch_add(1, Ordering::Relaxed);
        Self
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        WAITING.fetch_sub(1, Ordering::Relaxed);
    }
}
