//! `cp`: gives a model a second name.

use crate::cli::args::ModelArgs;
use crate::cli::context::Context;

/// Copies the first name's model to the second name.
pub(crate) async fn run(context: &Context, args: &ModelArgs) -> anyhow::Result<()> {
    let [source, destination] = args.args.as_slice() else {
        return Ok(());
    };
    context.client.copy(source, destination).await?;
    context
        .ui
        .out_line(&format!("copied '{source}' to '{destination}'"))?;
    Ok(())
}
