//! `bench`: how fast does a server answer, alone or beside another one?
//!
//! Measures any server that speaks Ollama's or OpenAI's protocol, from the outside: times are
//! when pieces arrive here, counts of tokens are the server's. *Invariant:* what is compared is
//! asked the same, one server at a time, and each is warmed up before it is measured.

mod measure;
mod plan;
mod prompts;
mod report;
mod request;
mod summary;

pub(crate) use plan::{Api, Arrival};

use std::process::ExitCode;

use crate::cli::args::BenchArgs;
use crate::cli::interrupt;
use crate::cli::ui::{Counter, Ui};
use crate::client::Client;
use crate::config::{ClientConfig, HostSpec};
use measure::{Level, Workload};
use prompts::Prompts;
use report::{LevelReport, Report, ServerReport};
use request::Target;
use summary::Summary;

/// Measures and reports. What has been measured is reported also after Ctrl-C and errors.
pub(crate) async fn run(
    ui: Ui,
    config: &ClientConfig,
    args: &BenchArgs,
) -> anyhow::Result<ExitCode> {
    let targets = targets(config, args)?;
    let workload = workload(args)?;
    let mut report = empty_report(args);
    let work = measure_all(
        ui,
        &targets,
        &workload,
        (&args.concurrency, &mut report.levels),
    );
    let outcome = interrupt::or_else_none(work).await;
    if !report.levels.is_empty() {
        publish(ui, args, &report)?;
    }
    match outcome {
        Some(Ok(())) if report.is_failure() => Ok(ExitCode::FAILURE),
        Some(Ok(())) => Ok(ExitCode::SUCCESS),
        Some(Err(error)) => Err(error),
        None => anyhow::bail!("interrupted"),
    }
}

/// One row of pairs for each number of requests at once.
async fn measure_all(
    ui: Ui,
    targets: &[Target],
    workload: &Workload,
    (concurrency, levels): (&[u16], &mut Vec<LevelReport>),
) -> anyhow::Result<()> {
    for (index, &concurrency) in concurrency.iter().enumerate() {
        let level = Level {
            concurrency,
            first_id: index as u64 * u64::from(workload.n_conversations),
        };
        // Whoever comes first finds the machine cooler: they take turns.
        let mut order: Vec<&Target> = targets.iter().collect();
        if index % 2 == 1 {
            order.reverse();
        }
        let mut servers = Vec::new();
        for target in order {
            servers.push(measure_one(ui, target, workload, level).await?);
        }
        if index % 2 == 1 {
            servers.reverse();
        }
        levels.push(LevelReport::new(concurrency, servers));
    }
    Ok(())
}

async fn measure_one(
    ui: Ui,
    target: &Target,
    workload: &Workload,
    level: Level,
) -> anyhow::Result<ServerReport> {
    let url = &target.url;
    let message = format!("{url}, {} at once", level.concurrency);
    let bar = Counter::start(ui, message, u64::from(workload.n_conversations));
    let warm = workload.warm_up(target).await;
    warm.map_err(|error| anyhow::anyhow!("{url}: {error}"))?;
    let measured = workload.measure(target, level, &bar).await;
    Ok(ServerReport {
        url: url.clone(),
        summary: Summary::of(&measured),
    })
}

/// The servers, in the order of the command line.
fn targets(config: &ClientConfig, args: &BenchArgs) -> anyhow::Result<Vec<Target>> {
    let own = args.url.as_deref().map(HostSpec::parse);
    let hosts = [
        Some(own.unwrap_or_else(|| config.host.clone())),
        args.against.as_deref().map(HostSpec::parse),
    ];
    let mut targets = Vec::new();
    for mut host in hosts.into_iter().flatten() {
        if args.api == Api::OpenAi {
            // OpenAI's clients are given the address with this end.
            if let Some(path) = host.path.strip_suffix("/v1") {
                host.path = path.to_owned();
            }
        }
        targets.push(Target {
            url: host.base_url(),
            client: Client::new(&host)?,
            api: args.api,
            model: args.args.first().cloned().unwrap_or_default(),
            seed: args.seed,
        });
    }
    Ok(targets)
}

fn workload(args: &BenchArgs) -> anyhow::Result<Workload> {
    let given = match &args.prompts {
        Some(path) => prompts::read(path)?,
        None => Vec::new(),
    };
    Ok(Workload {
        prompts: Prompts {
            seed: u64::from(args.seed),
            n_prompt: args.prompt_tokens,
            n_shared: args.shared_prefix,
            given,
        },
        arrival: args.arrival,
        n_conversations: args.requests,
        n_turns: args.turns,
        n_output: args.output_tokens,
    })
}

fn empty_report(args: &BenchArgs) -> Report {
    Report {
        drover: env!("CARGO_PKG_VERSION"),
        model: args.args.first().cloned().unwrap_or_default(),
        api: args.api,
        requests: args.requests,
        prompt_tokens: args.prompt_tokens,
        output_tokens: args.output_tokens,
        arrival: args.arrival,
        shared_prefix: args.shared_prefix,
        turns: args.turns,
        prompts: args.prompts.as_ref().map(|path| path.display().to_string()),
        seed: args.seed,
        levels: Vec::new(),
    }
}

/// The table goes to stdout, errors of requests to stderr, the rest to files.
fn publish(ui: Ui, args: &BenchArgs, report: &Report) -> anyhow::Result<()> {
    for error in report.errors() {
        ui.talk(&error);
    }
    if let Some(path) = &args.json {
        report::write(path, &report.json()?)?;
    }
    if let Some(path) = &args.markdown {
        report::write(path, &report.markdown())?;
    }
    ui.out(&report.table())?;
    Ok(())
}
