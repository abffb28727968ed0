//! The schema of Postroad, one migration a file, frozen once released.
//!
//! What was applied is recorded in `postroad_migrations`, apart from the migrations of the service whose database this
//! is. `README.md` says more.
//!
//! ```
//! use postroad_migration::{SchemaState, schema_state, up};
//! use sea_orm_migration::sea_orm::Database;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), sea_orm_migration::sea_orm::DbErr> {
//! let db = Database::connect("sqlite::memory:").await?;
//! assert_eq!(schema_state(&db).await?, SchemaState::Missing);
//! up(&db).await?;
//! assert_eq!(schema_state(&db).await?, SchemaState::Current);
//! # Ok(())
//! # }
//! ```

mod m0001_create_tables;
mod m0002_retention;
mod m0003_security;
mod m0004_wake_up;
mod m0005_late_rows;
mod m0007_quarantine;
mod m0008_late_numbers;
mod migrator;
mod mysql;
mod postgres;
mod state;

pub use migrator::{Migrator, down, up};
pub use state::{SchemaState, schema_state, status};
