//! `launch`: starts an agent against this server with one of its models. The agent's own settings are not changed: it
//! gets all it needs as arguments and variables.

mod agents;

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use agents::{AGENTS, Agent, Start};

use crate::api::ollama::ListedModel;
use crate::cli::args::LaunchArgs;
use crate::cli::context::Context;

/// The capability that agents need.
const TOOLS: &str = "tools";

/// Starts an agent in place of this process; without a name, lists the agents.
///
/// # Errors
/// The agent is not known or not installed, or there is no model for it.
pub(crate) async fn run(context: &Context, args: &LaunchArgs) -> anyhow::Result<()> {
    let Some(name) = &args.name else {
        return list(context);
    };
    let agent = AGENTS.iter().find(|agent| agent.name == *name);
    let Some(agent) = agent else {
        let base = context.config.host.base_url();
        anyhow::bail!(
            "unknown integration {name:?}; known are {}. Others take {base}/v1 as OpenAI's address",
            names()
        );
    };
    if args.restore {
        context
            .ui
            .talk("Nothing to restore: launch does not change the settings of other programs.");
        return Ok(());
    }
    context.client.heartbeat().await?;
    let model = model(context, args.model.as_deref()).await?;
    let start = (agent.start)(&context.config.host.base_url(), &model);
    if args.config {
        context.ui.out(&shown(agent, &start, &args.args))?;
        return Ok(());
    }
    let mut command = Command::new(agent.program);
    command
        .args(&start.args)
        .args(&args.args)
        .envs(start.variables);
    let error = command.exec();
    if error.kind() == std::io::ErrorKind::NotFound {
        anyhow::bail!(
            "{} is not installed, or not in PATH: {}",
            agent.program,
            agent.install
        );
    }
    Err(anyhow::Error::new(error).context(format!("cannot start {}", agent.program)))
}

fn names() -> String {
    let names: Vec<&str> = AGENTS.iter().map(|agent| agent.name).collect();
    names.join(", ")
}

fn list(context: &Context) -> anyhow::Result<()> {
    let program = context.program.name();
    let mut text = format!("Start one of these with `{program} launch NAME --model MODEL`:\n\n");
    for agent in AGENTS {
        text += &format!("  {:<10} {}\n", agent.name, agent.title);
    }
    let base = context.config.host.base_url();
    text += &format!(
        "\nOther programs take one of these addresses, with any API key:\n\n  \
         Ollama's API     {base}\n  OpenAI's API     {base}/v1\n  Anthropic's API  {base}\n"
    );
    context.ui.out(&text)?;
    Ok(())
}

/// Finds the model's full name: the requested one, or the only one that supports tools.
async fn model(context: &Context, wanted: Option<&str>) -> anyhow::Result<String> {
    let models = context.client.list().await?.models;
    if let Some(wanted) = wanted {
        let full = format!("{wanted}:latest");
        let found = models
            .iter()
            .find(|model| model.name == wanted || model.name == full);
        let Some(found) = found else {
            let program = context.program.name();
            anyhow::bail!("model {wanted:?} not found; `{program} pull {wanted}` gets it");
        };
        if !calls_tools(found) {
            context.ui.talk(&format!(
                "Warning: {} does not support tools, which agents need.",
                found.name
            ));
        }
        return Ok(found.name.clone());
    }
    let able: Vec<&str> = models
        .iter()
        .filter(|model| calls_tools(model))
        .map(|model| model.name.as_str())
        .collect();
    match able.as_slice() {
        [only] => Ok((*only).to_owned()),
        [] => {
            anyhow::bail!("no model that supports tools is here; pull one, for example gpt-oss:20b")
        }
        several => anyhow::bail!("--model says which model to use: {}", several.join(", ")),
    }
}

fn calls_tools(model: &ListedModel) -> bool {
    model.capabilities.iter().any(|name| name == TOOLS)
}

/// The command line as a user would type it.
fn shown(agent: &Agent, start: &Start, more: &[String]) -> String {
    let variables = start
        .variables
        .iter()
        .map(|(name, value)| format!("{name}={}", shell_words::quote(value)));
    let args = start.args.iter().chain(more);
    let words = args.map(|arg| shell_words::quote(arg).into_owned());
    let words: Vec<String> = variables
        .chain([agent.program.to_owned()])
        .chain(words)
        .collect();
    words.join(" ") + "\n"
}
