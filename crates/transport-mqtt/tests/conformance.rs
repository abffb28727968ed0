//! MQTT by paho keeps the promises of a transport that need no queues, at Mosquitto and at RabbitMQ's MQTT plugin.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

mod support;

mod v3_1_1 {
    use crate::support::Place;

    async fn place() -> Place {
        Place::new(4).await
    }

    postroad_transport::pubsub_conformance! {
        #[ignore = "needs Mosquitto: run `cargo xtask itest`"]
        place
    }
}

mod v5 {
    use crate::support::Place;

    async fn place() -> Place {
        Place::new(5).await
    }

    postroad_transport::pubsub_conformance! {
        #[ignore = "needs Mosquitto: run `cargo xtask itest`"]
        place
    }
}

mod tls {
    use crate::support::Place;

    async fn place() -> Place {
        Place::by_tls().await
    }

    postroad_transport::pubsub_conformance! {
        #[ignore = "needs Mosquitto: run `cargo xtask itest`"]
        place
    }
}

/// RabbitMQ 3.10 speaks no newer MQTT, and no QoS above 1.
mod rabbitmq {
    use crate::support::Place;

    async fn place() -> Place {
        Place::at_rabbitmq(|_| {}).await
    }

    postroad_transport::pubsub_conformance! {
        #[ignore = "needs RabbitMQ: run `cargo xtask itest`"]
        place
    }
}
