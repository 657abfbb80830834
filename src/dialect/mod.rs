//! API types ↔ inference types: one module for each API, plain functions over types.
//!
//! *Invariant:* nothing here does I/O, reads a clock or draws a random number.

pub mod openai;
