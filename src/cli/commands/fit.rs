//! `fit`: where a model would be placed, and what context fits.

use std::fmt::Write as _;

use crate::api::ollama::{FitDevice, FitRequest, FitResponse};
use crate::cli::args::FitArgs;
use crate::cli::context::Context;
use crate::cli::ui::table;

/// Asks the server and prints its plan.
pub(crate) async fn run(context: &Context, args: &FitArgs) -> anyhow::Result<()> {
    let request = FitRequest {
        model: args.args.first().cloned().unwrap_or_default(),
        num_ctx: args.ctx,
        slots: args.slots,
        kv_cache_type: args.kv.clone(),
    };
    let fit = context.client.fit(&request).await?;
    if args.json {
        return context.ui.out_json(&fit);
    }
    context.ui.out(&text(&fit))?;
    Ok(())
}

fn text(fit: &FitResponse) -> String {
    let mut out = table::listing(
        &[
            "MEMORY", "FREE", "MODEL", "WEIGHTS", "KV CACHE", "COMPUTE", "ENCODER", "DRAFT",
        ],
        &fit.devices.iter().map(row).collect::<Vec<_>>(),
    );
    let _ = writeln!(out, "\n{}", place(fit));
    let _ = writeln!(
        out,
        "{} slots share {} tokens of {} cache; {} would fit",
        fit.slots, fit.context_length, fit.kv_cache_type, fit.context_most
    );
    if !fit.evicts.is_empty() {
        let _ = writeln!(out, "to be unloaded first: {}", fit.evicts.join(", "));
    }
    if fit.loaded {
        out.push_str("it is loaded; this is how it would be loaded now\n");
    }
    if !fit.measured {
        out.push_str("estimated from the file's dimensions: llama.cpp gave no numbers\n");
    }
    out.push_str("\nIf nothing else is loaded:\n");
    let choices = fit.choices.iter().map(|choice| {
        vec![
            choice.slots.to_string(),
            choice.context_length.to_string(),
            (choice.context_length / choice.slots.max(1)).to_string(),
            if choice.whole_on_gpu { "yes" } else { "no" }.to_owned(),
        ]
    });
    let choices: Vec<_> = choices.collect();
    out.push_str(&table::listing(
        &["SLOTS", "TOKENS", "EACH", "ALL ON GPU"],
        &choices,
    ));
    out
}

fn row(device: &FitDevice) -> Vec<String> {
    let usage = &device.usage;
    let parts = [
        device.free,
        usage.size,
        usage.weights,
        usage.kv,
        usage.compute,
        usage.projector,
        usage.draft,
    ];
    let name = if device.description.is_empty() {
        usage.name.clone()
    } else {
        format!("{} ({})", usage.name, device.description)
    };
    // A cell with blanks would be wrapped.
    let cells = parts.map(|bytes| mib(bytes).replace(' ', "\u{a0}"));
    [name].into_iter().chain(cells).collect()
}

fn mib(bytes: u64) -> String {
    if bytes == 0 {
        return "-".to_owned();
    }
    format!("{} MiB", bytes.div_ceil(1 << 20))
}

fn place(fit: &FitResponse) -> String {
    let has_gpu = fit.devices.len() > 1;
    let experts = match fit.cpu_expert_layers {
        0 => String::new(),
        n => format!(", the experts of {n} layers on the CPU"),
    };
    match fit.gpu_layers {
        0 if has_gpu => "on the CPU".to_owned(),
        0 => "on the CPU: there is no GPU".to_owned(),
        n if n >= fit.layers => format!("all {} layers on the GPU{experts}", fit.layers),
        n => format!(
            "{n} of {} layers on the GPU, the others on the CPU",
            fit.layers
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::ollama::{DeviceUse, FitChoice};

    fn fit() -> FitResponse {
        let card = FitDevice {
            usage: DeviceUse {
                name: "CUDA0".to_owned(),
                weights: 7_000 << 20,
                kv: 3_000 << 20,
                compute: 300 << 20,
                size: 10_300 << 20,
                ..DeviceUse::default()
            },
            description: "RTX 4080".to_owned(),
            free: 15_000 << 20,
            ..FitDevice::default()
        };
        let host = FitDevice {
            usage: DeviceUse {
                name: "CPU".to_owned(),
                size: 800 << 20,
                weights: 800 << 20,
                ..DeviceUse::default()
            },
            free: 20_000 << 20,
            ..FitDevice::default()
        };
        FitResponse {
            context_length: 49_152,
            context_most: 65_536,
            slots: 8,
            kv_cache_type: "f16".to_owned(),
            layers: 48,
            gpu_layers: 48,
            measured: true,
            devices: vec![card, host],
            choices: vec![FitChoice {
                slots: 2,
                context_length: 90_112,
                whole_on_gpu: true,
            }],
            evicts: vec!["mistral:latest".to_owned()],
            ..FitResponse::default()
        }
    }

    #[test]
    fn the_table_tells_memories_and_choices() {
        let text = text(&fit()).replace('\u{a0}', " ");
        let words: Vec<&str> = text.split_whitespace().collect();
        let text = words.join(" ");
        for part in [
            "CUDA0 (RTX 4080) 15000 MiB 10300 MiB 7000 MiB 3000 MiB 300 MiB - -",
            "CPU 20000 MiB 800 MiB 800 MiB",
            "all 48 layers on the GPU",
            "8 slots share 49152 tokens of f16 cache; 65536 would fit",
            "to be unloaded first: mistral:latest",
            "2 90112 45056 yes",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(!text.contains("estimated"));
    }

    #[test]
    fn a_part_on_the_cpu_is_named() {
        let partly = |gpu_layers, cpu_expert_layers| {
            place(&FitResponse {
                gpu_layers,
                cpu_expert_layers,
                ..fit()
            })
        };
        assert_eq!(
            partly(20, 0),
            "20 of 48 layers on the GPU, the others on the CPU"
        );
        assert_eq!(
            partly(48, 7),
            "all 48 layers on the GPU, the experts of 7 layers on the CPU"
        );
        assert_eq!(partly(0, 0), "on the CPU");
    }
}
