//! Files for `postroad config import`.

use std::cell::OnceCell;

use postroad_store::config::{self, ConfigError};
use postroad_store::{Database, connect};
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};

thread_local! {
    static HOME: OnceCell<(Runtime, Database)> = const { OnceCell::new() };
}

/// A file in TOML.
pub(crate) fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    match toml::from_str::<Value>(text) {
        Ok(file) => HOME.with(|home| import(home.get_or_init(open), &file)),
        // Where the command line says in which line it is.
        Err(error) => {
            let place = error.span().map_or(0, |span| span.start);
            assert!(text.is_char_boundary(place), "{error}");
        }
    }
}

/// What is refused says why, and leaves nothing; what is taken is the same a second time.
fn import((runtime, database): &(Runtime, Database), file: &Value) {
    match runtime.block_on(config::import(database, file)) {
        Ok(changes) => {
            let again = runtime.block_on(config::import(database, file));
            let again = again.expect("what was taken once is taken twice");
            assert!(again.created.is_empty() && again.updated.is_empty(), "{again:?}: {file}");
            let found = runtime.block_on(config::list(database)).expect("they can be listed");
            let keys = [changes.created, changes.updated, changes.unchanged].concat();
            assert!(keys.iter().all(|key| found.iter().any(|config| config.config_key == *key)));
        }
        Err(ConfigError::Store(error)) => panic!("the database took offence: {error:?} at {file}"),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn open() -> (Runtime, Database) {
    let runtime = Builder::new_current_thread().enable_all().build().expect("there is a runtime");
    let database = runtime.block_on(async {
        let database = connect("sqlite::memory:").await.expect("it is in memory");
        postroad_migration::up(database.connection()).await.expect("it is empty");
        database
    });
    (runtime, database)
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let texts = [
        include_str!("../../../postroad.example.toml"),
        "[config.default]\nbroker_type = \"rabbitmq\"\nsource_service = \"a\"\nhost = \"localhost:5672,b\"\npassword = \"env:X\"\n\
         [config.default.rabbitmq]\nbinding_keys = [\"event.#\"]\nqueue_type = \"classic\"\n",
        "[config.m]\nbroker_type = \"mqtt\"\nretention_days_published = \"never\"\nport = 1883\n\
         [config.m.mqtt]\nqos = 1\ninbound_topics = [\"edgex/events/#\"]\nshared_group = \"g\"\n",
        "[config.x]\nis_active = true\nmax_retry_count = 0\nretention_days_processed = 3\n",
    ];
    texts.map(|text| text.as_bytes().to_vec()).to_vec()
}
