//! `pull`: fetches a model.

use crate::cli::args::TransferArgs;
use crate::cli::context::Context;
use crate::cli::ui::progress::{BarNames, ProgressView};
use crate::client::ClientError;

/// Fetches the named model and shows how far it is.
pub(crate) async fn run(context: &Context, args: &TransferArgs) -> anyhow::Result<()> {
    let [name] = args.args.as_slice() else {
        return Ok(());
    };
    Ok(pull(context, name, args.insecure).await?)
}

/// Fetches a model; also what `run` does with one that is missing.
pub(crate) async fn pull(context: &Context, name: &str, insecure: bool) -> Result<(), ClientError> {
    let mut view = ProgressView::new(context.ui, BarNames::Digest);
    let mut lines = context.client.pull(name, insecure).await?;
    while let Some(progress) = lines.next().await? {
        view.update(&progress);
    }
    Ok(())
}
