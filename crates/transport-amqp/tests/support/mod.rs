//! A fresh place at the RabbitMQ that `POSTROAD_TEST_AMQP_URL` names, behind a proxy.

#![allow(dead_code, reason = "each test file uses its part")]
#![allow(
    clippy::allow_attributes,
    reason = "what one test file uses, another does not, so `expect` cannot hold"
)]

use std::net::{SocketAddr, ToSocketAddrs};

use amqprs::channel::{
    Channel, ExchangeDeleteArguments, QueueDeclareArguments, QueueDeleteArguments,
};
use amqprs::connection::{Connection, OpenConnectionArguments};
use postroad_tls::testing::{Flaw, Pki, Terminator};
use postroad_transport::testing::{BINDINGS, PREFETCH, Proxy, Rig};
use postroad_transport_amqp::{AmqpSettings, AmqpTransport, QueueType};
use uuid::Uuid;

use raw::RawClient;

pub(crate) mod node;
pub(crate) mod raw;

/// An exchange and a queue of its own. The transport connects through the proxy, `admin` does not.
pub(crate) struct Place {
    pub(crate) proxy: Proxy,
    pub(crate) settings: AmqpSettings,
    pub(crate) transport: AmqpTransport,
    pub(crate) url: Url,
    _tls: Option<(Terminator, Pki)>,
}

/// `amqp://user:password@host:port/virtual-host`
pub(crate) struct Url {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) username: String,
    pub(crate) password: String,
    pub(crate) virtual_host: String,
}

/// A connection beside the transport's.
pub(crate) struct Admin {
    pub(crate) channel: Channel,
    _connection: Connection,
}

impl Place {
    pub(crate) async fn new(queue_type: QueueType) -> Self {
        Self::with(queue_type, |_| {}).await
    }

    /// With settings changed.
    pub(crate) async fn with(
        queue_type: QueueType,
        change: impl FnOnce(&mut AmqpSettings),
    ) -> Self {
        let url = Url::from_environment();
        let upstream = url.address();
        Self::before(upstream, url, queue_type, change).await
    }

    /// By TLS, with certificates on both sides.
    pub(crate) async fn by_tls(queue_type: QueueType) -> Self {
        let url = Url::from_environment();
        let pki = Pki::new();
        let terminator =
            Terminator::start(url.address(), &pki, &pki.server(Flaw::None), true).await.unwrap();
        let tls = pki.appearing_as(&pki.client("suite"));
        let place = Self::before(terminator.addr(), url, queue_type, |settings| {
            settings.tls = Some(tls);
        })
        .await;
        Self { _tls: Some((terminator, pki)), ..place }
    }

    async fn before(
        upstream: SocketAddr,
        url: Url,
        queue_type: QueueType,
        change: impl FnOnce(&mut AmqpSettings),
    ) -> Self {
        let proxy = Proxy::start(upstream).await.unwrap();
        let name = format!("suite-{}", Uuid::new_v4());
        let mut settings = AmqpSettings {
            hosts: vec![(proxy.addr().ip().to_string(), proxy.addr().port())],
            username: url.username.clone(),
            password: url.password.as_str().into(),
            virtual_host: url.virtual_host.clone(),
            exchange: name.clone(),
            queue: name,
            queue_type,
            bindings: BINDINGS.map(str::to_owned).to_vec(),
            prefetch: u16::try_from(PREFETCH).unwrap(),
            ..AmqpSettings::default()
        };
        change(&mut settings);
        let transport = AmqpTransport::new(settings.clone()).unwrap();
        Self { proxy, settings, transport, url, _tls: None }
    }

    /// A transport to the same place by other settings.
    pub(crate) fn changed(&self, change: impl FnOnce(&mut AmqpSettings)) -> AmqpTransport {
        let mut settings = self.settings.clone();
        change(&mut settings);
        AmqpTransport::new(settings).unwrap()
    }

    pub(crate) async fn admin(&self) -> Admin {
        let Url { host, port, username, password, virtual_host } = &self.url;
        let arguments = OpenConnectionArguments::new(host, *port, username, password)
            .virtual_host(virtual_host)
            .finish();
        let connection = Connection::open(&arguments).await.unwrap();
        let channel = connection.open_channel(None).await.unwrap();
        Admin { channel, _connection: connection }
    }

    /// Publishes with these bytes for the table of headers, and waits until the broker has it.
    pub(crate) async fn publish_raw(&self, topic: &str, table: &[u8], body: &[u8]) {
        let mut client = RawClient::connect(&self.url, &self.settings.exchange).await;
        client.publish(topic.as_bytes(), &raw::headers(table), body).await;
    }

    pub(crate) async fn delete_queue(&self) {
        let arguments = QueueDeleteArguments::new(&self.settings.queue);
        self.admin().await.channel.queue_delete(arguments).await.unwrap();
    }

    pub(crate) async fn delete_exchange(&self) {
        let arguments = ExchangeDeleteArguments::new(&self.settings.exchange);
        self.admin().await.channel.exchange_delete(arguments).await.unwrap();
    }
}

impl Rig for Place {
    type Transport = AmqpTransport;

    fn transport(&self) -> &AmqpTransport {
        &self.transport
    }

    async fn sever(&self) {
        self.proxy.cut();
    }

    async fn depth(&self) -> usize {
        let arguments = QueueDeclareArguments::new(&self.settings.queue).passive(true).finish();
        let (_, depth, _) =
            self.admin().await.channel.queue_declare(arguments).await.unwrap().unwrap();
        usize::try_from(depth).unwrap()
    }

    async fn clean_up(self) {
        self.delete_queue().await;
        self.delete_exchange().await;
    }
}

impl Url {
    fn address(&self) -> SocketAddr {
        (self.host.as_str(), self.port).to_socket_addrs().unwrap().next().unwrap()
    }

    fn from_environment() -> Self {
        let text = std::env::var("POSTROAD_TEST_AMQP_URL")
            .expect("POSTROAD_TEST_AMQP_URL names a RabbitMQ");
        Self::parse(&text).unwrap_or_else(|| {
            panic!("`{text}` is not amqp://user:password@host:port/virtual-host")
        })
    }

    fn parse(text: &str) -> Option<Self> {
        let (user, place) = text.strip_prefix("amqp://")?.rsplit_once('@')?;
        let (username, password) = user.split_once(':')?;
        let (address, virtual_host) = place.split_once('/').unwrap_or((place, ""));
        let (host, port) = address.rsplit_once(':').unwrap_or((address, "5672"));
        Some(Self {
            host: host.to_owned(),
            port: port.parse().ok()?,
            username: username.to_owned(),
            password: password.to_owned(),
            virtual_host: match virtual_host {
                "" | "%2f" | "%2F" => "/".to_owned(),
                name => name.to_owned(),
            },
        })
    }
}
