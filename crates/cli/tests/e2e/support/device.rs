//! A device that sends EdgeX events without pause.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::mqtt::{Letter, Publisher};

pub(crate) const TOPIC: &str = "edgex/events/device/device-press/Press/Press-4/Force";

/// So many events are sent at a time.
const BURST: usize = 50;
/// Between two bursts, so that a debug build keeps up.
const PAUSE: Duration = Duration::from_millis(20);

/// What the broker did not acknowledge is not sent again: only of the rest does anybody promise anything.
pub(crate) struct Device {
    acknowledged: Arc<Mutex<BTreeMap<String, Instant>>>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Device {
    pub(crate) fn start(broker: SocketAddr) -> Self {
        let acknowledged = Arc::<Mutex<BTreeMap<_, _>>>::default();
        let stop = CancellationToken::new();
        let task = tokio::spawn(send(broker, acknowledged.clone(), stop.clone()));
        Self { acknowledged, stop, task }
    }

    /// How many events the broker has acknowledged.
    pub(crate) fn sent(&self) -> usize {
        self.acknowledged.lock().unwrap().len()
    }

    /// Ends after the burst in hand and returns the ids of all acknowledged events.
    pub(crate) async fn stop(self) -> BTreeSet<String> {
        let now = Instant::now();
        self.stop_without(&(now..now)).await
    }

    /// The same without those that were acknowledged at such a time.
    pub(crate) async fn stop_without(self, time: &Range<Instant>) -> BTreeSet<String> {
        self.stop.cancel();
        self.task.await.unwrap();
        let acknowledged = std::mem::take(&mut *self.acknowledged.lock().unwrap());
        acknowledged.into_iter().filter(|(_, at)| !time.contains(at)).map(|(id, _)| id).collect()
    }
}

async fn send(
    broker: SocketAddr,
    acknowledged: Arc<Mutex<BTreeMap<String, Instant>>>,
    stop: CancellationToken,
) {
    while !stop.is_cancelled() {
        // It is away for a while in some tests.
        if let Ok(mut publisher) = Publisher::connect(broker).await {
            while !stop.is_cancelled() {
                let ids: Vec<_> = (0..BURST).map(|_| Uuid::new_v4().to_string()).collect();
                let events: Vec<_> = ids.iter().map(|id| event(id)).collect();
                let done = publisher.publish_and(&events, |index| {
                    acknowledged.lock().unwrap().insert(ids[index].clone(), Instant::now());
                });
                if done.await.is_err() {
                    break;
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// One event, in the request that EdgeX puts it in.
pub(crate) fn event(id: &str) -> Letter {
    let reading = json!({
        "id": Uuid::new_v4(), "origin": 1_764_500_000_123_456_789_u64, "deviceName": "Press-4",
        "resourceName": "Force", "profileName": "Press", "valueType": "Float32", "value": "2.15e+01",
    });
    let request = json!({
        "apiVersion": "v3", "requestId": Uuid::new_v4(),
        "event": {
            "apiVersion": "v3", "id": id, "deviceName": "Press-4", "profileName": "Press", "sourceName": "Force",
            "origin": 1_764_500_000_123_456_789_u64, "readings": [reading],
        },
    });
    Letter::new(TOPIC, request.to_string())
}
