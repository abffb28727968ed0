//! RabbitMQ by amqprs, with publisher confirms
