//! The commands as scripts use them; the texts are Ollama's, because scripts read them.

mod bench;
mod doctor;
mod models;
mod repl;
mod run;
