//! Questions to a broker. A refusal costs the channel, so each question has a connection that is new where it has to be.

use std::time::Duration;

use amqprs::channel::{
    BasicConsumeArguments, BasicPublishArguments, BasicQosArguments, Channel,
    ConfirmSelectArguments, ExchangeDeclareArguments, QueueDeclareArguments,
};
use amqprs::error::Error;
use amqprs::{BasicProperties, FieldTable};
use postroad_transport::{Finding, Wants};
use tokio::time::{Instant, timeout_at};

use crate::connect::connect;
use crate::events::Event;
use crate::link::Link;
use crate::settings::AmqpSettings;
use crate::topology::{
    ACCESS_REFUSED, NOT_FOUND, PRECONDITION_FAILED, Refusal, ask, exchange, name, queue,
};

/// For one question.
const ANSWER: Duration = Duration::from_secs(3);

/// One host, and what was found there.
pub(super) struct Visit {
    settings: AmqpSettings,
    link: Option<Link>,
    until: Instant,
    findings: Vec<Finding>,
}

impl Visit {
    pub(super) fn new(settings: AmqpSettings, link: Link, until: Instant) -> Self {
        Self { settings, link: Some(link), until, findings: Vec::new() }
    }

    pub(super) async fn look(mut self, wants: Wants) -> Vec<Finding> {
        let has_exchange = self.exchange().await;
        let has_queue = self.queue().await;
        self.dead_letter_exchange(wants).await;
        self.bindings();
        if wants.outbound && has_exchange {
            self.publishing("publishing", self.settings.exchange.clone()).await;
        }
        if wants.inbound && has_queue {
            self.consuming().await;
        }
        if let Some(link) = self.link.take() {
            link.close().await;
        }
        self.findings
    }

    /// Whether it is there.
    async fn exchange(&mut self) -> bool {
        const CHECK: &str = "exchange";
        let name = self.settings.exchange.clone();
        let there = self.ask(passive_exchange(name.clone())).await;
        if let Err(refusal) = there {
            self.missing(CHECK, &name, &refusal);
            return false;
        }
        let mut same = exchange(&self.settings);
        same.passive(false);
        let same =
            self.ask(|channel| async move { channel.exchange_declare(same.finish()).await }).await;
        let found = format!("`{name}`, durable, of type {}", self.settings.exchange_type);
        self.compared(CHECK, &name, found, same.err());
        true
    }

    /// Whether it is there.
    async fn queue(&mut self) -> bool {
        const CHECK: &str = "queue";
        let name = self.settings.queue.clone();
        let passive = QueueDeclareArguments::new(&name).passive(true).finish();
        let there = self.ask(|channel| async move { channel.queue_declare(passive).await }).await;
        let (ready, consumers) = match there {
            Ok(state) => state.map_or((0, 0), |(_, ready, consumers)| (ready, consumers)),
            Err(refusal) => {
                self.missing(CHECK, &name, &refusal);
                return false;
            }
        };
        let mut same = queue(&self.settings);
        same.passive(false);
        let same =
            self.ask(|channel| async move { channel.queue_declare(same.finish()).await }).await;
        let found = format!(
            "`{name}`, durable, {}: {ready} messages wait, {consumers} consumers",
            self.settings.queue_type.as_str()
        );
        self.compared(CHECK, &name, found, same.err());
        true
    }

    async fn dead_letter_exchange(&mut self, wants: Wants) {
        const CHECK: &str = "dead letter exchange";
        let Some(name) = self.settings.dead_letter_exchange.clone() else { return };
        let finding = match self.ask(passive_exchange(name.clone())).await {
            Ok(()) if wants.inbound => return self.publishing(CHECK, name).await,
            Ok(()) => Finding::ok(CHECK, format!("`{name}` is there")),
            Err(refusal) => Finding::warning(
                CHECK,
                format!("`{name}`: {}", text(&refusal)),
                "make it and bind a queue to it: what is quarantined stays unacknowledged until then",
            ),
        };
        self.findings.push(finding);
    }

