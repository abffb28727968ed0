//! The protocol of claim, lease, fence, publish, confirm and settle, checked in every state that it can get into.
//!
//! The model is smaller than the engine: a few rows, two workers, one claim each. What can go wrong is in it: a crash
//! anywhere, a confirm that is lost, the answer to a settle that is lost, a worker that sleeps for longer than its lease and
//! goes on. Each may happen a few times only, so that every run ends. That the checker would notice is shown by models with a
//! flaw.
#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

use stateright::{Checker, Model, Property};

const WORKERS: usize = 2;

const CONFIRMED: &str = "a row that is published was confirmed";
const FENCED: &str = "a settle with an old token changes nothing";
const EXCLUSIVE: &str = "no row is under two leases that last";
const IN_ORDER: &str = "what shares a key is confirmed in its order";
const DELIVERED: &str = "every row is published";

/// What the protocol could lack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    None,
    /// A settle does not ask for the token.
    NoFence,
    /// A message counts as published when it is on its way.
    NoConfirm,
    /// The rows of a worker that died stay claimed.
    NoLeaseEnd,
    /// A row is claimed before the one of its key that comes before it is done.
    NoHeads,
}

#[derive(Debug, Clone)]
struct Protocol {
    rows: usize,
    /// Whether the rows share an ordering key.
    ordered: bool,
    flaw: Flaw,
    faults: Faults,
}

/// How often each may still happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Faults {
    crashes: u8,
    lost_connections: u8,
    lost_answers: u8,
    long_pauses: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    rows: Vec<Row>,
    workers: [Option<Claim>; WORKERS],
    next_token: u8,
    faults: Faults,
    /// Whether a settle has changed a row that was not its own any more.
    stale_write: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Row {
    published: bool,
    /// Of the last claim, and whether the lease lasts by the clock of the database.
    token: Option<u8>,
    leased: bool,
    /// Whether the broker has it, however often.
    at_broker: bool,
}

