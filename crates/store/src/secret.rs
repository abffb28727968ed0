//! A password that does not show itself.

use std::{env, fmt, fs, io};

use sea_orm::DeriveValueType;
use serde::{Serialize, Serializer};

/// A password, or where to find it: `env:NAME` or `file:PATH`. Printed and serialized as `***`.
#[derive(Clone, PartialEq, Eq, DeriveValueType)]
pub struct Secret(String);

/// Why a password was not where it was said to be. Names the place, never the password.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SecretError {
    /// No such variable, or not text.
    #[error("the password is to come from the environment variable `{name}`, which is not set")]
    Variable {
        /// Of the variable.
        name: String,
    },
    /// The file could not be read.
    #[error("the password is to come from the file `{path}`, which cannot be read")]
    File {
        /// Of the file.
        path: String,
        /// Why not.
        source: io::Error,
    },
}

impl Secret {
    /// Takes the column's text as it is.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The column's text, unresolved.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The password itself. Reads the environment or the file anew each time, so that a changed one is found; line ends
    /// at the end of a file are not part of it.
    pub fn resolve(&self) -> Result<String, SecretError> {
        if let Some(name) = self.0.strip_prefix("env:") {
            env::var(name).map_err(|_| SecretError::Variable { name: name.to_owned() })
        } else if let Some(path) = self.0.strip_prefix("file:") {
            let text = fs::read_to_string(path)
                .map_err(|source| SecretError::File { path: path.to_owned(), source })?;
            Ok(text.trim_end_matches(['\r', '\n']).to_owned())
        } else {
            Ok(self.0.clone())
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_printed() {
        let secret = Secret::new("hunter2");
        assert_eq!(
            format!("{secret} {secret:?} {}", serde_json::to_string(&secret).unwrap()),
            "*** *** \"***\""
        );
        assert_eq!(secret.expose(), "hunter2");
    }

    #[test]
    fn a_secret_is_taken_from_where_it_says() {
        assert_eq!(Secret::new("hunter2").resolve().unwrap(), "hunter2");
        let path = env::temp_dir().join(uuid::Uuid::new_v4().to_string());
        fs::write(&path, "hunter2 \r\n\n").unwrap();
        let secret = Secret::new(format!("file:{}", path.display()));
        assert_eq!(secret.resolve().unwrap(), "hunter2 ");
        fs::remove_file(&path).unwrap();
        assert!(matches!(secret.resolve(), Err(SecretError::File { .. })));
        assert_eq!(Secret::new("env:CARGO_PKG_NAME").resolve().unwrap(), "postroad-store");
        let missing = Secret::new("env:POSTROAD_NO_SUCH_VARIABLE").resolve().unwrap_err();
        assert!(missing.to_string().contains("`POSTROAD_NO_SUCH_VARIABLE`"));
    }
}
