//! `pull`: downloads a model.

use crate::cli::args::TransferArgs;
use crate::cli::context::Context;
use crate::cli::ui::progress::{BarNames, ProgressView};
use crate::client::ClientError;

/// Downloads the named model and shows the progress.
pub(crate) async fn run(context: &Context, args: &TransferArgs) -> anyhow::Result<()> {
    let [name] = args.args.as_slice() else {
        return Ok(());
    };
    Ok(pull(context, name, args.insecure).await?)
}

/// Downloads a model; `run` also does this with a missing one.
pub(crate) async fn pull(context: &Context, name: &str, insecure: bool) -> Result<(), ClientError> {
    let mut view = ProgressView::new(context.ui, BarNames::Digest);
    let mut lines = context.client.pull(name, insecure).await?;
    while let Some(progress) = lines.next().await? {
        view.update(&progress);
    }
    Ok(())
}
