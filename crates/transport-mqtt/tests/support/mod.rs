//! A fresh place at the MQTT broker that `POSTROAD_TEST_MQTT_URL` names, behind a proxy.

#![allow(dead_code, reason = "each test file uses its part")]
#![allow(
    clippy::allow_attributes,
    reason = "what one test file uses, another does not, so `expect` cannot hold"
)]

use std::net::{SocketAddr, ToSocketAddrs};

use postroad_tls::testing::{Flaw, Pki};
use postroad_transport::testing::{BINDINGS, PREFETCH, Proxy, Rig, event};
use postroad_transport::{Outgoing, Subscriber, Transport};
use postroad_transport_mqtt::{MqttSettings, MqttSubscriber, MqttTransport};
use tempfile::TempDir;
use tokio::sync::Mutex;
use uuid::Uuid;

pub(crate) mod broker;
pub(crate) mod prefixed;
pub(crate) mod raw;

use broker::Broker;
use prefixed::Prefixed;

/// A session and topics of its own. The transport connects through the proxy.
pub(crate) struct Place {
    pub(crate) proxy: Proxy,
    pub(crate) settings: MqttSettings,
    pub(crate) transport: Prefixed,
    /// Fetches into the spool until the test has a subscriber of its own, which takes over. Mosquitto with durable
    /// settings takes very long to keep thousands of messages for somebody who is away.
    fetching: Mutex<Option<MqttSubscriber>>,
    _folder: TempDir,
    _own: Option<(Broker, Pki)>,
}

impl Place {
    pub(crate) async fn new(protocol_version: u8) -> Self {
        Self::at(broker_address(), |settings| settings.protocol_version = protocol_version).await
    }

    /// At this broker, with settings changed. The session is there when this returns, as it is everywhere but at the
    /// very first connection.
    pub(crate) async fn at(broker: SocketAddr, change: impl FnOnce(&mut MqttSettings)) -> Self {
        let place = Self::unvisited(broker, change).await;
        place.fetch().await;
        place
    }

    /// At RabbitMQ's MQTT plugin, by MQTT 3.1.1.
    pub(crate) async fn at_rabbitmq(change: impl FnOnce(&mut MqttSettings)) -> Self {
        let plugin = Account::at_rabbitmq();
        Self::at(plugin.broker, |settings| {
            settings.protocol_version = 4;
            settings.username = Some(plugin.user);
            settings.password = Some(plugin.password.into());
            change(settings);
        })
        .await
    }

    /// At a Mosquitto of its own, by TLS and with certificates on both sides.
    pub(crate) async fn by_tls() -> Self {
        let pki = Pki::new();
        let lines = "require_certificate true\nmax_queued_messages 0\nmax_inflight_messages 100";
        let broker = Broker::by_tls(&pki, &pki.server(Flaw::None), lines);
        let tls = pki.appearing_as(&pki.client("suite"));
        let place = Self::at(broker.address, |settings| settings.tls = Some(tls)).await;
        Self { _own: Some((broker, pki)), ..place }
    }

    async fn fetch(&self) {
        self.transport.fetching();
        let fetching = self.transport.inner.connect_subscriber().await.unwrap();
        *self.fetching.lock().await = Some(fetching);
    }

    /// The same before the first connection.
    pub(crate) async fn unvisited(
        broker: SocketAddr,
        change: impl FnOnce(&mut MqttSettings),
    ) -> Self {
        let proxy = Proxy::start(broker).await.unwrap();
        let folder = TempDir::new().unwrap();
        let name = format!("suite-{}", Uuid::new_v4());
        let mut settings = MqttSettings {
            hosts: vec![(proxy.addr().ip().to_string(), proxy.addr().port())],
            client_id: name.clone(),
            inbound_topics: BINDINGS.map(|binding| prefixed::there(&name, binding)).to_vec(),
            prefetch: PREFETCH,
            spool_dir: folder.path().join("spool"),
            ..MqttSettings::default()
        };
        change(&mut settings);
        let transport = Prefixed::new(MqttTransport::new(settings.clone()).unwrap(), &name);
        Self { proxy, settings, transport, fetching: Mutex::default(), _folder: folder, _own: None }
    }

    /// A transport to the same place by other settings, with a spool of its own.
    pub(crate) fn changed(&self, change: impl FnOnce(&mut MqttSettings)) -> Prefixed {
        let mut settings = self.settings.clone();
        settings.spool_dir = settings.spool_dir.with_file_name(Uuid::new_v4().to_string());
        let name = settings.client_id.clone();
        change(&mut settings);
        Prefixed::new(MqttTransport::new(settings).unwrap(), &name)
    }
}

impl Rig for Place {
    type Transport = Prefixed;

    const CARRIES_PROPERTIES: bool = false;
    const ACKNOWLEDGES_AFTER_LOSS: bool = true;

    fn transport(&self) -> &Prefixed {
        &self.transport
    }

    async fn sever(&self) {
        self.proxy.cut();
    }

    /// What the broker has comes into the spool when somebody is connected.
    async fn depth(&self) -> usize {
        if self.transport.needs_fetching() {
            self.fetch().await;
        }
        let depth = self.transport.settled().await;
        usize::try_from(depth).unwrap() - self.transport.handed_out()
    }

    async fn clean_up(self) {
        drop(self.fetching.lock().await.take());
        let forgetful = self.changed(|settings| {
            (settings.clean_session, settings.allow_clean_session) = (true, true);
        });
        forgetful.inner.connect_subscriber().await.unwrap().close().await;
    }

    fn unsendable(&self) -> Vec<Outgoing> {
        let topics = ["", "a/+/b", "a/#", "a\0b", "a\u{fffe}b", "a\u{7f}b"];
        let mut messages: Vec<_> = topics.into_iter().map(event).collect();
        messages.push(event(&"t".repeat(65_536)));
        messages.push(event(&"t/".repeat(201)));
        messages
    }
}

/// Where the tests' broker is.
pub(crate) fn broker_address() -> SocketAddr {
    resolve(&place_in("POSTROAD_TEST_MQTT_URL"))
}

/// Somebody whom a broker knows.
#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) broker: SocketAddr,
    pub(crate) user: String,
    pub(crate) password: String,
}

impl Account {
    /// At RabbitMQ's MQTT plugin.
    pub(crate) fn at_rabbitmq() -> Self {
        let text = place_in("POSTROAD_TEST_RABBITMQ_MQTT_URL");
        let (account, place) = text.split_once('@').expect("a URL with a user");
        let (user, password) = account.split_once(':').expect("a user with a password");
        Self { broker: resolve(place), user: user.into(), password: password.into() }
    }
}

/// What follows `mqtt://` in this variable.
fn place_in(variable: &str) -> String {
    let text = std::env::var(variable).unwrap_or_else(|_| panic!("{variable} names a broker"));
    text.strip_prefix("mqtt://")
        .unwrap_or_else(|| panic!("`{text}` is not mqtt://host:port"))
        .to_owned()
}

fn resolve(place: &str) -> SocketAddr {
    place.to_socket_addrs().unwrap().next().unwrap()
}
