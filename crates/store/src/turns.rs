//! Fairness: between one ordering key and the next, and between rows with a key and rows without.

/// Ordering keys that a turn looks at, at least: so that what waits behind very many keys of which none is due costs the rest
/// little.
const VISITS: usize = 1_024;

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
    /// The ordering key that the claim began at.
    began: String,
    /// Whether it has come round to the first one again.
    is_round: bool,
}

impl Turn {
    fn new(limit: usize, keyed: usize, from: &str) -> Self {
        Self { limit, keyed, from: from.to_owned(), began: from.to_owned(), is_round: false }
    }

    /// A turn from the first ordering key on.
    pub(crate) fn from_the_first(limit: usize, keyed: usize) -> Self {
        Self::new(limit, keyed, "")
    }

    /// How many ordering keys to look at, due or not.
    pub(crate) fn visits(&self) -> usize {
        VISITS.max(2 * self.keyed)
    }
}

impl Turns {
    /// A claim begins: half of it is for rows with a key, taken up where the last claim ended.
    pub(crate) fn first(&mut self, limit: usize) -> Turn {
        self.is_odd = !self.is_odd;
        let keyed = if self.is_odd { limit.div_ceil(2) } else { limit / 2 };
        Turn::new(limit, keyed, &self.from)
    }

    /// How to go on after `turn`, which took so many rows and looked at ordering keys up to `end`, or at all that there are: as
    /// long as something is free, through the keys behind, then once from the first one to where the claim began.
    pub(crate) fn next(&mut self, turn: &Turn, taken: usize, end: Option<&str>) -> Option<Turn> {
        let free = turn.limit.saturating_sub(taken);
        if turn.keyed == 0 {
            return (free > 0).then(|| Turn { limit: free, keyed: free, ..turn.clone() });
        }
        // The least text behind the key, as good as.
        self.from = end.map(|key| format!("{key}\u{1}")).unwrap_or_default();
        let is_round = turn.is_round || end.is_none();
        let is_over = match end {
            None => turn.is_round || turn.began.is_empty(),
            Some(end) => turn.is_round && end >= turn.began.as_str(),
        };
        let (from, began) = (self.from.clone(), turn.began.clone());
        (free > 0 && !is_over).then_some(Turn { limit: free, keyed: free, from, began, is_round })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_keys_one_statement_is_enough() {
        let mut turns = Turns::default();
        let first = turns.first(10);
        assert_eq!(first, Turn::new(10, 5, ""));
        assert_eq!(turns.next(&first, 3, None), None);
    }

    #[test]
    fn a_claim_of_one_row_alternates() {
        let mut turns = Turns::default();
        let shares: Vec<_> = (0..4).map(|_| turns.first(1).keyed).collect();
        assert_eq!(shares, [1, 0, 1, 0]);
    }

    #[test]
    fn a_claim_of_one_row_looks_at_keys_where_it_found_none_without() {
        let mut turns = Turns { from: "m".to_owned(), is_odd: true };
        let first = turns.first(1);
        let second = turns.next(&first, 0, None);
        assert_eq!(second, Some(Turn::new(1, 1, "m")));
        assert_eq!(turns.next(&first, 1, None), None);
    }

    #[test]
    fn what_rows_without_a_key_leave_free_goes_to_those_with_one() {
        let mut turns = Turns::default();
        let first = turns.first(4);
        let second = turns.next(&first, 2, Some("b"));
        let second = second.unwrap();
        assert_eq!((second.limit, second.keyed, second.from.as_str()), (2, 2, "b\u{1}"));
        assert_eq!(turns.next(&second, 2, Some("d")), None);
        assert_eq!(turns.first(4).from, "d\u{1}");
    }

    #[test]
    fn behind_the_last_key_comes_the_first_again() {
        let mut turns = Turns { from: "m".to_owned(), is_odd: false };
        let first = turns.first(4);
        let second = turns.next(&first, 1, None).unwrap();
        assert_eq!((second.limit, second.keyed, second.from.as_str()), (3, 3, ""));
        assert_eq!(turns.next(&second, 1, None), None);
        assert_eq!(turns.first(4).from, "");
    }

    #[test]
    fn a_claim_that_finds_nothing_goes_round_once() {
        let mut turns = Turns { from: "m".to_owned(), is_odd: false };
        let mut turn = turns.first(4);
        let mut seen = vec![turn.from.clone()];
        for end in [Some("p"), Some("t"), None, Some("d"), Some("k")] {
            turn = turns.next(&turn, 0, end).unwrap();
            seen.push(turn.from.clone());
        }
        assert_eq!(seen, ["m", "p\u{1}", "t\u{1}", "", "d\u{1}", "k\u{1}"]);
        assert_eq!(turns.next(&turn, 0, Some("n")), None);
        assert_eq!(turns.first(4).from, "n\u{1}");
    }
}
