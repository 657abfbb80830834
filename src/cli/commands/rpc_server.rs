//! `rpc-server`: lends this machine's devices to a server on another machine.

use std::net::{IpAddr, ToSocketAddrs as _};
use std::process::ExitCode;

use anyhow::Context as _;

use crate::cli::args::RpcServerArgs;
use crate::cli::help;
use crate::cli::ui::Ui;
use crate::engine;

/// Serves until the process ends.
pub(crate) fn run(ui: Ui, args: &RpcServerArgs) -> anyhow::Result<ExitCode> {
    help::check_arity("rpc-server", args.args.len()).map_err(anyhow::Error::msg)?;
    let listen = &args.listen;
    let mut addresses = listen
        .to_socket_addrs()
        .with_context(|| format!("{listen:?} is no address such as 10.0.0.2:50052"))?;
    if addresses.any(|address| !is_loopback(address.ip())) {
        ui.talk(&format!(
            "Warning: the protocol has neither keys nor encryption. Whoever reaches {listen} can read and write this \
             machine's memory: let only the other machine reach it."
        ));
    }
    let n_cores = std::thread::available_parallelism().map_or(1, usize::from);
    let n_threads = args.threads.unwrap_or(n_cores);
    match engine::serve_devices(listen, n_threads) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(reason) => anyhow::bail!("cannot serve at {listen}: {reason}"),
    }
}

fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}