/// What a worker knows.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Claim {
    token: u8,
    /// What it does not know: whether its lease has ended while it slept.
    overslept: bool,
    rows: Vec<(usize, Stage)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Stage {
    Claimed,
    /// On its way to the broker.
    Sent,
    /// The broker has it, and its confirm is on its way.
    Confirming,
    Confirmed,
    /// Sent, and nothing will be heard of it.
    Unknown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Step {
    /// By a worker, of at most so many rows.
    Claim(usize, usize),
    Send(usize, usize),
    BrokerTakes(usize, usize),
    ConfirmArrives(usize, usize),
    LoseConnection(usize),
    Settle(usize),
    /// It is committed, and the worker does not hear so.
    SettleUnheard(usize),
    Crash(usize),
    LeaseEnds(u8),
}

impl Protocol {
    fn due(&self, state: &State, row: usize) -> bool {
        let before = |row: usize| &state.rows[..row];
        let is_head = !self.ordered
            || self.flaw == Flaw::NoHeads
            || before(row).iter().all(|earlier| earlier.published);
        is_head && !state.rows[row].published && !state.rows[row].leased
    }

    /// Whether a stage is an outcome that can be written.
    fn is_outcome(&self, stage: Stage) -> bool {
        match stage {
            Stage::Confirmed | Stage::Unknown => true,
            Stage::Sent | Stage::Confirming => self.flaw == Flaw::NoConfirm,
            Stage::Claimed => false,
        }
    }

    /// Writes every outcome that a worker has, in one statement.
    fn settle(&self, state: &mut State, claim: &Claim) {
        for &(number, stage) in claim.rows.iter().filter(|(_, stage)| self.is_outcome(*stage)) {
            let row = &mut state.rows[number];
            let held = row.token == Some(claim.token);
            if !held && self.flaw != Flaw::NoFence {
                continue;
            }
            let before = *row;
            (row.published, row.token, row.leased) = (stage != Stage::Unknown, None, false);
            state.stale_write |= !held && *row != before;
        }
    }

    fn claim(&self, state: &mut State, worker: usize, limit: usize) {
        let token = state.next_token;
        let due: Vec<_> = (0..self.rows).filter(|row| self.due(state, *row)).take(limit).collect();
        for &row in &due {
            (state.rows[row].token, state.rows[row].leased) = (Some(token), true);
        }
        let rows = due.into_iter().map(|row| (row, Stage::Claimed)).collect();
        state.workers[worker] = Some(Claim { token, overslept: false, rows });
        state.next_token += 1;
    }

    fn steps_of_worker(&self, state: &State, worker: usize, steps: &mut Vec<Step>) {
        let Some(claim) = &state.workers[worker] else {
            let due = (0..self.rows).filter(|row| self.due(state, *row)).count();
            steps.extend((1..=due).map(|limit| Step::Claim(worker, limit)));
            return;
        };
        for (place, (_, stage)) in claim.rows.iter().enumerate() {
            match stage {
                Stage::Claimed => steps.push(Step::Send(worker, place)),
                Stage::Sent => steps.push(Step::BrokerTakes(worker, place)),
                Stage::Confirming => steps.push(Step::ConfirmArrives(worker, place)),
                Stage::Confirmed | Stage::Unknown => {}
            }
        }
        let on_the_wire =
            claim.rows.iter().any(|(_, stage)| matches!(stage, Stage::Sent | Stage::Confirming));
        if on_the_wire && state.faults.lost_connections > 0 {
            steps.push(Step::LoseConnection(worker));
        }
        if claim.rows.iter().any(|(_, stage)| self.is_outcome(*stage)) {
            steps.push(Step::Settle(worker));
            if state.faults.lost_answers > 0 {
                steps.push(Step::SettleUnheard(worker));
            }
        }
        if state.faults.crashes > 0 {
            steps.push(Step::Crash(worker));
        }
    }

    /// Leases that may end now: those of the dead at any time, those of the living if they sleep for so long.
    fn leases_that_end(&self, state: &State) -> Vec<Step> {
        let holds = |token| state.workers.iter().flatten().any(|claim| claim.token == token);
        let mut tokens: Vec<_> =
            state.rows.iter().filter(|row| row.leased).filter_map(|row| row.token).collect();
        tokens.dedup();
        tokens
            .into_iter()
            .filter(|token| {
                if holds(*token) {
                    state.faults.long_pauses > 0
                } else {
                    self.flaw != Flaw::NoLeaseEnd
                }
            })
            .map(Step::LeaseEnds)
            .collect()
    }
}

impl State {
    fn stage(&mut self, worker: usize, place: usize) -> &mut Stage {
        &mut self.workers[worker].as_mut().unwrap().rows[place].1
    }

    /// What a worker has settled it knows no more of.
    fn forget(&mut self, worker: usize, settled: impl Fn(Stage) -> bool) {
        let claim = self.workers[worker].as_mut().unwrap();
        claim.rows.retain(|(_, stage)| !settled(*stage));
        if claim.rows.is_empty() {
            self.workers[worker] = None;
        }
    }
}

impl Model for Protocol {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            rows: vec![Row::default(); self.rows],
            workers: [const { None }; WORKERS],
            next_token: 0,
            faults: self.faults,
            stale_write: false,
        }]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        for worker in 0..WORKERS {
            self.steps_of_worker(state, worker, steps);
        }
        steps.extend(self.leases_that_end(state));
    }

    fn next_state(&self, last: &State, step: Step) -> Option<State> {
        let mut state = last.clone();
        match step {
            Step::Claim(worker, limit) => self.claim(&mut state, worker, limit),
            Step::Send(worker, place) => *state.stage(worker, place) = Stage::Sent,
            Step::BrokerTakes(worker, place) => {
                *state.stage(worker, place) = Stage::Confirming;
                let row = last.workers[worker].as_ref().unwrap().rows[place].0;
                state.rows[row].at_broker = true;
            }
            Step::ConfirmArrives(worker, place) => *state.stage(worker, place) = Stage::Confirmed,
            Step::LoseConnection(worker) => {
                state.faults.lost_connections -= 1;
                for (_, stage) in &mut state.workers[worker].as_mut().unwrap().rows {
                    if matches!(stage, Stage::Sent | Stage::Confirming) {
                        *stage = Stage::Unknown;
                    }
                }
            }
            Step::Settle(worker) => {
                self.settle(&mut state, last.workers[worker].as_ref().unwrap());
                state.forget(worker, |stage| self.is_outcome(stage));
            }
            Step::SettleUnheard(worker) => {
                state.faults.lost_answers -= 1;
                self.settle(&mut state, last.workers[worker].as_ref().unwrap());
            }
            Step::Crash(worker) => {
                state.faults.crashes -= 1;
                state.workers[worker] = None;
            }
            Step::LeaseEnds(token) => {
                for claim in state.workers.iter_mut().flatten().filter(|claim| claim.token == token)
                {
                    claim.overslept = true;
                    state.faults.long_pauses -= 1;
                }
                for row in state.rows.iter_mut().filter(|row| row.token == Some(token)) {
                    row.leased = false;
                }
            }
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(CONFIRMED, |_, state: &State| {
                state.rows.iter().all(|row| !row.published || row.at_broker)
            }),
            Property::always(FENCED, |_, state: &State| !state.stale_write),
            Property::always(EXCLUSIVE, |protocol: &Self, state: &State| {
                let may_send = |claim: &&Claim, row| {
                    let open = |(held, stage): &(usize, Stage)| {
                        *held == row && !protocol.is_outcome(*stage)
                    };
                    !claim.overslept && claim.rows.iter().any(open)
                };
                let claims = |row| state.workers.iter().flatten().filter(move |c| may_send(c, row));
                (0..protocol.rows).all(|row| claims(row).count() <= 1)
            }),
            Property::always(IN_ORDER, |protocol: &Self, state: &State| {
                !protocol.ordered
                    || state.rows.windows(2).all(|two| two[0].at_broker || !two[1].at_broker)
            }),
            Property::eventually(DELIVERED, |_, state: &State| {
                state.rows.iter().all(|row| row.published)
            }),
        ]
    }
}

