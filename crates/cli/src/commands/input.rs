//! Reading what a command line names.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use anyhow::{Context, Result};

/// The bytes of a file, or of standard input for `-`.
pub(crate) fn read(file: &Path) -> Result<Vec<u8>> {
    if file.as_os_str() == "-" {
        let mut bytes = Vec::new();
        io::stdin().read_to_end(&mut bytes).context("cannot read standard input")?;
        return Ok(bytes);
    }
    fs::read(file).with_context(|| format!("cannot read `{}`", file.display()))
}

/// A value as written, the content of a file for `@FILE`, or standard input for `-`.
pub(crate) fn value(argument: &str) -> Result<String> {
    let bytes = match argument.strip_prefix('@') {
        Some(file) => read(Path::new(file))?,
        None if argument == "-" => read(Path::new(argument))?,
        None => return Ok(argument.to_owned()),
    };
    String::from_utf8(bytes).with_context(|| format!("`{argument}` is not UTF-8"))
}
