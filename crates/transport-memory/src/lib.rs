//! The embedded broker: topic exchange, confirms, returns and redelivery in memory
