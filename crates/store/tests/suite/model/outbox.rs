//! The state machine of an outbox row.

use std::collections::BTreeMap;
use std::time::Duration;

use postroad_store::SqlStore;
use postroad_store::query::outbox::{Filter, Retry, Skipped, list, retry, skip};
use postroad_worker_core::{OutboxStore, Outcome, Settlement};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::{same, try_sequences};
use crate::suite::home::Home;

const LEASE: Duration = Duration::from_mins(10);
const LATER: Duration = Duration::from_hours(1);
const KEYS: [&str; 2] = ["a", "b"];

#[derive(Debug, Clone)]
enum Step {
    Insert {
        key: Option<usize>,
    },
    Claim {
        second: bool,
        limit: usize,
    },
    Settle {
        claim: Index,
        outcomes: Vec<(Index, Outcome)>,
    },
    Renew {
        claim: Index,
    },
    /// Every lease ends.
    LeasesEnd,
    /// Every delay is over.
    DelaysEnd,
    Retry {
        row: Index,
    },
    Skip {
        row: Index,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    id: String,
    key: Option<&'static str>,
    status: &'static str,
    retry_count: i32,
    last_error: Option<String>,
    delayed: bool,
    /// The claim that holds it, and whether its lease lasts.
    held: Option<usize>,
    leased: bool,
}

/// What the outbox is thought to be: rows by `seq`, and each claim's token and rows.
#[derive(Debug, Default)]
struct Model {
    rows: BTreeMap<i64, Row>,
    claims: Vec<(String, Vec<i64>)>,
}

impl Model {
    /// A row that a person tries again is the head of its key once more, whether or not a later one is being sent.
    fn is_due(&self, seq: i64) -> bool {
        let row = &self.rows[&seq];
        let is_head = row.key.is_none()
            || !self
                .rows
                .range(..seq)
                .any(|(_, other)| other.key == row.key && other.status == "pending");
        row.status == "pending" && !row.leased && !row.delayed && is_head
    }

    /// One of the rows there are.
    fn row(&mut self, index: Index) -> &mut Row {
        let place = index.index(self.rows.len());
        self.rows.values_mut().nth(place).unwrap()
    }

