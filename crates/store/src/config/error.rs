//! Why the configuration cannot be changed so.

use postroad_worker_core::StoreError;
use sea_orm::DbErr;

use crate::fault::store_error;

/// Why a change was not made; nothing was changed then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// There is no such config.
    #[error("there is no config `{0}`")]
    UnknownConfig(String),
    /// There is no such column.
    #[error("unknown setting `{name}`; there are: {known}")]
    UnknownColumn {
        /// As it was given, with the config before it where a file was imported.
        name: String,
        /// Those there are.
        known: String,
    },
    /// A value that does not fit its column.
    #[error("`{name}` {problem}")]
    InvalidValue {
        /// Of the column.
        name: String,
        /// What would fit.
        problem: String,
    },
    /// The database did not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<DbErr> for ConfigError {
    fn from(error: DbErr) -> Self {
        Self::Store(store_error(&error))
    }
}
