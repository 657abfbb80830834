//! The commands as scripts use them; the texts are Ollama's, because scripts parse them.

mod agents;
mod batch;
mod bench;
mod completion;
mod create;
mod doctor;
mod hostile;
mod json;
mod launch;
mod models;
mod names;
mod progress;
mod repl;
mod run;
mod words;
