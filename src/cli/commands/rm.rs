//! `rm`: unloads and deletes models.

use super::stop::unload;
use crate::cli::args::ModelArgs;
use crate::cli::context::Context;

/// Removes the models one after the other; stops at the first failure.
pub(crate) async fn run(context: &Context, args: &ModelArgs) -> anyhow::Result<()> {
    for name in &args.args {
        if let Err(error) = unload(context, name).await {
            if error.is_not_found() {
                anyhow::bail!("model '{name}' not found");
            }
            context
                .ui
                .talk(&format!("Warning: unable to stop model '{name}'"));
        }
        context.client.delete(name).await?;
        context.ui.out_line(&format!("deleted '{name}'"))?;
    }
    Ok(())
}
