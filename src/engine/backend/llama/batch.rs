//! The arrays of a decode call, in llama.cpp's form.

use std::ops::Range;
use std::ptr;

use llama_cpp_sys_2 as sys;

use super::context::Vectors;
use crate::engine::backend::Row;
use crate::engine::media::Media;

/// The arrays that a decode call reads; reused buffers.
#[derive(Default)]
pub(super) struct Batch {
    tokens: Vec<sys::llama_token>,
    positions: Vec<sys::llama_pos>,
    n_seqs: Vec<i32>,
    seqs: Vec<sys::llama_seq_id>,
    seq_ptrs: Vec<*mut sys::llama_seq_id>,
    outputs: Vec<i8>,
}

impl Batch {
    pub(super) fn fill(&mut self, rows: &[Row]) -> sys::llama_batch {
        self.tokens.clear();
        self.tokens.extend(rows.iter().map(|row| row.token));
        self.positions.clear();
        self.positions
            .extend(rows.iter().map(|row| signed(row.position)));
        self.seqs.clear();
        self.seqs.extend(rows.iter().map(|row| signed(row.seq)));
        self.outputs.clear();
        self.outputs
            .extend(rows.iter().map(|row| i8::from(row.output)));
        self.batch(rows.len())
    }

    /// The same for rows of an image, which have no logits.
    pub(super) fn fill_vectors(
        &mut self,
        seq: sys::llama_seq_id,
        n_rows: usize,
        vectors: &Vectors<'_>,
    ) -> sys::llama_batch {
        self.positions.clear();
        self.positions.extend_from_slice(vectors.places);
        self.seqs.clear();
        self.seqs.resize(n_rows, seq);
        self.outputs.clear();
        self.outputs.resize(n_rows, 0);
        sys::llama_batch {
            token: ptr::null_mut(),
            embd: vectors.embeddings.as_ptr().cast_mut(),
            ..self.batch(n_rows)
        }
    }

    /// The pointers to the arrays, for `n_rows` rows of one sequence each.
    fn batch(&mut self, n_rows: usize) -> sys::llama_batch {
        self.n_seqs.clear();
        self.n_seqs.resize(n_rows, 1);
        self.seq_ptrs.clear();
        self.seq_ptrs
            .extend(self.seqs.iter_mut().map(ptr::from_mut));
        sys::llama_batch {
            n_tokens: i32::try_from(n_rows).unwrap_or(i32::MAX),
            token: self.tokens.as_mut_ptr(),
            embd: ptr::null_mut(),
            pos: self.positions.as_mut_ptr(),
            n_seq_id: self.n_seqs.as_mut_ptr(),
            seq_id: self.seq_ptrs.as_mut_ptr(),
            logits: self.outputs.as_mut_ptr(),
        }
    }
}

/// The positions of rows of an image that begins at `position`.
pub(super) fn places(media: &Media, position: u32, rows: Range<usize>) -> Vec<i32> {
    let begin = signed(position);
    let grid = &media.rows.grid;
    if grid.is_empty() {
        return rows
            .map(|row| begin + i32::try_from(row).unwrap_or(0))
            .collect();
    }
    // Time, height, width; the fourth dimension is not used.
    let dimension = |dimension: usize| {
        let rows = grid[rows.clone()].iter();
        rows.map(move |place| place.get(dimension).map_or(0, |at| begin + at))
    };
    (0..4).flat_map(dimension).collect()
}

/// llama.cpp numbers positions and sequences with signed integers.
pub(super) fn signed(value: u32) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}
