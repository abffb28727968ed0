//! Where a RabbitMQ is, and who we are there.

/// `amqp://user:password@host:port/virtual-host`
#[derive(Debug, Clone)]
pub struct Url {
    /// A name or an address.
    pub host: String,
    /// The port for AMQP.
    pub port: u16,
    /// Who we are.
    pub username: String,
    /// In plain text.
    pub password: String,
    /// `/` where none is named.
    pub virtual_host: String,
}

impl Url {
    /// The server that `POSTROAD_TEST_AMQP_URL` names.
    pub fn from_environment() -> Self {
        let text = std::env::var("POSTROAD_TEST_AMQP_URL")
            .expect("POSTROAD_TEST_AMQP_URL names a RabbitMQ");
        Self::parse(&text).expect("it is amqp://user:password@host:port/virtual-host")
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
