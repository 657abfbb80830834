//! `stop`: unloads a model.

use serde_json::Value;

use crate::api::ollama::GenerateRequest;
use crate::cli::args::ModelArgs;
use crate::cli::context::Context;
use crate::client::ClientError;

/// Unloads the named model; it is no error if the model is not loaded.
pub(crate) async fn run(context: &Context, args: &ModelArgs) -> anyhow::Result<()> {
    let [name] = args.args.as_slice() else {
        return Ok(());
    };
    match unload(context, name).await {
        Err(error) if error.is_not_found() => {
            anyhow::bail!("couldn't find model \"{name}\" to stop")
        }
        result => Ok(result?),
    }
}

/// Asks the daemon to unload a model as soon as it is idle.
pub(super) async fn unload(context: &Context, name: &str) -> Result<(), ClientError> {
    let request = GenerateRequest {
        model: name.to_owned(),
        keep_alive: Value::from("0s"),
        ..GenerateRequest::default()
    };
    let mut lines = context.client.generate(&request).await?;
    while lines.next().await?.is_some() {}
    Ok(())
}
