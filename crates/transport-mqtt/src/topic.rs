//! Which topics can be published to, and which filters subscribed to.

use crate::settings::MAX_TEXT;

/// Mosquitto ends the connection of whoever publishes to a topic of more levels.
const MAX_SEPARATORS: usize = 200;

/// Brokers end the connection over a bad topic, and the same message would end the next one too. So every topic is
/// checked before the client sees it.
pub(crate) fn check_name(topic: &str) -> Result<(), &'static str> {
    if topic.contains(['+', '#']) {
        return Err("the topic has a wildcard (`+` or `#`)");
    }
    check_text(topic)?;
    if topic.matches('/').count() > MAX_SEPARATORS {
        return Err("the topic has more than 201 levels");
    }
    Ok(())
}

/// `+` and `#` stand alone in their level, `#` only in the last.
pub(crate) fn check_filter(filter: &str) -> Result<(), &'static str> {
    check_text(filter)?;
    let levels: Vec<_> = filter.split('/').collect();
    if levels.iter().any(|level| level.len() > 1 && level.contains(['+', '#'])) {
        return Err("a wildcard stands alone in its level");
    }
    if levels[..levels.len() - 1].contains(&"#") {
        return Err("`#` stands in the last level only");
    }
    Ok(())
}

fn check_text(text: &str) -> Result<(), &'static str> {
    if text.is_empty() {
        return Err("the topic is empty");
    }
    if text.len() > MAX_TEXT {
        return Err("the topic has more than 65535 bytes");
    }
    if text.chars().any(char::is_control) {
        return Err("the topic has a control character");
    }
    if text.chars().any(is_noncharacter) {
        return Err("the topic has a code point that is no character, like U+FFFE");
    }
    Ok(())
}

fn is_noncharacter(character: char) -> bool {
    let code = u32::from(character);
    (0xfdd0..=0xfdef).contains(&code) || code & 0xfffe == 0xfffe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn name(topic: &str, part: &str) {
        let outcome = check_name(topic);
        let found = outcome.err().unwrap_or_default();
        assert!(found.contains(part) && found.is_empty() == part.is_empty(), "{topic:?}: {found}");
    }

    #[track_caller]
    fn filter(filter: &str, part: &str) {
        let found = check_filter(filter).err().unwrap_or_default();
        assert!(found.contains(part) && found.is_empty() == part.is_empty(), "{filter:?}: {found}");
    }

    #[test]
    fn topics_that_brokers_end_the_connection_for_are_refused() {
        for good in ["a", "/", "//", "edgex/events/device/x y/%2F", "\u{1f600}", "$x", "a\u{fffd}b"]
        {
            name(good, "");
        }
        name(&"t".repeat(65_535), "");
        name(&"t".repeat(65_536), "65535");
        name("", "empty");
        name("a/+/b", "wildcard");
        name("a/#", "wildcard");
        name("a+", "wildcard");
        name("a\0b", "control");
        name("a\nb", "control");
        name("a\u{85}b", "control");
        name("a\u{fffe}b", "U+FFFE");
        name("a\u{ffff}b", "U+FFFE");
        name("a\u{1fffe}b", "U+FFFE");
        name("a\u{fdd0}b", "U+FFFE");
        name(&"/".repeat(200), "");
        name(&"/".repeat(201), "levels");
    }

    #[test]
    fn a_wildcard_of_a_filter_stands_alone() {
        for good in ["#", "+", "+/+", "a/+/b", "a/#", "/", "a"] {
            filter(good, "");
        }
        filter("a#", "alone");
        filter("a/+b", "alone");
        filter("##", "alone");
        filter("#/a", "last");
        filter("a/#/b", "last");
        filter("", "empty");
        filter("a\0", "control");
    }
}
