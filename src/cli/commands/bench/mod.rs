//! `bench`: measures how fast a server answers, alone or compared with another one.
//!
//! Measures any server that speaks Ollama's or OpenAI's protocol, from the outside: times are when pieces arrive here,
//! token counts are the server's. *Invariant:* servers that are compared get the same requests, one server at a time,
//! and each is warmed up before it is measured.

mod measure;
mod plan;
mod plot;
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
use crate::plain;
use measure::{Level, Measured, Workload};
use prompts::Prompts;
use report::{LevelReport, Report, ServerCpu};
use request::Target;

/// Measures and reports; after Ctrl-C or an error, reports what was measured so far.
pub(crate) async fn run(
    ui: Ui,
    config: &ClientConfig,
    args: &BenchArgs,
) -> anyhow::Result<ExitCode> {
    let targets = targets(config, args)?;
    let workload = workload(args)?;
    let mut report = empty_report(args);
    let work = measure_all(ui, &targets, &workload, args, &mut report.levels);
    let outcome = interrupt::or_else_none(work).await;
    if !report.levels.is_empty() {
        report.cpus = cpus(&targets).await;
        publish(ui, args, &report)?;
    }
    match outcome {
        Some(Ok(())) if report.is_failure() => Ok(ExitCode::FAILURE),
        Some(Ok(())) => Ok(ExitCode::SUCCESS),
        Some(Err(error)) => Err(error),
        None => anyhow::bail!("interrupted"),
    }
}

/// Measures a number of pairs for each number of concurrent requests.
async fn measure_all(
    ui: Ui,
    targets: &[Target],
    workload: &Workload,
    args: &BenchArgs,
    levels: &mut Vec<LevelReport>,
) -> anyhow::Result<()> {
    let mut number = 0;
    for &concurrency in &args.concurrency {
        let mut pairs = Vec::new();
        let outcome = async {
            for _ in 0..args.pairs {
                let level = Level {
                    concurrency,
                    first_id: number * u64::from(workload.n_conversations),
                };
                // The server measured first finds the machine cooler, so they take turns.
                let is_reversed = number % 2 == 1;
                pairs.push(measure_pair(ui, targets, workload, level, is_reversed).await?);
                number += 1;
            }
            anyhow::Ok(())
        };
        let outcome = outcome.await;
        if !pairs.is_empty() {
            let urls = targets
                .iter()
                .map(|target| plain::redacted(&target.url).into_owned());
            levels.push(LevelReport::new(concurrency, urls.collect(), pairs));
        }
        outcome?;
    }
    Ok(())
}

/// Measures all servers, one after the other; the results are in the order of the command line.
async fn measure_pair(
    ui: Ui,
    targets: &[Target],
    workload: &Workload,
    level: Level,
    is_reversed: bool,
) -> anyhow::Result<Vec<Measured>> {
    let mut order: Vec<&Target> = targets.iter().collect();
    if is_reversed {
        order.reverse();
    }
    let mut measured = Vec::with_capacity(order.len());
    for target in order {
        measured.push(measure_one(ui, target, workload, level).await?);
    }
    if is_reversed {
        measured.reverse();
    }
    Ok(measured)
}

async fn measure_one(
    ui: Ui,
    target: &Target,
    workload: &Workload,
    level: Level,
) -> anyhow::Result<Measured> {
    let url = &target.url;
    let message = format!("{url}, {} at once", level.concurrency);
    let bar = Counter::start(ui, &message, u64::from(workload.n_conversations));
    let warm = workload.warm_up(target).await;
    warm.map_err(|error| anyhow::anyhow!("{url}: {error}"))?;
    Ok(workload.measure(target, level, &bar).await)
}

/// What the servers compute with, as far as they report it; by now each has answered.
async fn cpus(targets: &[Target]) -> Vec<ServerCpu> {
    let mut cpus = Vec::new();
    for target in targets {
        let cpu = target.client.cpu().await;
        cpus.extend(cpu.map(|cpu| ServerCpu {
            url: plain::redacted(&target.url).into_owned(),
            cpu,
        }));
    }
    cpus
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
            // For OpenAI's clients, the address ends like this.
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
        pairs: args.pairs,
        prompt_tokens: args.prompt_tokens,
        output_tokens: args.output_tokens,
        arrival: args.arrival,
        shared_prefix: args.shared_prefix,
        turns: args.turns,
        prompts: args.prompts.as_ref().map(|path| path.display().to_string()),
        seed: args.seed,
        cpus: Vec::new(),
        levels: Vec::new(),
    }
}

/// The table goes to stdout, errors of requests to stderr, the rest to files.
fn publish(ui: Ui, args: &BenchArgs, report: &Report) -> anyhow::Result<()> {
    for error in report.errors() {
        ui.talk(&error);
    }
    for cpu in &report.cpus {
        ui.talk(&cpu.line());
    }
    if let Some(path) = &args.json {
        report::write(path, &report.json()?)?;
    }
    if let Some(path) = &args.markdown {
        report::write(path, &report.markdown())?;
    }
    if let Some(path) = &args.svg {
        report::write(path, &plot::svg(report)?)?;
    }
    ui.out(&report.table(ui.stdout_width()))?;
    Ok(())
}
