//! Messages a second on one core: bodies of 1 KiB in and out.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use postroad_envelope::{
    InboundParts, Limits, OutboxColumns, normalise_inbound, normalise_outbound,
};

const TOPIC: &str = "event.sales.order.placed";

/// An order with a note that fills the whole body up to 1 KiB.
fn payload() -> String {
    let order = |note: &str| {
        format!(
            r#"{{"order_id":"0198c0de-7a11-7000-8000-00000000002a","customer":{{"id":48213,"name":"Zoë Müller","email":"zoe@example.org","address":{{"street":"Hafenstraße 12","city":"Köln","zip":"50667","country":"DE"}}}},"lines":[{{"sku":"A-100","quantity":2,"price":19.99,"tags":["blue","large"]}},{{"sku":"B-205","quantity":1,"price":249.5,"tags":[]}},{{"sku":"C-007","quantity":12,"price":0.75,"tags":["bulk"]}}],"total":298.48,"currency":"EUR","paid":true,"voucher":null,"placed_at":"2026-03-14T09:26:53.589Z","note":"{note}"}}"#
        )
    };
    let missing = 1024 - prepared(order("")).len();
    order(&"please ring twice ".repeat(60)[..missing])
}

fn row(payload: String) -> OutboxColumns {
    OutboxColumns {
        id: "0198c0de-7a11-7000-8000-000000000001".into(),
        topic: TOPIC.into(),
        event_type: Some("OrderPlaced".into()),
        request_id: Some("0198c0de-7a11-7000-8000-000000000002".into()),
        payload,
        ..OutboxColumns::default()
    }
}

fn prepared(payload: String) -> Vec<u8> {
    normalise_outbound(&row(payload), "shop", &Limits::default()).expect("the row is valid").body
}

fn envelope(criterion: &mut Criterion) {
    let limits = Limits::default();
    let row = row(payload());
    let body = prepared(payload());
    assert_eq!(body.len(), 1024);

    let mut group = criterion.benchmark_group("1 KiB");
    group.throughput(Throughput::Elements(1));
    group.bench_function("normalise_inbound", |bencher| {
        let parts = InboundParts { body: &body, routing_key: TOPIC, ..InboundParts::default() };
        bencher.iter(|| normalise_inbound(black_box(&parts), &limits));
    });
    group.bench_function("normalise_outbound", |bencher| {
        bencher.iter(|| normalise_outbound(black_box(&row), "shop", &limits));
    });
    group.finish();
}

criterion_group!(benches, envelope);
criterion_main!(benches);
