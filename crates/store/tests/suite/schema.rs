//! The tables, by themselves.

use postroad_migration::{SchemaState, schema_state, status};
use postroad_store::query::outbox::{Filter, list};
use sea_orm::ConnectionTrait;
use uuid::Uuid;

use super::home::Home;

pub(crate) async fn a_plain_insert_gets_a_default_for_everything_else(home: Home) {
    home.execute(
        "INSERT INTO outbound_event (topic, message_type, request_id, reply_to, payload) \
         VALUES ('orders.request.order.create', 'request', 'r-1', 'shop.response.order.create', '{\"a\":1}')",
    )
    .await;
    let rows = list(&home.database, &Filter::default()).await.unwrap();
    let [row] = rows.as_slice() else { panic!("{rows:?}") };
    // MariaDB makes other ones before 11.7.
    assert!(Uuid::parse_str(&row.id).unwrap().get_version_num() == 4 || home.is_mysql());
    assert_eq!(row.id, row.id.to_lowercase());
    assert_eq!((row.config_key.as_str(), row.status.as_str()), ("default", "pending"));
    assert_eq!((row.published, row.retry_count, row.chain_depth), (false, 0, None));
    assert_eq!(row.created_at, row.updated_at);
    assert!(row.created_at.ends_with('Z') && row.created_at.len() == 24, "{}", row.created_at);

    home.execute("INSERT INTO event_bus_runtime_config (config_key) VALUES ('other')").await;
    home.execute("INSERT INTO event_bus_runtime_config (host) VALUES ('localhost')").await;
    home.execute("INSERT INTO event_bus_rabbitmq_settings (queue) VALUES ('mine')").await;
    home.execute("INSERT INTO event_bus_mqtt_settings (client_id) VALUES ('me')").await;
}

pub(crate) async fn a_status_that_does_not_exist_is_refused_by_the_database(home: Home) {
    home.execute("INSERT INTO event_bus_runtime_config (config_key) VALUES ('default')").await;
    for wrong in [
        "INSERT INTO outbound_event (topic, payload, status) VALUES ('t', '{}', 'sent')",
        "INSERT INTO outbound_event (topic, payload) VALUES ('t', 'not json')",
        "INSERT INTO outbound_event (payload) VALUES ('{}')",
        "INSERT INTO inbound_event (topic, message_id, message_type, payload) VALUES ('t', 'm', 'other', '{}')",
        "UPDATE event_bus_runtime_config SET broker_type = 'kafka'",
        "UPDATE event_bus_runtime_config SET port = 70000",
        "INSERT INTO event_bus_rabbitmq_settings (queue_type) VALUES ('stream')",
        "INSERT INTO event_bus_rabbitmq_settings (heartbeat_seconds) VALUES (61)",
        "INSERT INTO event_bus_mqtt_settings (qos) VALUES (3)",
        "INSERT INTO event_bus_mqtt_settings (protocol_version) VALUES (3)",
        "INSERT INTO event_bus_mqtt_settings (config_key) VALUES ('no such config')",
    ] {
        assert!(home.database.connection().execute_unprepared(wrong).await.is_err(), "{wrong}");
    }
}

/// As many as there are migrations.
async fn all_steps(home: &Home) -> u32 {
    status(home.database.connection()).await.unwrap().len().try_into().unwrap()
}

pub(crate) async fn migrations_go_up_and_down_and_up_again(home: Home) {
    let db = home.database.connection();
    assert!(status(db).await.unwrap().iter().all(|(_, applied)| *applied));
    postroad_migration::down(db, all_steps(&home).await).await.unwrap();
    assert!(status(db).await.unwrap().iter().any(|(_, applied)| !applied));
    assert!(db.execute_unprepared("SELECT 1 FROM outbound_event").await.is_err());
    postroad_migration::up(db).await.unwrap();
    postroad_migration::up(db).await.unwrap();
    assert_eq!(schema_state(db).await.unwrap(), SchemaState::Current);
    assert_eq!(home.count("SELECT count(*) FROM outbound_event").await, 0);
}

pub(crate) async fn two_programs_may_migrate_at_once(home: Home) {
    postroad_migration::down(home.database.connection(), all_steps(&home).await).await.unwrap();
    home.execute("DROP TABLE postroad_migrations").await;
    let neighbour = home.neighbour().await;
    let (one, other) = tokio::join!(
        postroad_migration::up(home.database.connection()),
        postroad_migration::up(neighbour.connection())
    );
    one.unwrap();
    other.unwrap();
    assert_eq!(schema_state(neighbour.connection()).await.unwrap(), SchemaState::Current);
}

pub(crate) async fn a_schema_of_another_version_is_recognised(home: Home) {
    let db = home.database.connection();
    home.execute("INSERT INTO postroad_migrations (version, applied_at) VALUES ('m9999_later', 0)")
        .await;
    let unknown = vec!["m9999_later".to_owned()];
    assert_eq!(schema_state(db).await.unwrap(), SchemaState::TooNew { unknown });
    home.execute("DELETE FROM postroad_migrations WHERE version <> 'm9999_later'").await;
    assert!(matches!(schema_state(db).await.unwrap(), SchemaState::TooNew { .. }));
    home.execute("UPDATE postroad_migrations SET version = 'm0000_earlier'").await;
    assert!(matches!(schema_state(db).await.unwrap(), SchemaState::TooNew { .. }));
    home.execute("DELETE FROM postroad_migrations").await;
    assert_eq!(schema_state(db).await.unwrap(), SchemaState::Missing);
    home.execute("DROP TABLE postroad_migrations").await;
    assert_eq!(schema_state(db).await.unwrap(), SchemaState::Missing);
}
