//! What the two services say to each other.

use anyhow::{Result, ensure};
use postroad_envelope::ResponseStatus;
use postroad_store::NewMessage;
use postroad_store::query::inbox::InboxRecord;
use serde_json::json;
use uuid::Uuid;

use super::Teller;
use super::service::Service;

const READ: &str = "edgenexus.request.machine.read";
const READ_ANSWER: &str = "ebmr.response.machine.read";

pub(crate) async fn play(teller: &Teller<'_>, ebmr: &Service, edgenexus: &Service) -> Result<()> {
    success(teller, ebmr, edgenexus).await?;
    failure(teller, ebmr, edgenexus).await?;
    chain(teller, ebmr, edgenexus).await?;
    events(teller, ebmr, edgenexus).await?;
    invalid(teller, ebmr).await?;
    duplicate(teller, ebmr, edgenexus).await
}

async fn success(teller: &Teller<'_>, ebmr: &Service, edgenexus: &Service) -> Result<()> {
    let asked = fresh();
    ebmr.send([NewMessage::request(READ, &asked, READ_ANSWER, json!({ "machine": "press-4" }))])
        .await?;
    teller.say(format_args!("ebmr asks {READ} for press-4"));
    let request = edgenexus.take("the request", of(&asked)).await?;
    teller.say(format_args!("edgenexus has the request in its inbox: {}", request.payload));
    edgenexus
        .send([answer(
            &request,
            ResponseStatus::Success,
            json!({ "machine": "press-4", "rpm": 900 }),
        )])
        .await?;
    let response = ebmr.take("the answer", of(&asked)).await?;
    ensure!(response.message_status.as_deref() == Some("success"), "not a success: {response:?}");
    teller.say(format_args!("ebmr has the answer, success: {}", response.payload));
    Ok(())
}

async fn failure(teller: &Teller<'_>, ebmr: &Service, edgenexus: &Service) -> Result<()> {
    let asked = fresh();
    ebmr.send([NewMessage::request(READ, &asked, READ_ANSWER, json!({ "machine": "press-99" }))])
        .await?;
    teller.say(format_args!("ebmr asks {READ} for press-99, which does not exist"));
    let request = edgenexus.take("the request", of(&asked)).await?;
    edgenexus
        .send([answer(&request, ResponseStatus::Error, json!({ "error": "no machine press-99" }))])
        .await?;
    let response = ebmr.take("the answer", of(&asked)).await?;
    ensure!(response.message_status.as_deref() == Some("error"), "not an error: {response:?}");
    teller.say(format_args!("ebmr has the answer, error: {}", response.payload));
    Ok(())
}

/// To answer, edgenexus has to ask back: a request with a parent, one deeper in the chain.
async fn chain(teller: &Teller<'_>, ebmr: &Service, edgenexus: &Service) -> Result<()> {
    let (asked, asked_back) = (fresh(), fresh());
    let calibrate = "edgenexus.request.machine.calibrate";
    let request = NewMessage::request(
        calibrate,
        &asked,
        "ebmr.response.machine.calibrate",
        json!({ "machine": "press-4" }),
    );
    ebmr.send([request]).await?;
    let request = edgenexus.take("the request", of(&asked)).await?;
    let back = NewMessage::request(
        "ebmr.request.recipe.read",
        &asked_back,
        "edgenexus.response.recipe.read",
        json!({ "recipe": "R-7" }),
    );
    edgenexus.send([back.caused_by(&asked, 1)]).await?;
    let inner = ebmr.take("the request back", of(&asked_back)).await?;
    let linked =
        inner.parent_request_id.as_deref() == Some(asked.as_str()) && inner.chain_depth == 1;
    ensure!(linked, "the chain is broken: {inner:?}");
    teller.say(format_args!(
        "edgenexus asks back, chain_depth {}, parent {asked}",
        inner.chain_depth
    ));
    ebmr.send([answer(&inner, ResponseStatus::Success, json!({ "force_kn": 12.5 }))]).await?;
    edgenexus.take("the recipe", of(&asked_back)).await?;
    edgenexus
        .send([answer(&request, ResponseStatus::Success, json!({ "calibrated": true }))])
        .await?;
    let response = ebmr.take("the answer", of(&asked)).await?;
    teller.say(format_args!("ebmr has the answer of the chain: {}", response.payload));
    Ok(())
}

async fn events(teller: &Teller<'_>, ebmr: &Service, edgenexus: &Service) -> Result<()> {
    let told = ["event.machine.spindle.started", "event.machine.spindle.stopped"];
    edgenexus
        .send(
            told.map(|topic| NewMessage::event(topic, "spindle", json!({ "machine": "press-4" }))),
        )
        .await?;
    for topic in told {
        ebmr.take(topic, |record| record.topic == topic).await?;
        teller.say(format_args!("ebmr heard {topic}"));
    }
    Ok(())
}

/// A request that says nowhere to answer can never be sent.
async fn invalid(teller: &Teller<'_>, ebmr: &Service) -> Result<()> {
    let mut request =
        NewMessage::request(READ, fresh(), READ_ANSWER, json!({ "machine": "press-4" }));
    request.reply_to = None;
    let ids = ebmr.send([request]).await?;
    for id in ids {
        let row = ebmr.settled(&id).await?;
        ensure!(row.status == "invalid", "the row became {}", row.status);
        teller.say(format_args!(
            "a row without reply_to is invalid: {}",
            row.last_error.unwrap_or_default()
        ));
    }
    Ok(())
}

/// Sent twice with one `message_id`, stored once.
async fn duplicate(teller: &Teller<'_>, ebmr: &Service, edgenexus: &Service) -> Result<()> {
    let message_id = fresh();
    let topic = "event.machine.shift.ended";
    let event = || NewMessage::event(topic, "shift", json!({ "shift": 3 })).message_id(&message_id);
    let ids = edgenexus.send([event(), event()]).await?;
    for id in ids {
        let row = edgenexus.settled(&id).await?;
        ensure!(row.status == "published", "the row became {}", row.status);
    }
    let last = fresh();
    edgenexus
        .send([NewMessage::event(topic, "shift", json!({ "shift": 4 })).message_id(&last)])
        .await?;
    ebmr.take("the event", |record| record.message_id == message_id).await?;
    // One queue, one order: when this one is there, so were both of the others.
    ebmr.take("the event after it", |record| record.message_id == last).await?;
    teller.say("an event was published twice with one message_id");
    Ok(())
}

fn answer(request: &InboxRecord, status: ResponseStatus, payload: serde_json::Value) -> NewMessage {
    let topic = request.reply_to.clone().unwrap_or_default();
    NewMessage::response(topic, request.request_id.clone().unwrap_or_default(), status, payload)
}

fn of(request_id: &str) -> impl Fn(&InboxRecord) -> bool {
    move |record| record.request_id.as_deref() == Some(request_id)
}

fn fresh() -> String {
    Uuid::now_v7().to_string()
}
