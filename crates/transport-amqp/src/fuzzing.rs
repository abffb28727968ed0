//! For fuzzing: what stands between the bytes of a header table and JSON, both ways.

use amqprs::FieldTable;
use postroad_transport::{Outgoing, PublishError};
use serde_json::{Map, Value};

use crate::headers::from_table;
use crate::outgoing::Prepared;

/// The headers of a delivery, as the inbox gets them.
pub fn headers(table: &FieldTable) -> Map<String, Value> {
    from_table(table)
}

/// Lays a message out for the wire, and tells the bytes that it is thought to take there and its headers.
pub fn lay_out(
    message: Outgoing,
    frame_max: u32,
) -> Result<(usize, Option<FieldTable>), PublishError> {
    let prepared = Prepared::new(message, frame_max)?;
    Ok((prepared.size, prepared.properties.headers().cloned()))
}
