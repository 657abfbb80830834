//! What the tests share: a daemon for each test, the command line, models, processes.

mod cli;
mod http;
mod log;
pub(crate) mod models;
pub(crate) mod process;
#[cfg(feature = "llama")]
pub(crate) mod real;
mod server;
mod settings;
mod socket;
mod store;
mod terminal;

pub(crate) use cli::Drover;
pub(crate) use http::Answer;
pub(crate) use log::Log;
pub(crate) use server::{BINARY, TestServer, hermetic, program};
pub(crate) use settings::{skip, variable};
pub(crate) use socket::Socket;
pub(crate) use store::check_store;
pub(crate) use terminal::Terminal;