    /// AMQP has no way to ask for them.
    fn bindings(&mut self) {
        let list = self.settings.bindings.join("`, `");
        let (exchange, queue) = (&self.settings.exchange, &self.settings.queue);
        self.findings.push(if self.settings.bindings.is_empty() {
            Finding::warning(
                "bindings",
                format!("rabbitmq.binding_keys is empty: nothing comes into `{queue}` by this config"),
                "name the topics to take in, or set inbound_enabled = false",
            )
        } else if self.settings.declare_topology {
            Finding::ok("bindings", format!("each worker binds `{list}` when it connects"))
        } else {
            Finding {
                advice: format!(
                    "declare_topology is off: see to it that `rabbitmqctl list_bindings` shows `{exchange}` bound to `{queue}`"
                ),
                ..Finding::ok("bindings", format!("cannot be seen over AMQP; `{list}` are expected"))
            }
        });
    }

    /// Asks for a message to be taken that no broker takes, because its expiration is no number. Who may not publish is told so
    /// before anybody looks at that.
    async fn publishing(&mut self, check: &str, exchange: String) {
        let properties = BasicProperties::default().with_expiration("never").finish();
        let arguments =
            BasicPublishArguments::new(&exchange, "postroad.doctor").mandatory(true).finish();
        let sent = self
            .ask(|channel| async move {
                channel.confirm_select(ConfirmSelectArguments::new(false)).await?;
                channel.basic_publish(properties, Vec::new(), arguments).await
            })
            .await;
        let refusal = match sent {
            Ok(()) => self.closed().await,
            Err(refusal) => refusal,
        };
        let user = &self.settings.username;
        let finding = match &refusal {
            Refusal::Closed { code: PRECONDITION_FAILED, .. } => {
                Finding::ok(check, format!("user `{user}` may publish to `{exchange}`"))
            }
            // A rule for topics, which another topic may pass.
            Refusal::Closed { code: ACCESS_REFUSED, text } if text.contains("topic") => {
                Finding::ok(
                    check,
                    format!("user `{user}` may publish to some topics of `{exchange}`"),
                )
            }
            Refusal::Closed { code: ACCESS_REFUSED, text } => {
                Finding::failure(check, text, self.grant("write", &exchange))
            }
            other => Finding::warning(
                check,
                format!("cannot be found out: {}", text(other)),
                "look at the broker's log",
            ),
        };
        self.findings.push(finding);
    }

    /// Asks to consume with a priority that is no number, which no broker allows. Who may not consume is told so before anybody
    /// looks at that.
    async fn consuming(&mut self) {
        const CHECK: &str = "consuming";
        let queue = self.settings.queue.clone();
        let mut impossible = FieldTable::new();
        impossible.insert(name("x-priority"), "none".into());
        let arguments = BasicConsumeArguments::new(&queue, "").arguments(impossible).finish();
        let asked = self
            .ask(|channel| async move {
                // One message at most would be delivered, and put back when the connection ends.
                channel.basic_qos(BasicQosArguments::new(0, 1, false)).await?;
                channel.basic_consume_rx(arguments).await.map(drop)
            })
            .await;
        let user = self.settings.username.clone();
        let may = || Finding::ok(CHECK, format!("user `{user}` may consume from `{queue}`"));
        let finding = match asked {
            Ok(()) => {
                self.give_up();
                may()
            }
            Err(Refusal::Closed { code: PRECONDITION_FAILED, .. }) => may(),
            Err(Refusal::Closed { code: ACCESS_REFUSED, text }) => {
                Finding::failure(CHECK, text, self.grant("read", &queue))
            }
            Err(other) => Finding::warning(
                CHECK,
                format!("cannot be found out: {}", text(&other)),
                "look at the broker's log",
            ),
        };
        self.findings.push(finding);
    }