    fn settle(&mut self, claim: usize, seq: i64, outcome: &Outcome) -> bool {
        let row = self.rows.get_mut(&seq).unwrap();
        if row.held != Some(claim) {
            return false;
        }
        (row.held, row.leased) = (None, false);
        match outcome {
            Outcome::Published => (row.status, row.last_error) = ("published", None),
            Outcome::Unacknowledged => {
                let remark = "published without an acknowledgement of the broker (QoS 0)";
                (row.status, row.last_error) = ("published", Some(remark.to_owned()));
            }
            Outcome::Invalid(error) => {
                (row.status, row.last_error) = ("invalid", Some(error.clone()));
            }
            Outcome::Failed(error) => (row.status, row.last_error) = ("error", Some(error.clone())),
            Outcome::Retry { delay, error } => {
                row.retry_count += 1;
                row.delayed = !delay.is_zero();
                row.last_error = Some(error.clone());
            }
            Outcome::Released(error) => {
                if let Some(error) = error {
                    row.last_error = Some(error.clone());
                }
            }
        }
        true
    }
}

fn step() -> impl Strategy<Value = Step> {
    let key = prop::option::of(0..KEYS.len());
    let outcomes = vec((any::<Index>(), outcome()), 1..5);
    prop_oneof![
        6 => key.prop_map(|key| Step::Insert { key }),
        6 => (any::<bool>(), 1..6_usize).prop_map(|(second, limit)| Step::Claim { second, limit }),
        8 => (any::<Index>(), outcomes).prop_map(|(claim, outcomes)| Step::Settle { claim, outcomes }),
        1 => any::<Index>().prop_map(|claim| Step::Renew { claim }),
        2 => Just(Step::LeasesEnd),
        2 => Just(Step::DelaysEnd),
        1 => any::<Index>().prop_map(|row| Step::Retry { row }),
        1 => any::<Index>().prop_map(|row| Step::Skip { row }),
    ]
}

fn outcome() -> impl Strategy<Value = Outcome> {
    let retry = |delay| Outcome::Retry { delay, error: "busy".to_owned() };
    prop_oneof![
        4 => Just(Outcome::Published),
        1 => Just(Outcome::Unacknowledged),
        1 => Just(Outcome::Invalid("no".to_owned())),
        1 => Just(Outcome::Failed("never".to_owned())),
        1 => Just(retry(Duration::ZERO)),
        1 => Just(retry(LATER)),
        1 => Just(Outcome::Released(None)),
        1 => Just(Outcome::Released(Some("gone".to_owned()))),
    ]
}

pub(super) async fn try_it(home: Home) {
    let neighbour = home.neighbour().await;
    try_sequences(vec(step(), 1..40), async |steps| {
        home.execute("DELETE FROM outbound_event").await;
        let workers = [home.store(), SqlStore::new(neighbour.clone(), "default")];
        let mut model = Model::default();
        for (number, step) in steps.iter().enumerate() {
            let told = |why| format!("step {number}, {step:?}: {why}");
            take(&home, &workers, &mut model, step).await.map_err(told)?;
            compare(&home, &model).await.map_err(told)?;
        }
        drain(&workers, &mut model).await
    })
    .await;
    neighbour.close().await;
}

async fn take(
    home: &Home,
    workers: &[SqlStore; 2],
    model: &mut Model,
    step: &Step,
) -> Result<(), String> {
    match step {
        Step::Insert { key } => insert(home, model, key.map(|key| KEYS[key])).await,
        Step::Claim { second, limit } => {
            claim(&workers[usize::from(*second)], model, *limit).await?;
        }
        Step::Settle { claim, outcomes } if !model.claims.is_empty() => {
            settle(&workers[0], model, claim.index(model.claims.len()), outcomes).await?;
        }
        Step::Renew { claim } if !model.claims.is_empty() => {
            let claim = claim.index(model.claims.len());
            let held = workers[1].renew(&model.claims[claim].0, LEASE).await.unwrap();
            let mut expected = 0;
            for row in model.rows.values_mut().filter(|row| row.held == Some(claim)) {
                row.leased = true;
                expected += 1;
            }
            same("rows renewed", held, expected)?;
        }
        Step::LeasesEnd => {
            let past = home.seconds_from_now(-1);
            home.execute(&format!(
                "UPDATE outbound_event SET claimed_until = {past} WHERE claim_token IS NOT NULL"
            ))
            .await;
            model.rows.values_mut().for_each(|row| row.leased = false);
        }
        Step::DelaysEnd => {
            let past = home.seconds_from_now(-1);
            home.execute(&format!(
                "UPDATE outbound_event SET next_retry_at = {past} WHERE next_retry_at IS NOT NULL"
            ))
            .await;
            model.rows.values_mut().for_each(|row| row.delayed = false);
        }
        Step::Retry { row } if !model.rows.is_empty() => {
            let row = model.row(*row);
            let tried = retry(&home.database, Retry::Id(&row.id)).await.unwrap();
            same("rows tried again", tried, u64::from(row.status != "published"))?;
            if row.status != "published" {
                (row.status, row.retry_count, row.delayed) = ("pending", 0, false);
            }
        }
        Step::Skip { row } if !model.rows.is_empty() => {
            let row = model.row(*row);
            let skipped = skip(&home.database, &row.id).await.unwrap();
            match (row.status, row.leased, &skipped) {
                ("pending", true, Skipped::Held(_)) => {}
                ("pending", false, Skipped::Done) => {
                    (row.status, row.held, row.delayed) = ("error", None, false);
                    let before = row.last_error.take().map(|error| format!("; before: {error}"));
                    row.last_error =
                        Some(format!("skipped by a person{}", before.unwrap_or_default()));
                }
                (status, _, Skipped::Ended(found)) if status != "pending" => {
                    same("status", found.as_str(), status)?;
                }
                _ => return Err(format!("{skipped:?} of {row:?}")),
            }
        }
        // There is nothing yet to do it with.
        Step::Settle { .. } | Step::Renew { .. } | Step::Retry { .. } | Step::Skip { .. } => {}
    }
    Ok(())
}

async fn insert(home: &Home, model: &mut Model, key: Option<&'static str>) {
    let text = key.map_or("NULL".to_owned(), |key| format!("'{key}'"));
    home.execute(&format!(
        "INSERT INTO outbound_event (topic, payload, ordering_key) VALUES ('event.a.b.c', '1', {text})"
    ))
    .await;
    let rows = list(&home.database, &Filter { limit: 1, ..Filter::default() }).await.unwrap();
    let row = Row {
        id: rows[0].id.clone(),
        key,
        status: "pending",
        retry_count: 0,
        last_error: None,
        delayed: false,
        held: None,
        leased: false,
    };
    let seq = home.count("SELECT max(seq) FROM outbound_event").await;
    model.rows.insert(seq, row);
}

/// Takes as many due rows as there may be, and none that is not due.
async fn claim(worker: &SqlStore, model: &mut Model, limit: usize) -> Result<usize, String> {
    let due: Vec<_> = model.rows.keys().copied().filter(|seq| model.is_due(*seq)).collect();
    let claim = worker.claim(limit, LEASE).await.unwrap();
    let seqs: Vec<_> = claim.rows.iter().map(|row| row.seq).collect();
    if let Some(seq) = seqs.iter().find(|seq| !due.contains(seq)) {
        return Err(format!("row {seq} is claimed and not due; due are {due:?}"));
    }
    same("rows claimed", seqs.len(), due.len().min(limit))?;
    for claimed in &claim.rows {
        let row = model.rows.get_mut(&claimed.seq).unwrap();
        same("retries", i32::try_from(claimed.retry_count).unwrap(), row.retry_count)?;
        same("ordering key", claimed.ordering_key.as_deref(), row.key)?;
        same("id", &claimed.columns.id, &row.id)?;
        (row.held, row.leased) = (Some(model.claims.len()), true);
    }
    model.claims.push((claim.token, seqs.clone()));
    Ok(seqs.len())
}

async fn settle(
    worker: &SqlStore,
    model: &mut Model,
    claim: usize,
    outcomes: &[(Index, Outcome)],
) -> Result<(), String> {
    let (token, seqs) = model.claims[claim].clone();
    if seqs.is_empty() {
        return Ok(());
    }
    // One outcome a row, as a worker has.
    let chosen: BTreeMap<_, _> = outcomes
        .iter()
        .map(|(row, outcome)| (seqs[row.index(seqs.len())], outcome.clone()))
        .collect();
    let settlements: Vec<_> =
        chosen.into_iter().map(|(seq, outcome)| Settlement { seq, outcome }).collect();
    let held = worker.settle(&token, &settlements).await.unwrap();
    let expected =
        settlements.iter().filter(|one| model.settle(claim, one.seq, &one.outcome)).count();
    same("rows settled", held, expected)
}

/// Every row is in the state that the model says.
async fn compare(home: &Home, model: &Model) -> Result<(), String> {
    let rows = list(&home.database, &Filter { limit: 1_000, ..Filter::default() }).await.unwrap();
    same("rows", rows.len(), model.rows.len())?;
    for (found, row) in rows.iter().rev().zip(model.rows.values()) {
        same("id", &found.id, &row.id)?;
        same("status", found.status.as_str(), row.status)?;
        same("published", found.published, row.status == "published")?;
        same("published_at", found.published_at.is_some(), row.status == "published")?;
        same("retry_count", found.retry_count, row.retry_count)?;
        same("last_error", &found.last_error, &row.last_error)?;
    }
    Ok(())
}

/// Whatever has happened, every pending row can still be published, those of a key in their order.
async fn drain(workers: &[SqlStore; 2], model: &mut Model) -> Result<(), String> {
    while model.rows.keys().any(|seq| model.is_due(*seq)) {
        if claim(&workers[0], model, 100).await? == 0 {
            return Err("nothing is claimed, and rows are due".to_owned());
        }
        let claim = model.claims.len() - 1;
        let (token, seqs) = model.claims[claim].clone();
        let settlements: Vec<_> =
            seqs.iter().map(|seq| Settlement { seq: *seq, outcome: Outcome::Published }).collect();
        let held = workers[0].settle(&token, &settlements).await.unwrap();
        same("rows published", held, seqs.len())?;
        for seq in seqs {
            model.settle(claim, seq, &Outcome::Published);
        }
    }
    Ok(())
}
