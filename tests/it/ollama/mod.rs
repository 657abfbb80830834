//! The native routes, and what happens to requests when processes come and go.

#[cfg(feature = "llama")]
mod agreement;
mod answers;
mod bad_input;
#[cfg(feature = "llama")]
mod budget;
mod child;
pub(crate) mod clients;
mod concurrency;
mod context;
mod crowd;
mod discreet;
mod draft;
mod embeddings;
mod faults;
mod fit;
mod headers;
mod heavy;
mod hosts;
mod images;
mod killed;
pub(crate) mod language;
#[cfg(feature = "llama")]
mod large_images;
#[cfg(feature = "llama")]
mod layout_chain;
#[cfg(feature = "llama")]
mod layouts;
mod loading;
mod memory;
mod metrics;
mod models;
mod odd_blobs;
#[cfg(feature = "llama")]
mod options;
mod paths;
#[cfg(feature = "llama")]
mod real;
#[cfg(feature = "llama")]
mod real_made;
mod recorded;
mod sandbox;
#[cfg(feature = "llama")]
mod schemas;
mod spill;
mod stop;
mod telemetry;
mod templates;
mod untaught;
