//! States in host memory, up to a number of bytes; the least recently used goes first.

use super::State;
use crate::protocol::Token;

/// The least recently used state comes first.
#[derive(Debug)]
pub(super) struct Shelf {
    states: Vec<State>,
    n_bytes: u64,
    limit: u64,
}

impl Shelf {
    pub(super) fn new(limit: u64) -> Self {
        Self {
            states: Vec::new(),
            n_bytes: 0,
            limit,
        }
    }

    pub(super) fn limit(&self) -> u64 {
        self.limit
    }

    pub(super) fn tokens(&self) -> impl Iterator<Item = &[Token]> {
        self.states.iter().map(|state| state.tokens.as_slice())
    }

    pub(super) fn take(&mut self, index: usize) -> Option<State> {
        if index >= self.states.len() {
            return None;
        }
        let state = self.states.remove(index);
        self.n_bytes -= state.n_bytes();
        Some(state)
    }

    /// Drops the states whose tokens are not wanted.
    pub(super) fn retain(&mut self, wanted: impl Fn(&[Token]) -> bool) {
        self.states.retain(|state| wanted(&state.tokens));
        self.n_bytes = self.states.iter().map(State::n_bytes).sum();
    }

    /// Puts a state on the shelf and returns those that have no room any more, itself perhaps.
    pub(super) fn put(&mut self, state: State) -> Vec<State> {
        if state.n_bytes() > self.limit {
            return vec![state];
        }
        self.n_bytes += state.n_bytes();
        self.states.push(state);
        let mut n_displaced = 0;
        while self.n_bytes > self.limit {
            self.n_bytes -= self.states[n_displaced].n_bytes();
            n_displaced += 1;
        }
        self.states.drain(..n_displaced).collect()
    }

    /// All states, the most recently used first.
    pub(super) fn drain(&mut self) -> Vec<State> {
        self.n_bytes = 0;
        let mut states = std::mem::take(&mut self.states);
        states.reverse();
        states
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 100 bytes.
    fn state(token: Token) -> State {
        State {
            tokens: vec![token; 5],
            bytes: vec![0; 80],
        }
    }

    #[test]
    fn the_least_recently_used_makes_room() {
        let mut shelf = Shelf::new(200);
        assert!(shelf.put(state(1)).is_empty());
        assert!(shelf.put(state(2)).is_empty());
        // A state that is used is taken and comes back later.
        let used = shelf.take(0).unwrap();
        assert!(shelf.put(used).is_empty());
        assert_eq!(shelf.put(state(3)), [state(2)]);
        assert_eq!(shelf.drain(), [state(3), state(1)]);
        assert!(shelf.put(state(4)).is_empty());
    }

    #[test]
    fn what_is_larger_than_the_shelf_displaces_nobody() {
        let mut shelf = Shelf::new(150);
        assert!(shelf.put(state(1)).is_empty());
        let mut large = state(2);
        large.bytes.resize(1000, 0);
        assert_eq!(shelf.put(large.clone()), [large]);
        assert_eq!(shelf.take(0), Some(state(1)));
        assert_eq!(shelf.take(0), None);
    }
}