/// Every state that the protocol can get into.
fn explore(protocol: Protocol) -> impl Checker<Protocol> {
    protocol.checker().spawn_bfs().join()
}

const FAULTS: Faults = Faults { crashes: 1, lost_connections: 1, lost_answers: 1, long_pauses: 1 };

fn protocol(flaw: Flaw) -> Protocol {
    Protocol { rows: 2, ordered: false, flaw, faults: FAULTS }
}

#[test]
fn nothing_is_lost_whatever_happens_when() {
    let explored = explore(protocol(Flaw::None));
    explored.assert_properties();
    // A model that does nothing would keep every promise.
    assert!(explored.unique_state_count() > 100_000, "{} states", explored.unique_state_count());
}

#[test]
fn the_order_of_a_key_is_kept_whatever_happens_when() {
    let explored = explore(Protocol { rows: 3, ordered: true, ..protocol(Flaw::None) });
    explored.assert_properties();
    assert!(explored.unique_state_count() > 10_000, "{} states", explored.unique_state_count());
}

#[track_caller]
fn check(protocol: Protocol, broken: &[&'static str]) {
    let explored = explore(protocol);
    for name in broken {
        assert!(explored.discovery(name).is_some(), "the checker does not see that: {name}");
    }
}

#[test]
fn without_a_fence_a_worker_that_slept_undoes_what_another_did() {
    check(protocol(Flaw::NoFence), &[FENCED, EXCLUSIVE]);
}

#[test]
fn without_waiting_for_the_confirm_rows_are_lost() {
    check(protocol(Flaw::NoConfirm), &[CONFIRMED]);
}

#[test]
fn without_an_end_of_leases_the_rows_of_the_dead_are_stuck() {
    check(protocol(Flaw::NoLeaseEnd), &[DELIVERED]);
}

#[test]
fn without_waiting_for_the_head_of_a_key_its_order_is_lost() {
    check(Protocol { ordered: true, ..protocol(Flaw::NoHeads) }, &[IN_ORDER]);
}
