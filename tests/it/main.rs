//! End-to-end tests: the real binary, real sockets, real child processes, a separate store.
//!
//! Times, faults and many models are tested with the fake backend; where the answer itself matters, a small real model
//! answers (`support::models`). There is one binary, so that little is linked.

#[cfg(test)]
mod access;
#[cfg(test)]
mod anthropic;
#[cfg(test)]
mod cli;
#[cfg(test)]
mod ollama;
#[cfg(test)]
mod openai;
#[cfg(test)]
mod page;
#[cfg(test)]
#[path = "../recorded/mod.rs"]
mod recorded;
#[cfg(test)]
mod registry;
#[cfg(test)]
mod repository;
#[cfg(test)]
mod support;
