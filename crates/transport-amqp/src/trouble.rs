//! What a person has to see to, while it lasts.

use std::sync::{Mutex, PoisonError};

/// The newest trouble with dead letters.
#[derive(Debug, Default)]
pub(crate) struct Trouble(Mutex<Option<String>>);

impl Trouble {
    /// It is this now. `true`: there was none before.
    pub(crate) fn is(&self, text: String) -> bool {
        self.lock().replace(text).is_none()
    }

    /// It is over. `true`: there was one.
    pub(crate) fn over(&self) -> bool {
        self.lock().take().is_some()
    }

    pub(crate) fn text(&self) -> Option<String> {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
