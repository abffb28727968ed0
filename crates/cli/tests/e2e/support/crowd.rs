//! Many workers of one config, some of which come to grief now and then.

use std::time::{Duration, Instant};

use postroad_testbed::Worker;

use super::postroad::Postroad;

/// Workers in numbered places.
pub(crate) struct Crowd<'a> {
    postroad: &'a Postroad,
    arguments: Vec<&'a str>,
    places: Vec<Option<Worker>>,
    /// How many were killed up to now.
    pub(crate) kills: usize,
    /// How many were told to stop, and did.
    pub(crate) stops: usize,
}

impl<'a> Crowd<'a> {
    /// Starts so many workers with these arguments.
    pub(crate) fn start(postroad: &'a Postroad, size: usize, arguments: &[&'a str]) -> Self {
        let places = (0..size).map(|_| Some(postroad.worker(arguments))).collect();
        Self { postroad, arguments: arguments.to_vec(), places, kills: 0, stops: 0 }
    }

    /// For so long, kills workers at random, or sometimes tells them to stop, and starts others in their places. One is
    /// killed at least, whatever the dice say and however slow the machine is.
    pub(crate) async fn trouble(&mut self, time: Duration, dice: &mut fastrand::Rng) {
        let began = Instant::now();
        while began.elapsed() < time || self.kills == 0 {
            tokio::time::sleep(Duration::from_millis(dice.u64(100..600))).await;
            self.strike(dice).await;
        }
        self.fill();
    }

    async fn strike(&mut self, dice: &mut fastrand::Rng) {
        let place = dice.usize(..self.places.len());
        match self.places[place].take() {
            Some(worker) if self.kills > 0 && dice.u8(..4) == 0 => {
                worker.stop().await;
                self.stops += 1;
            }
            Some(mut worker) => {
                worker.kill();
                self.kills += 1;
            }
            None => {}
        }
        // Most come back at once, some later.
        for place in &mut self.places {
            if place.is_none() && dice.u8(..3) > 0 {
                *place = Some(self.postroad.worker(&self.arguments));
            }
        }
    }

    /// Starts those that are missing.
    pub(crate) fn fill(&mut self) {
        for place in &mut self.places {
            place.get_or_insert_with(|| self.postroad.worker(&self.arguments));
        }
    }

    /// Stops all of them in good order.
    pub(crate) async fn stop(self) {
        for worker in self.places.into_iter().flatten() {
            worker.stop().await;
        }
    }
}
