//! Fairness: between one ordering key and the next, and between rows with a key and rows without.

/// Where the last claim ended. Only a matter of fairness, so it is no loss that it is kept in memory.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    from: String,
    is_odd: bool,
}

/// One statement of a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Turn {
    /// The most rows.
    pub(crate) limit: usize,
    /// The most of them that have an ordering key.
    pub(crate) keyed: usize,
    /// The ordering key to begin at.
    pub(crate) from: String,
}

impl Turns {
    /// A claim begins: half of it is for rows with a key, taken up where the last claim ended.
    pub(crate) fn first(&mut self, limit: usize) -> Turn {
        self.is_odd = !self.is_odd;
        let keyed = if self.is_odd { limit.div_ceil(2) } else { limit / 2 };
        Turn { limit, keyed, from: self.from.clone() }
    }

    /// What `turn` found, and how to go on where it left something free: through the keys behind the last one, then
    /// once from the beginning.
    pub(crate) fn next<'a>(
        &mut self,
        turn: &Turn,
        found: usize,
        keys: impl Iterator<Item = &'a str> + Clone,
    ) -> Option<Turn> {
        let may_be_more = keys.clone().count() == turn.keyed;
        self.from = match keys.max() {
            // The least text behind the key, as good as.
            Some(last) if may_be_more => format!("{last}\u{1}"),
            None if may_be_more => turn.from.clone(),
            _ => String::new(),
        };
        let free = turn.limit.saturating_sub(found);
        let goes_on = free > 0 && (may_be_more || !turn.from.is_empty());
        goes_on.then(|| Turn { limit: free, keyed: free, from: self.from.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(limit: usize, keyed: usize, from: &str) -> Turn {
        Turn { limit, keyed, from: from.to_owned() }
    }

    #[test]
    fn without_keys_one_statement_is_enough() {
        let mut turns = Turns::default();
        let first = turns.first(10);
        assert_eq!(first, turn(10, 5, ""));
        assert_eq!(turns.next(&first, 3, [].into_iter()), None);
    }

    #[test]
    fn a_claim_of_one_row_alternates() {
        let mut turns = Turns::default();
        let shares: Vec<_> = (0..4).map(|_| turns.first(1).keyed).collect();
        assert_eq!(shares, [1, 0, 1, 0]);
    }

    #[test]
    fn what_rows_without_a_key_leave_free_goes_to_those_with_one() {
        let mut turns = Turns::default();
        let first = turns.first(4);
        let second = turns.next(&first, 2, ["b", "a"].into_iter());
        assert_eq!(second, Some(turn(2, 2, "b\u{1}")));
        assert_eq!(turns.next(&second.unwrap(), 2, ["c", "d"].into_iter()), None);
        assert_eq!(turns.first(4).from, "d\u{1}");
    }

    #[test]
    fn behind_the_last_key_comes_the_first_again() {
        let mut turns = Turns { from: "m".to_owned(), is_odd: false };
        let first = turns.first(4);
        let second = turns.next(&first, 1, ["z"].into_iter()).unwrap();
        assert_eq!(second, turn(3, 3, ""));
        assert_eq!(turns.next(&second, 1, ["a"].into_iter()), None);
        assert_eq!(turns.first(4).from, "");
    }
}
