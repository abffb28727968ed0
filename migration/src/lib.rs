//! The schema of Postroad, one migration a file, frozen once released.
//!
//! What was applied is recorded in `postroad_migrations`, apart from the migrations of the service whose database this
//! is. `README.md` says more.

mod m0001_create_tables;
mod migrator;
mod state;

pub use migrator::{Migrator, down, up};
pub use state::{SchemaState, schema_state, status};
