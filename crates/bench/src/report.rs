//! What a run found, as a table and as JSON.

use serde::Serialize;

use crate::measure::{Round, Three};

#[derive(Debug, Serialize)]
pub(crate) struct Report {
    messages: usize,
    payload_bytes: usize,
    rounds: Vec<Round>,
    rabbitmq_outbound: Side,
    rabbitmq_inbound: Side,
    mqtt_outbound: Side,
    mqtt_inbound: Side,
    worker_peak_resident_mib: Option<f64>,
}

/// Medians over the rounds, in messages a second.
#[derive(Debug, Serialize)]
struct Side {
    client: f64,
    database: f64,
    /// `1 / (1/client + 1/database)`
    in_series: f64,
    postroad: f64,
    /// Median over the rounds of `postroad / in_series`, each round for itself.
    reached: f64,
}

impl Report {
    pub(crate) fn of(
        messages: usize,
        payload_bytes: usize,
        rounds: Vec<Round>,
        peak: Option<u64>,
    ) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "memory is far below 2^52 bytes")]
        let worker_peak_resident_mib = peak.map(|bytes| bytes as f64 / f64::from(1 << 20));
        Self {
            messages,
            payload_bytes,
            rabbitmq_outbound: Side::of(&rounds, |round| round.rabbitmq_outbound),
            rabbitmq_inbound: Side::of(&rounds, |round| round.rabbitmq_inbound),
            mqtt_outbound: Side::of(&rounds, |round| round.mqtt_outbound),
            mqtt_inbound: Side::of(&rounds, |round| round.mqtt_inbound),
            rounds,
            worker_peak_resident_mib,
        }
    }

    /// A table in Markdown.
    pub(crate) fn markdown(&self) -> String {
        let row = |name, side: &Side| {
            format!(
                "| {name} | {:.0} | {:.0} | {:.0} | {:.0} | {:.0} % |\n",
                side.client,
                side.database,
                side.in_series,
                side.postroad,
                side.reached * 100.0
            )
        };
        let mut text = format!(
            "{} messages of {} bytes, RabbitMQ with a quorum queue, Mosquitto at QoS 1, PostgreSQL, medians of {} rounds, messages a second:\n\n",
            self.messages,
            self.payload_bytes,
            self.rounds.len()
        );
        text.push_str(
            "| way | client alone | database alone | the two in series | postroad | reached |\n",
        );
        text.push_str("|---|---:|---:|---:|---:|---:|\n");
        text.push_str(&row("to RabbitMQ", &self.rabbitmq_outbound));
        text.push_str(&row("from RabbitMQ", &self.rabbitmq_inbound));
        text.push_str(&row("to MQTT", &self.mqtt_outbound));
        text.push_str(&row("from MQTT", &self.mqtt_inbound));
        if let Some(peak) = self.worker_peak_resident_mib {
            let peak = format!(
                "\nPeak resident memory of the worker with the backlog waiting: {peak:.1} MiB\n"
            );
            text.push_str(&peak);
        }
        text
    }
}

impl Side {
    fn of(rounds: &[Round], pick: fn(&Round) -> Three) -> Self {
        let over =
            |value: &dyn Fn(Three) -> f64| median(rounds.iter().map(|round| value(pick(round))));
        Self {
            client: over(&|three| three.client),
            database: over(&|three| three.database),
            in_series: over(&|three| three.in_series()),
            postroad: over(&|three| three.postroad),
            reached: over(&|three| three.postroad / three.in_series()),
        }
    }
}

impl Three {
    fn in_series(self) -> f64 {
        1.0 / (1.0 / self.client + 1.0 / self.database)
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
