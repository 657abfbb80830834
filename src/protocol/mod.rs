//! The protocol between daemon and runner: commands down, events up.
//!
//! The channel is a Unix socket pair; the runner's end is its standard input. Frames are length-delimited JSON
//! ([`framing`]). Both ends are the same binary; the version in [`Event::Hello`] only guards against a binary
//! that was replaced under a running daemon.

pub mod command;
pub mod cut;
pub mod event;
pub mod framing;
mod generation;
pub mod media;
mod memory;

pub use command::{
    Adapter, Command, DraftParams, EmbedInput, EmbedParams, GpuShare, KvCacheType, LoadParams,
    ProjectorParams, QuantizeParams, Speculation, SpillFiles, SpillParams, TensorType,
};
pub use event::{
    DeviceInfo, EmbedResult, Event, Failure, FailureKind, FinishReason, Finished, LoadedInfo,
    PromptToken, StepStats, TokenLogprob, TopLogprob, Update,
};
pub use generation::{
    Constraint, Dry, Exempt, GenerateParams, Mirostat, Priority, PromptPart, SamplingParams,
    ThinkingTags, Xtc,
};
pub use memory::{DeviceMemory, HOST, MeasureParams, Measured, MemoryUse, PoolShape};

/// Identifies a request on one channel; chosen by the daemon, never reused while in flight.
pub type RequestId = u64;

/// An index into llama.cpp's vocabulary.
pub type Token = i32;

/// The most cells of a KV cache: llama.cpp's positions are signed 32-bit, and the margin keeps sums of a
/// few of them in range.
pub const MAX_CELLS: u32 = 1 << 30;

/// The protocol version. Increase it with every change of a frame's shape.
pub const VERSION: u32 = 13;
