//! `health`: whether a server answers, for health checks of containers. It needs no key.

use crate::cli::context::Context;
use crate::client::ClientError;

/// How a server that has TLS answers plain HTTP.
const PLAIN: u16 = 400;

/// Succeeds if a server answers. One that has TLS has a name that is not the container's own address: that it
/// answers plain HTTP, and how, is enough.
pub(crate) async fn run(context: &Context) -> anyhow::Result<()> {
    match context.client.heartbeat().await {
        Err(ClientError::Status { status: PLAIN, .. }) => {}
        answer => answer?,
    }
    Ok(context.ui.out("ok\n")?)
}
