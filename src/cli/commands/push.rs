//! `push`: uploads a model to its registry.

use crate::cli::args::TransferArgs;
use crate::cli::context::Context;
use crate::cli::ui::progress::{BarNames, ProgressView};
use crate::client::ClientError;

const NOT_YOURS: &str = "you are not authorized to push to this namespace, create the model under \
    a namespace you own";

/// Uploads the named model, shows the progress, and tells where it can be found.
pub(crate) async fn run(context: &Context, args: &TransferArgs) -> anyhow::Result<()> {
    let [name] = args.args.as_slice() else {
        return Ok(());
    };
    if let Err(error) = push(context, name, args.insecure).await {
        let text = error.to_string().to_lowercase();
        if text.contains("access denied") || text.contains("unauthorized") {
            anyhow::bail!(NOT_YOURS);
        }
        return Err(error.into());
    }
    let location = location(name);
    context
        .ui
        .out(&format!("\nYou can find your model at:\n\n\t{location}\n"))?;
    Ok(())
}

async fn push(context: &Context, name: &str, insecure: bool) -> Result<(), ClientError> {
    let mut view = ProgressView::new(context.ui, BarNames::Status);
    let mut lines = context.client.push(name, insecure).await?;
    while let Some(progress) = lines.next().await? {
        view.update(&progress);
    }
    Ok(())
}

/// Models of the default registry have a web page; for others the name itself is the address.
fn location(name: &str) -> String {
    let host = name
        .split('/')
        .next()
        .filter(|_| name.matches('/').count() >= 2);
    let on_default = host.is_none_or(|host| {
        host == "registry.ollama.ai" || host.ends_with(".ollama.com") || host == "ollama.com"
    });
    if !on_default {
        return name.to_owned();
    }
    let path = match host {
        Some(host) => &name[host.len() + 1..],
        None => name,
    };
    format!(
        "https://ollama.com/{}",
        path.strip_suffix(":latest").unwrap_or(path)
    )
}

#[cfg(test)]
mod tests {
    use super::location;

    #[test]
    fn names_of_the_default_registry_have_a_page() {
        assert_eq!(location("me/m:latest"), "https://ollama.com/me/m");
        assert_eq!(
            location("registry.ollama.ai/me/m:1b"),
            "https://ollama.com/me/m:1b"
        );
        assert_eq!(
            location("example.com/me/m:latest"),
            "example.com/me/m:latest"
        );
    }
}
