//! drover: a daemon that takes Ollama's place on a machine.
//!
//! The modules in reading order; each one imports only modules above it
//! (`tests/tidy.rs` checks the levels, `docs/architecture.md` explains them).

// Level 0: helpers that know nothing about models.
pub mod error;
pub mod json;
pub mod keys;
pub mod metrics;
pub mod net;
pub mod plain;
pub mod sandbox;
pub mod units;
// Level 1: settings, the native conversation types, Go's template language, files made of other files.
pub mod chat;
pub mod config;
pub mod database;
pub(crate) mod fair_queue;
pub mod seal;
pub mod template;
pub mod view;
// Level 2: models, wire types.
pub mod api;
pub mod history;
pub mod model;
pub mod protocol;
// Level 3: the model directory, prompts and answers, the two ends of a runner.
pub mod client;
pub mod engine;
pub mod parser;
pub mod renderer;
pub mod runner_client;
pub mod store;
// Level 4: model families; the machine; the processes that run templates.
pub mod device;
pub mod families;
pub mod registry;
pub mod workers;
// Level 5: making models, choosing runners, taking Ollama's place.
pub mod create;
pub mod deploy;
pub mod scheduler;
// Levels 6 and 7: the use cases, and the APIs' formats.
pub mod dialect;
pub mod inference;
// Level 8: files and batch jobs.
pub mod jobs;
// Levels 9 and 10: HTTP, logs and the command line.
pub mod cli;
pub mod server;
pub mod telemetry;
