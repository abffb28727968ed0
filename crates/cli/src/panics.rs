//! What a panic says is logged in one line, without passwords.

use std::fmt::Write as _;
use std::panic::{self, PanicHookInfo};
use std::sync::{Mutex, PoisonError};

/// Passwords that this process has learned. Each is kept once.
static SECRETS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// A password shorter than this is found by chance in any text, so it would hide all of them.
const SHORTEST: usize = 4;

const WITHHELD: &str = "(withheld, it holds a password)";

/// From now on panics are log lines, at the level of errors.
pub(crate) fn install() {
    panic::set_hook(Box::new(|info| {
        let (message, place) = (message(info), place(info));
        tracing::error!(place, "panicked: {}", shown(message, &secrets()));
    }));
}

/// Has it left out of what panics say.
pub(crate) fn learn(secret: &str) {
    let mut secrets = SECRETS.lock().unwrap_or_else(PoisonError::into_inner);
    if secret.len() >= SHORTEST && !secrets.iter().any(|known| known == secret) {
        secrets.push(secret.to_owned());
    }
}

fn secrets() -> Vec<String> {
    SECRETS.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

fn message<'i>(info: &'i PanicHookInfo<'_>) -> &'i str {
    let payload = info.payload();
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or_default()
}

fn place(info: &PanicHookInfo<'_>) -> String {
    info.location().map(ToString::to_string).unwrap_or_default()
}

/// The message, unless it holds a secret as text, as `Debug` writes it, or as a list of bytes.
fn shown<'m>(message: &'m str, secrets: &[String]) -> &'m str {
    let holds = |secret: &String| {
        let debug = format!("{secret:?}");
        let mut bytes = String::new();
        for byte in secret.bytes() {
            // A `String` takes all that is written.
            write!(bytes, ", {byte}").ok();
        }
        let forms = [secret.as_str(), debug.trim_matches('"'), bytes.trim_start_matches(", ")];
        forms.iter().any(|form| message.contains(form))
    };
    if secrets.iter().any(holds) { WITHHELD } else { message }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;

    use tracing_subscriber::fmt::MakeWriter;

    use super::*;

    const SECRET: &str = "hunter\"2\u{fc}";

    #[track_caller]
    fn check(message: &str, expected: &str) {
        assert_eq!(shown(message, &[SECRET.to_owned()]), expected);
    }

    #[test]
    fn a_message_is_shown_unless_a_password_is_in_it() {
        check("index out of bounds", "index out of bounds");
        check(&format!("cannot use {SECRET} here"), WITHHELD);
        check(&format!("unwrap on {:?}", Some(SECRET)), WITHHELD);
        check(&format!("unwrap on {:?}", SECRET.as_bytes()), WITHHELD);
    }

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'w> MakeWriter<'w> for Log {
        type Writer = Self;

        fn make_writer(&'w self) -> Self {
            self.clone()
        }
    }

    #[test]
    fn a_panic_over_a_password_is_a_line_without_it() {
        learn(SECRET);
        learn("abc");
        let log = Log::default();
        let lines = tracing_subscriber::fmt().with_writer(log.clone()).with_ansi(false).finish();
        let before = panic::take_hook();
        install();
        tracing::subscriber::with_default(lines, || {
            let nul = format!("{SECRET}\0");
            panic::catch_unwind(|| std::ffi::CString::new(nul).unwrap()).unwrap_err();
            panic::catch_unwind(|| panic!("nothing to hide")).unwrap_err();
        });
        panic::set_hook(before);
        let said = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        assert_eq!(said.lines().count(), 2, "{said}");
        assert!(said.contains(WITHHELD) && said.contains("panics.rs"), "{said}");
        assert!(said.contains("panicked: nothing to hide"), "{said}");
        assert!(!said.contains("hunter"), "{said}");
    }
}
