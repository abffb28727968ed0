//! The broker that every connection shares.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use postroad_envelope::BindingPattern;
use postroad_transport::{ConnectError, Outgoing};
use tokio::sync::Notify;
use tokio::sync::watch;

use crate::exchange::{Exchange, Lent};
use crate::link::Link;
use crate::{Fault, FaultPoint, Role};

/// A broker in this process. Clones are the same broker.
#[derive(Clone)]
pub struct Broker {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    faults: Mutex<Option<Faults>>,
    /// Told of every change of the state that a subscriber may wait for.
    changed: Notify,
}

type Faults = Box<dyn FnMut(FaultPoint<'_>) -> Option<Fault> + Send>;

pub(crate) struct State {
    pub(crate) exchange: Exchange,
    connections: BTreeMap<u64, Connection>,
    next_connection: u64,
    running: bool,
    /// Every message taken, where that is recorded.
    pub(crate) taken: Option<Vec<Outgoing>>,
    pub(crate) confirm_latency: Duration,
    pub(crate) confirm_timeout: Duration,
}

/// What the broker knows of a live connection.
pub(crate) struct Connection {
    ended: watch::Sender<Option<String>>,
    next_tag: u64,
    pub(crate) unacknowledged: BTreeMap<u64, Lent>,
}

impl Broker {
    /// A running broker without queues.
    pub fn new() -> Self {
        Self::with_log(None)
    }

    /// Like [`Self::new`], and keeps every message it takes for [`Self::taken`].
    pub fn recording() -> Self {
        Self::with_log(Some(Vec::new()))
    }

    fn with_log(taken: Option<Vec<Outgoing>>) -> Self {
        let state = State {
            exchange: Exchange::default(),
            connections: BTreeMap::new(),
            next_connection: 0,
            running: true,
            taken,
            confirm_latency: Duration::ZERO,
            confirm_timeout: Duration::from_mins(1),
        };
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new(state),
                faults: Mutex::new(None),
                changed: Notify::new(),
            }),
        }
    }

    /// Asks `faults` at every [`FaultPoint`] from now on. It may use the broker, except for this method.
    pub fn set_faults(&self, faults: impl FnMut(FaultPoint<'_>) -> Option<Fault> + Send + 'static) {
        *lock(&self.shared.faults) = Some(Box::new(faults));
    }

    /// No more faults.
    pub fn clear_faults(&self) {
        *lock(&self.shared.faults) = None;
    }

    /// How long a confirm takes from now on; zero at first.
    pub fn set_confirm_latency(&self, latency: Duration) {
        self.state().confirm_latency = latency;
    }

    /// How long a publisher waits for a confirm that never comes before it gives its connection up; a minute at first.
    pub fn set_confirm_timeout(&self, timeout: Duration) {
        self.state().confirm_timeout = timeout;
    }

    /// Makes the queue where there is none, and binds it.
    pub fn declare(&self, queue: &str, bindings: &[BindingPattern]) {
        self.state().exchange.declare(queue, bindings);
    }

    /// Ends every connection. What they had not acknowledged is back in its queues when this returns.
    pub fn disconnect_all(&self) {
        self.end_all("disconnected by the broker");
    }

    /// Ends every connection and takes no new one until [`Self::start`]. Queues keep what they hold.
    pub fn stop(&self) {
        self.state().running = false;
        self.end_all("the broker stopped");
    }

    /// Takes connections again.
    pub fn start(&self) {
        self.state().running = true;
    }

    /// How many messages wait in the queue, without those that are handed out.
    pub fn depth(&self, queue: &str) -> usize {
        self.state().exchange.depth(queue)
    }

    /// How many messages of the queue are handed out and not acknowledged.
    pub fn unacknowledged(&self, queue: &str) -> usize {
        self.state().exchange.unacknowledged(queue)
    }

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        self.state().connections.len()
    }

    /// Every message taken so far, in order, with those that no queue was bound for; empty unless the broker is
    /// [`Self::recording`].
    pub fn taken(&self) -> Vec<Outgoing> {
        self.state().taken.clone().unwrap_or_default()
    }

    pub(crate) fn connect(
        &self,
        queue: &str,
        bindings: &[BindingPattern],
    ) -> Result<Link, ConnectError> {
        let mut state = self.state();
        if !state.running {
            return Err(ConnectError::Unreachable("the broker is stopped".to_owned()));
        }
        state.exchange.declare(queue, bindings);
        state.next_connection += 1;
        let id = state.next_connection;
        let (ended, watch) = watch::channel(None);
        state
            .connections
            .insert(id, Connection { ended, next_tag: 0, unacknowledged: BTreeMap::new() });
        drop(state);
        Ok(Link::new(self.clone(), id, watch))
    }

    /// Ends one connection, if it has not ended yet.
    pub(crate) fn end(&self, id: u64, reason: &str) {
        if let Some(connection) = self.state().remove(id) {
            connection.ended.send_replace(Some(reason.to_owned()));
            self.shared.changed.notify_waiters();
        }
    }

    fn end_all(&self, reason: &str) {
        let ids: Vec<u64> = self.state().connections.keys().copied().collect();
        for id in ids {
            self.end(id, reason);
        }
    }

    /// The fault that is wanted here, after its delay.
    pub(crate) async fn fault(&self, point: FaultPoint<'_>) -> Option<Fault> {
        let fault = lock(&self.shared.faults).as_mut().and_then(|faults| faults(point));
        if let Some(Fault::Delay(delay)) = fault {
            tokio::time::sleep(delay).await;
        }
        fault
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.shared.state)
    }

    pub(crate) fn changed(&self) -> &Notify {
        &self.shared.changed
    }
}

impl State {
    pub(crate) fn connection(&mut self, id: u64) -> Option<&mut Connection> {
        self.connections.get_mut(&id)
    }

    /// Hands the head of the queue to the connection.
    pub(crate) fn deliver(
        &mut self,
        id: u64,
        queue: &str,
    ) -> Option<(u64, postroad_transport::Incoming)> {
        let connection = self.connections.get_mut(&id)?;
        let lent = self.exchange.lend(queue)?;
        let message = lent.message.clone();
        connection.next_tag += 1;
        connection.unacknowledged.insert(connection.next_tag, lent);
        Some((connection.next_tag, message))
    }

    /// Settles every delivery of the connection through `tag`.
    pub(crate) fn settle_through(&mut self, id: u64, tag: u64) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let rest = connection.unacknowledged.split_off(&(tag + 1));
        for lent in std::mem::replace(&mut connection.unacknowledged, rest).values() {
            self.exchange.settle(lent);
        }
    }

    fn remove(&mut self, id: u64) -> Option<Connection> {
        let mut connection = self.connections.remove(&id)?;
        for lent in std::mem::take(&mut connection.unacknowledged).into_values() {
            self.exchange.give_back(lent);
        }
        Some(connection)
    }
}

impl Default for Broker {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker").field("connections", &self.connections()).finish_non_exhaustive()
    }
}

impl Role {
    /// The error of a connection that `fault` hit.
    pub(crate) fn connect_error(self, fault: Fault) -> Option<ConnectError> {
        match fault {
            Fault::Refuse => {
                Some(ConnectError::Rejected(format!("{self:?} turned away on demand")))
            }
            Fault::Disconnect => {
                Some(ConnectError::Unreachable(format!("nobody answers the {self:?} on demand")))
            }
            Fault::DropConfirm | Fault::Duplicate | Fault::Delay(_) => None,
        }
    }
}

/// No state is left half changed by a panic, so a poisoned lock is a good one.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
