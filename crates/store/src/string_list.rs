//! A JSON list of text in one column.

use sea_orm::FromJsonQueryResult;
use serde::{Deserialize, Serialize};

/// Texts in order.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, FromJsonQueryResult)]
pub struct StringList(pub Vec<String>);
