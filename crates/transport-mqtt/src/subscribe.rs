//! Subscribing, and what the broker granted.

use paho_mqtt::{Error, RetainHandling, SubscribeOptions};
use postroad_transport::ConnectError;
use tokio::time::Instant;

use crate::client::Client;
use crate::settings::MqttSettings;

/// Granted values from here on are refusals.
const REFUSED: i32 = 0x80;

/// Subscribes to every filter of the settings, one request each, so that a refusal has a name. Done on every connection,
/// whatever the broker says that it remembers.
pub(crate) async fn subscribe(
    client: &Client,
    settings: &MqttSettings,
    deadline: Instant,
) -> Result<(), ConnectError> {
    let filters = settings.filters();
    if filters.is_empty() {
        return Err(ConnectError::Topology("there is no topic to subscribe to".to_owned()));
    }
    for filter in filters {
        // Kept messages come with the first subscription of a session, and not at every reconnect.
        let retained = RetainHandling::SendRetainedOnNew;
        granted(client, settings, &filter, retained, deadline).await?;
    }
    Ok(())
}

/// Subscribes to one filter. `Ok`: it was granted at the settings' quality of service, or a better one.
pub(crate) async fn granted(
    client: &Client,
    settings: &MqttSettings,
    filter: &str,
    retained: RetainHandling,
    deadline: Instant,
) -> Result<(), ConnectError> {
    let (wanted, v5) = (i32::from(settings.qos), settings.is_v5());
    let name = filter.to_owned();
    let request = move |client: &paho_mqtt::AsyncClient| {
        if v5 {
            let options = SubscribeOptions::with_retain_handling(retained);
            client.subscribe_with_options(name, wanted, options, None)
        } else {
            client.subscribe(name, wanted)
        }
    };
    match client.ask(deadline, request).await {
        Ok(answer) => {
            let granted = answer.subscribe_response().unwrap_or(REFUSED);
            if granted < wanted || granted >= REFUSED {
                return Err(ConnectError::Topology(not_granted(filter, granted, wanted)));
            }
            Ok(())
        }
        Err(Error::ReasonCode(code, _)) => {
            Err(ConnectError::Topology(format!("`{filter}` was refused: {code}")))
        }
        Err(Error::Failure) => Err(ConnectError::Topology(not_granted(filter, REFUSED, wanted))),
        Err(Error::Timeout) => {
            Err(ConnectError::Unreachable(format!("`{filter}` was not granted in time")))
        }
        Err(error) => Err(ConnectError::Unreachable(format!("`{filter}`: {error}"))),
    }
}

/// Takes back every subscription of the settings. After `Err` some of them may be left.
pub(crate) async fn unsubscribe(
    client: &Client,
    settings: &MqttSettings,
    deadline: Instant,
) -> Result<(), Error> {
    for filter in settings.filters() {
        client
            .ask(deadline, move |client: &paho_mqtt::AsyncClient| client.unsubscribe(filter))
            .await?;
    }
    Ok(())
}

fn not_granted(filter: &str, granted: i32, wanted: i32) -> String {
    match granted {
        REFUSED.. => format!("`{filter}` was refused; may this user subscribe to it?"),
        _ => format!("`{filter}` was granted at QoS {granted}, {wanted} is needed to lose nothing"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_granted_is_told_with_the_reason() {
        assert!(not_granted("a/#", 0x80, 1).contains("`a/#` was refused"));
        assert!(not_granted("a/#", 0x87, 1).contains("`a/#` was refused"));
        assert_eq!(
            not_granted("a/#", 0, 1),
            "`a/#` was granted at QoS 0, 1 is needed to lose nothing"
        );
    }
}
