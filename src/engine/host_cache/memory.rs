//! States in host memory, up to a number of bytes; the least recently used are dropped first.

use super::SavedState;
use crate::protocol::Token;

/// States in the order of their last use, the oldest first.
#[derive(Debug)]
pub(super) struct Memory {
    states: Vec<SavedState>,
    n_bytes: u64,
    limit: u64,
}

impl Memory {
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

    /// Takes the state of these tokens.
    pub(super) fn take(&mut self, tokens: &[Token]) -> Option<SavedState> {
        let index = self
            .states
            .iter()
            .position(|state| state.tokens == tokens)?;
        let state = self.states.remove(index);
        self.n_bytes -= state.n_bytes();
        Some(state)
    }

    /// Drops the states whose tokens are not wanted.
    pub(super) fn retain(&mut self, wanted: impl Fn(&[Token]) -> bool) {
        self.states.retain(|state| wanted(&state.tokens));
        self.n_bytes = self.states.iter().map(SavedState::n_bytes).sum();
    }

    /// Adds a state and returns those that no longer fit, possibly itself.
    pub(super) fn put(&mut self, state: SavedState) -> Vec<SavedState> {
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
    pub(super) fn drain(&mut self) -> Vec<SavedState> {
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
    fn state(token: Token) -> SavedState {
        SavedState {
            tokens: vec![token; 5],
            bytes: vec![0; 80],
        }
    }

    #[test]
    fn the_least_recently_used_makes_room() {
        let mut memory = Memory::new(200);
        assert!(memory.put(state(1)).is_empty());
        assert!(memory.put(state(2)).is_empty());
        // A state that is used is taken and comes back later.
        let used = memory.take(&state(1).tokens).unwrap();
        assert!(memory.put(used).is_empty());
        assert_eq!(memory.put(state(3)), [state(2)]);
        assert_eq!(memory.drain(), [state(3), state(1)]);
        assert!(memory.put(state(4)).is_empty());
    }

    #[test]
    fn what_is_larger_than_the_cache_displaces_nobody() {
        let mut memory = Memory::new(150);
        assert!(memory.put(state(1)).is_empty());
        let mut large = state(2);
        large.bytes.resize(1000, 0);
        assert_eq!(memory.put(large.clone()), [large]);
        assert_eq!(memory.take(&state(1).tokens), Some(state(1)));
        assert_eq!(memory.take(&state(1).tokens), None);
    }
}
