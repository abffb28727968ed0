//! RabbitMQ by amqprs keeps the promises of a transport.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

mod support;

mod quorum {
    use postroad_transport_amqp::QueueType;

    use crate::support::Place;

    async fn place() -> Place {
        Place::new(QueueType::Quorum).await
    }

    postroad_transport::conformance! {
        #[ignore = "needs RabbitMQ: run `cargo xtask itest`"]
        place
    }
}

mod classic {
    use postroad_transport_amqp::QueueType;

    use crate::support::Place;

    async fn place() -> Place {
        Place::new(QueueType::Classic).await
    }

    postroad_transport::conformance! {
        #[ignore = "needs RabbitMQ: run `cargo xtask itest`"]
        place
    }
}

mod tls {
    use postroad_transport_amqp::QueueType;

    use crate::support::Place;

    async fn place() -> Place {
        Place::by_tls(QueueType::Classic).await
    }

    postroad_transport::conformance! {
        #[ignore = "needs RabbitMQ: run `cargo xtask itest`"]
        place
    }
}
