//! The fake's KV cache: cells with one position each, shared between sequences.

use crate::engine::backend::{BackendError, Row, SeqId};
use crate::engine::media;
use crate::protocol::Token;

/// A unified pool.
#[derive(Debug)]
pub(super) struct Pool {
    cells: Vec<Cell>,
    free: Vec<usize>,
    /// For every sequence its cells, by position.
    seqs: Vec<Vec<usize>>,
    /// A sequence that is longer than this cannot be cut back.
    window: Option<usize>,
}

#[derive(Debug, Clone, Default)]
struct Cell {
    token: Token,
    position: u32,
    n_owners: usize,
}

impl Pool {
    pub(super) fn new(n_cells: usize, n_seqs: usize, window: Option<usize>) -> Self {
        Self {
            cells: vec![Cell::default(); n_cells],
            free: (0..n_cells).rev().collect(),
            seqs: vec![Vec::new(); n_seqs],
            window,
        }
    }

    #[cfg(test)]
    pub(super) fn n_used(&self) -> usize {
        self.cells.iter().filter(|cell| cell.n_owners > 0).count()
    }

    #[cfg(test)]
    pub(super) fn shrink(&mut self, n_cells: usize) {
        self.free.truncate(self.free.len() - n_cells);
    }

    /// The tokens that a sequence holds.
    pub(super) fn tokens(&self, seq: SeqId) -> Vec<Token> {
        let cells = self.seqs.get(seq as usize).into_iter().flatten();
        cells.map(|&cell| self.cells[cell].token).collect()
    }

    /// The tokens that a sequence holds up to a position.
    pub(super) fn tokens_to(&self, seq: SeqId, position: u32) -> Vec<Token> {
        let cells = self.seqs.get(seq as usize).into_iter().flatten();
        let cells = cells.map(|&cell| &self.cells[cell]);
        let cells = cells.take_while(|cell| cell.position <= position);
        cells.map(|cell| cell.token).collect()
    }

    /// Adds rows; false if there is no room, and then nothing was changed.
    pub(super) fn extend(&mut self, rows: &[Row]) -> Result<bool, BackendError> {
        self.check(rows)?;
        if rows.len() > self.free.len() {
            return Ok(false);
        }
        for (row, cell) in rows
            .iter()
            .zip(self.free.split_off(self.free.len() - rows.len()))
        {
            self.cells[cell] = Cell {
                token: row.token,
                position: row.position,
                n_owners: 1,
            };
            self.seqs[row.seq as usize].push(cell);
        }
        Ok(true)
    }

    /// Adds an image's rows; false if there is no room, and then nothing was changed.
    pub(super) fn see(
        &mut self,
        seq: SeqId,
        position: u32,
        tokens: &[Token],
    ) -> Result<bool, BackendError> {
        let first = Row {
            token: 0,
            position,
            seq,
            output: false,
        };
        self.check(&[first])?;
        if tokens.len() > self.free.len() {
            return Ok(false);
        }
        let mut next = position;
        for &token in tokens {
            let Some(cell) = self.free.pop() else { break };
            let is_still = !media::takes_position(token);
            let position = next - u32::from(is_still);
            next = position + 1;
            self.cells[cell] = Cell {
                token,
                position,
                n_owners: 1,
            };
            self.seqs[seq as usize].push(cell);
        }
        Ok(true)
    }

    /// The number of a sequence's cells below a position.
    fn n_below(&self, seq: SeqId, position: usize) -> usize {
        let cells = self.seqs.get(seq as usize).map_or(&[][..], Vec::as_slice);
        cells.partition_point(|&cell| (self.cells[cell].position as usize) < position)
    }

    /// Checks that rows continue what their sequence holds.
    fn check(&self, rows: &[Row]) -> Result<(), BackendError> {
        let mut next: Vec<Option<u32>> = vec![None; self.seqs.len()];
        for row in rows {
            let index = row.seq as usize;
            let seq = self.seqs.get(index);
            let seq = seq.ok_or_else(|| BackendError(format!("no sequence {index}")))?;
            let last = seq.last().map(|&cell| self.cells[cell].position + 1);
            let expected = next[index].or(last).unwrap_or(0);
            if row.position != expected {
                return Err(BackendError(format!(
                    "sequence {index} goes on at {expected}, not at {}",
                    row.position
                )));
            }
            next[index] = Some(expected + 1);
        }
        Ok(())
    }

    pub(super) fn is_windowed(&self) -> bool {
        self.window.is_some()
    }

    /// Whether a memory with a window can drop these positions.
    pub(super) fn can_remove(&self, seq: SeqId, from: usize, to: Option<usize>) -> bool {
        let Some(cells) = self.seqs.get(seq as usize) else {
            return false;
        };
        let len = cells.len();
        let from = self.n_below(seq, from);
        let to = to.map_or(len, |to| self.n_below(seq, to));
        let is_whole = from == 0 && to == len;
        let is_past = self.window.is_some_and(|window| len > window);
        from >= to || !is_past || is_whole
    }

    /// The fewest positions to which a sequence can be cut back.
    pub(super) fn floor(&self, seq: SeqId) -> u32 {
        let cells = self.seqs.get(seq as usize).map_or(&[][..], Vec::as_slice);
        let is_past = self.window.is_some_and(|window| cells.len() > window);
        match cells.last() {
            Some(&last) if is_past => self.cells[last].position + 1,
            _ => 0,
        }
    }

    /// Whether the next `n_rows` rows could be dropped again.
    pub(super) fn can_take_back(&self, seq: SeqId, n_rows: usize) -> bool {
        let len = self.seqs.get(seq as usize).map_or(0, Vec::len);
        self.window.is_none_or(|window| len + 1 + n_rows <= window)
    }

    pub(super) fn remove(&mut self, seq: SeqId, from: usize, to: Option<usize>) -> bool {
        if !self.can_remove(seq, from, to) {
            return false;
        }
        let (from, to) = (self.n_below(seq, from), to.map(|to| self.n_below(seq, to)));
        let Some(cells) = self.seqs.get_mut(seq as usize) else {
            return false;
        };
        let to = to.unwrap_or(cells.len());
        for cell in cells.drain(from..to.max(from)) {
            self.cells[cell].n_owners -= 1;
            if self.cells[cell].n_owners == 0 {
                self.free.push(cell);
            }
        }
        true
    }

    pub(super) fn copy(&mut self, from: SeqId, to: SeqId, len: usize) {
        let len = self.n_below(from, len);
        let Some(source) = self.seqs.get(from as usize) else {
            return;
        };
        let shared: Vec<usize> = source.iter().copied().take(len).collect();
        for &cell in &shared {
            self.cells[cell].n_owners += 1;
        }
        self.remove(to, 0, None);
        if let Some(target) = self.seqs.get_mut(to as usize) {
            *target = shared;
        }
    }

    /// Moves cells, for all sequences that share them: as in llama.cpp, a cell has one position.
    pub(super) fn shift(&mut self, seq: SeqId, from: u32, delta: i32) {
        for &cell in self.seqs.get(seq as usize).into_iter().flatten() {
            let position = &mut self.cells[cell].position;
            if *position >= from {
                *position = position.saturating_add_signed(delta);
            }
        }
    }
}
