//! Words to the user, on standard error; standard output is for what a program may read.

use std::fmt::Display;
use std::io::{self, Write};

/// Writes a line.
pub(crate) fn say(text: impl Display) {
    // A terminal that is gone must not keep us from stopping what we started.
    writeln!(io::stderr(), "{text}").ok();
}
