//! `health`: whether a server answers, for health checks of containers. It needs no key.

use crate::cli::context::Context;
use crate::client::ClientError;

/// The status with which a server with TLS answers plain HTTP.
const PLAIN: u16 = 400;

/// Succeeds if a server answers. A server with TLS has a certificate for another name than the container's own address,
/// so its answer to plain HTTP is enough.
pub(crate) async fn run(context: &Context) -> anyhow::Result<()> {
    match context.client.heartbeat().await {
        Err(ClientError::Status { status: PLAIN, .. }) => {}
        answer => answer?,
    }
    Ok(context.ui.out("ok\n")?)
}
