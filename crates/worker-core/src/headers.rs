//! How many headers a message may have, and how large they may be.

use serde_json::{Map, Value};

const MOST: usize = 64;
const MOST_BYTES: usize = 16 * 1024;

/// `Err` says for a person what is too much. The size is that of the JSON text.
pub(crate) fn check(headers: &Map<String, Value>) -> Result<(), String> {
    if headers.len() > MOST {
        return Err(format!("headers: {} entries are above the maximum of {MOST}", headers.len()));
    }
    let bytes = serde_json::to_string(headers).map_or(usize::MAX, |text| text.len());
    if bytes > MOST_BYTES {
        return Err(format!("headers: {bytes} bytes are above the maximum of {MOST_BYTES}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn many(entries: usize, value: &str) -> Map<String, Value> {
        (0..entries).map(|number| (format!("h{number:02}"), value.into())).collect()
    }

    #[test]
    fn the_limits_are_64_entries_and_16_kib() {
        assert_eq!(check(&Map::new()), Ok(()));
        assert_eq!(check(&many(64, "")), Ok(()));
        assert!(check(&many(65, "")).unwrap_err().contains("65 entries"));
        // {"h00":".."} has ten bytes beside the text.
        assert_eq!(check(&many(1, &"x".repeat(16_384 - 10))), Ok(()));
        assert!(check(&many(1, &"x".repeat(16_384 - 9))).unwrap_err().contains("16385 bytes"));
    }
}
