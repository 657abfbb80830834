//! `runner`: serves one model to the daemon that started it.

use std::process::ExitCode;

use crate::config::env;
use crate::engine::{self, Surroundings};

/// Runs until the daemon ends it.
pub(crate) fn run() -> ExitCode {
    engine::run(Surroundings {
        is_on: env::wants_sandbox(),
        libraries: env::libraries(),
        caches: env::driver_caches(),
        rpc_servers: env::rpc_servers(),
    })
}
