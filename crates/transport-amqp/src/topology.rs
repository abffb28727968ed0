//! Exchange, queue and bindings.

use amqprs::FieldTable;
use amqprs::channel::{ExchangeDeclareArguments, QueueBindArguments, QueueDeclareArguments};
use amqprs::error::Error;
use postroad_transport::ConnectError;
use tokio::time::Instant;

use crate::events::Event;
use crate::link::Link;
use crate::rpc::{CallError, call};
use crate::settings::AmqpSettings;

pub(crate) const ACCESS_REFUSED: u16 = 403;
pub(crate) const NOT_FOUND: u16 = 404;
pub(crate) const PRECONDITION_FAILED: u16 = 406;

/// Makes and binds what is missing, or checks that it is there where nothing may be made. After `Err` the link is of
/// no more use.
pub(crate) async fn set_up(
    link: &mut Link,
    settings: &AmqpSettings,
    deadline: Instant,
) -> Result<(), ConnectError> {
    let channel = link.channel.clone();
    let exchange = exchange(settings);
    step(link, &format!("exchange `{}`", settings.exchange), deadline, async move {
        channel.exchange_declare(exchange).await
    })
    .await?;
    let channel = link.channel.clone();
    let queue = queue(settings);
    step(link, &format!("queue `{}`", settings.queue), deadline, async move {
        channel.queue_declare(queue).await
    })
    .await?;
    if settings.declare_topology {
        for binding in &settings.bindings {
            let channel = link.channel.clone();
            let arguments = QueueBindArguments::new(&settings.queue, &settings.exchange, binding);
            step(link, &format!("binding `{binding}`"), deadline, async move {
                channel.queue_bind(arguments).await
            })
            .await?;
        }
    }
    Ok(())
}

/// One request of the setting up; `what` names it in the error.
pub(crate) async fn step<T: Send + 'static>(
    link: &mut Link,
    what: &str,
    deadline: Instant,
    request: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, ConnectError> {
    ask(link, deadline, request).await.map_err(|refusal| match refusal {
        Refusal::Closed { code, text } => {
            ConnectError::Topology(format!("{what}: {text}{}", advice(code)))
        }
        Refusal::NoAnswer(error) => ConnectError::Unreachable(format!("{what}: {error}")),
    })
}

/// Why a request was not granted. The link is of no more use.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The broker closed the channel over it, with one of AMQP's reply codes.
    Closed { code: u16, text: String },
    /// It did not say anything.
    NoAnswer(String),
}

/// One request, with the broker's own reason where it is refused.
pub(crate) async fn ask<T: Send + 'static>(
    link: &mut Link,
    deadline: Instant,
    request: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Refusal> {
    let error = match call(deadline, request).await {
        Ok(answer) => return Ok(answer),
        Err(error) => error,
    };
    // The broker's reason is told before the request fails.
    while let Ok(event) = link.events.try_recv() {
        if let Event::Closed { code, text } = event {
            return Err(Refusal::Closed { code, text });
        }
    }
    match error {
        CallError::TimedOut | CallError::Failed(_) | CallError::Broken => {
            Err(Refusal::NoAnswer(error.to_string()))
        }
    }
}

fn advice(code: u16) -> &'static str {
    match code {
        ACCESS_REFUSED => {
            "; grant the permission, or set it up yourself and turn `declare_topology` off"
        }
        NOT_FOUND => "; set it up, or turn `declare_topology` on",
        PRECONDITION_FAILED => {
            "; it exists with other properties: change the settings to match, or delete it on the broker once it is empty"
        }
        _ => "",
    }
}

pub(crate) fn exchange(settings: &AmqpSettings) -> ExchangeDeclareArguments {
    ExchangeDeclareArguments::new(&settings.exchange, &settings.exchange_type)
        .durable(true)
        .passive(!settings.declare_topology)
        .finish()
}

pub(crate) fn queue(settings: &AmqpSettings) -> QueueDeclareArguments {
    let mut arguments = FieldTable::new();
    arguments.insert(name("x-queue-type"), settings.queue_type.as_str().into());
    if let Some(exchange) = &settings.dead_letter_exchange {
        arguments.insert(name("x-dead-letter-exchange"), exchange.as_str().into());
    }
    QueueDeclareArguments::durable_client_named(&settings.queue)
        .passive(!settings.declare_topology)
        .arguments(arguments)
        .finish()
}

pub(crate) fn name(text: &str) -> amqprs::FieldName {
    text.try_into().expect("the name is short")
}
