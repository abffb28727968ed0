//! The callback that puts messages into the spool.

use std::fmt::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use paho_mqtt::{AsyncClient, Message};
use postroad_transport::MqttFlags;
use tracing::error;

use crate::relay::Gate;
use crate::spool::Spool;

/// From paho into the spool. It runs on paho's one thread, under paho's lock: it waits for nothing but the disk and
/// touches nothing of the async runtime.
pub(crate) struct Inlet {
    spool: Arc<Spool>,
    gate: Arc<Gate>,
}

impl Inlet {
    pub(crate) fn new(spool: Arc<Spool>, gate: Arc<Gate>) -> Self {
        Self { spool, gate }
    }

    /// To be called before the connection is made: the broker sends what it kept at once.
    pub(crate) fn install(self, client: &AsyncClient) {
        client.set_message_callback(move |_, message| {
            if let Some(message) = message {
                self.take(&message);
            }
        });
    }

    /// Paho acknowledges the message when this returns. If it is not in the spool then, the connection is cut, so that
    /// the acknowledgement goes nowhere and the broker sends the message again.
    fn take(&self, message: &Message) {
        // What comes after a message that was not stored must not overtake it.
        if self.gate.was_cut() {
            return;
        }
        let append = || self.spool.append(flags(message), message.topic(), message.payload());
        // A panic must not cross the C code that called us.
        match catch_unwind(AssertUnwindSafe(append)) {
            Ok(Ok(())) => {}
            Ok(Err(_)) => self.gate.cut(),
            Err(_) => {
                error!("storing a message panicked; it is not acknowledged");
                self.gate.cut();
            }
        }
    }
}

fn flags(message: &Message) -> MqttFlags {
    // There are 0, 1 and 2.
    let qos = u8::try_from(message.qos() as i32).unwrap_or_default();
    MqttFlags { qos, retain: message.retained(), dup: qos > 0 && is_dup(message) }
}

/// Paho knows the DUP flag and has no way to ask for it but its debug text, in which it stands before topic and body.
fn is_dup(message: &Message) -> bool {
    let mut seeker = Seeker::default();
    // It ends with an error as soon as the answer is found.
    write!(seeker, "{message:?}").ok();
    seeker.dup
}

/// Looks for the value after `dup`, and ends the text that is being written there.
#[derive(Default)]
struct Seeker {
    named: bool,
    dup: bool,
}

impl Write for Seeker {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.named {
            if let Some(digit) = text.chars().find(char::is_ascii_digit) {
                self.dup = digit != '0';
                return Err(fmt::Error);
            }
        } else if text == "dup" {
            self.named = true;
        } else if text == "data" {
            // Topic and body follow.
            return Err(fmt::Error);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dup_flag_is_found_in_the_debug_text_before_anything_that_a_peer_wrote() {
        let message = Message::new("dup", "dup: 1", 1);
        let text = format!("{message:?}");
        let (dup, data) = (text.find("dup: 0").unwrap(), text.find("data: ").unwrap());
        assert!(dup < data, "{text}");
        assert!(!is_dup(&message));
        let mut seeker = Seeker::default();
        for part in ["qos", ": ", "1", ", ", "dup", ": ", "1"] {
            seeker.write_str(part).ok();
        }
        assert!(seeker.dup);
    }
}
