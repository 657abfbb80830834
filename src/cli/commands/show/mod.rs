//! `show`: what is known about a model.

mod layout;
mod number;

pub(crate) use layout::text;

use crate::api::ollama::{ShowRequest, ShowResponse};
use crate::cli::args::ShowArgs;
use crate::cli::context::Context;

const ONLY_ONE: &str = "only one of '--license', '--modelfile', '--parameters', '--system', or \
    '--template' can be specified";

/// Prints one section of the named model, or the overview.
pub(crate) async fn run(context: &Context, args: &ShowArgs) -> anyhow::Result<()> {
    let [name] = args.args.as_slice() else {
        return Ok(());
    };
    let sections = [
        args.license,
        args.modelfile,
        args.parameters,
        args.system,
        args.template,
    ];
    if sections.iter().filter(|wanted| **wanted).count() > 1 {
        anyhow::bail!(ONLY_ONE);
    }
    let request = ShowRequest {
        model: name.clone(),
        name: name.clone(),
        verbose: args.verbose,
        ..ShowRequest::default()
    };
    let shown = context.client.show(&request).await?;
    let output = match section(args, &shown) {
        Some(section) => section,
        None if args.json => return context.ui.out_json(&shown),
        None => text(&shown, args.verbose),
    };
    context.ui.out(&output)?;
    Ok(())
}

/// The text of the section that the flags select; two of the sections get no line end.
fn section(args: &ShowArgs, shown: &ShowResponse) -> Option<String> {
    if args.license {
        Some(format!("{}\n", shown.license))
    } else if args.modelfile {
        Some(format!("{}\n", shown.modelfile))
    } else if args.parameters {
        Some(format!("{}\n", shown.parameters))
    } else if args.system {
        Some(shown.system.clone())
    } else if args.template {
        Some(shown.template.clone())
    } else {
        None
    }
}