    /// Something that is not there, or that nobody may ask about.
    fn missing(&mut self, check: &str, name: &str, refusal: &Refusal) {
        let finding = match refusal {
            Refusal::Closed { code: NOT_FOUND, .. } if self.settings.declare_topology => {
                Finding::warning(
                    check,
                    format!("`{name}` is not there yet"),
                    "the first worker makes it; what others publish before is not kept",
                )
            }
            Refusal::Closed { code: NOT_FOUND, text } => Finding::failure(
                check,
                text,
                "make it on the broker, or turn rabbitmq.declare_topology on",
            ),
            other => Finding::failure(
                check,
                text(other),
                "a worker cannot use it either: see the broker's reason",
            ),
        };
        self.findings.push(finding);
    }

    /// Something that is there, and what became of declaring it once more just as a worker does.
    fn compared(&mut self, check: &str, name: &str, found: String, refusal: Option<Refusal>) {
        let declares = self.settings.declare_topology;
        let finding = match refusal {
            None => Finding::ok(check, found),
            Some(Refusal::Closed { code: PRECONDITION_FAILED, text }) => {
                let advice =
                    "change the settings to match, or delete it on the broker once it is empty";
                if declares {
                    Finding::failure(check, text, advice)
                } else {
                    Finding::warning(check, text, advice)
                }
            }
            Some(Refusal::Closed { code: ACCESS_REFUSED, text }) if declares => {
                let advice = format!(
                    "{}, or set it up yourself and turn rabbitmq.declare_topology off",
                    self.grant("configure", name)
                );
                Finding::failure(check, text, advice)
            }
            Some(Refusal::Closed { code: ACCESS_REFUSED, .. }) => Finding::ok(
                check,
                format!("`{name}` is there; how it was made this user may not ask"),
            ),
            Some(other) => Finding::warning(
                check,
                format!("`{name}` is there; how it was made is not known: {}", text(&other)),
                "look at the broker's log",
            ),
        };
        self.findings.push(finding);
    }

    fn grant(&self, permission: &str, name: &str) -> String {
        let AmqpSettings { username, virtual_host, .. } = &self.settings;
        format!(
            "`rabbitmqctl set_permissions -p {virtual_host} {username} ...` with `{name}` in its {permission} pattern"
        )
    }

    /// One question, on a channel that still works.
    async fn ask<T: Send + 'static, F>(
        &mut self,
        request: impl FnOnce(Channel) -> F,
    ) -> Result<T, Refusal>
    where
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let deadline = self.until.min(Instant::now() + ANSWER);
        let mut link = match self.link.take() {
            Some(link) => link,
            None => connect(&self.settings, "check", deadline)
                .await
                .map_err(|error| Refusal::NoAnswer(error.to_string()))?,
        };
        let request = request(link.channel.clone());
        let answer = ask(&mut link, deadline, request).await;
        match answer {
            Ok(_) => self.link = Some(link),
            Err(_) => link.abandon(),
        }
        answer
    }

    /// Waits for the broker to close the channel, which is all that it does about a message it does not take.
    async fn closed(&mut self) -> Refusal {
        let deadline = self.until.min(Instant::now() + ANSWER);
        let Some(mut link) = self.link.take() else {
            return Refusal::NoAnswer("no connection".to_owned());
        };
        let refusal = loop {
            match timeout_at(deadline, link.events.recv()).await {
                Ok(Some(Event::Closed { code, text })) => break Refusal::Closed { code, text },
                Ok(Some(_)) => {}
                Ok(None) => break Refusal::NoAnswer("the connection broke".to_owned()),
                Err(_) => break Refusal::NoAnswer("no answer in time".to_owned()),
            }
        };
        link.abandon();
        refusal
    }

    fn give_up(&mut self) {
        if let Some(link) = self.link.take() {
            link.abandon();
        }
    }
}

fn passive_exchange(
    name: String,
) -> impl FnOnce(Channel) -> std::pin::Pin<Box<dyn Future<Output = Result<(), Error>> + Send>> {
    move |channel| {
        let passive = ExchangeDeclareArguments::new(&name, "").passive(true).finish();
        Box::pin(async move { channel.exchange_declare(passive).await })
    }
}

fn text(refusal: &Refusal) -> &str {
    match refusal {
        Refusal::Closed { text, .. } | Refusal::NoAnswer(text) => text,
    }
}
