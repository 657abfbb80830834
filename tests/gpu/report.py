"""The report of `tests/gpu/run`: JSON for programs, a Markdown table for `docs/benchmarks.md`."""

import json

TITLES = {"gemma3": "Gemma 3 12B", "gpt-oss": "gpt-oss 20B (Ollama's file)", "mistral": "Mistral 7B"}
SHARE_OF_LIMIT = 0.75
# Tokens per second that an RTX 4080 should reach; for another card they are converted to multiples of its single
# stream, by what the share above gives for an RTX 4080 (717 GB/s).
GOALS = {"gemma3": {"8": 280, "16": 450}, "gpt-oss": {"8": 600, "16": 900}, "mistral": {"16": 900}}
SINGLE_OF_4080 = {"gemma3": 74, "gpt-oss": 145, "mistral": 125}


def goals(found, shapes):
    """What was hoped for and what was reached."""
    rows = []
    if shapes == "small":
        return rows
    is_4080 = "RTX 4080" in ((found.get("device") or {}).get("card") or {}).get("name", "")
    for name, model in found["models"].items():
        if "of_limit" in model:
            rows.append((f"{TITLES[name]}, one stream, share of the bandwidth limit", model["of_limit"], SHARE_OF_LIMIT))
        streams = model.get("streams", {})
        for count, rate in GOALS[name].items():
            if count in streams and is_4080:
                rows.append((f"{TITLES[name]}, {count} streams, tokens/s", streams[count], rate))
            elif count in streams:
                multiple = rate / SINGLE_OF_4080[name]
                rows.append((f"{TITLES[name]}, {count} streams, multiple of one", streams[count] / streams["1"], multiple))
    return [{"what": what, "reached": reached, "goal": goal, "met": reached >= goal} for what, reached, goal in rows]


def markdown(found, shapes):
    names = list(found["models"])
    models = [found["models"][name] for name in names]
    lines = [f"| {headline(found)} | {' | '.join(TITLES[name] for name in names)} |", "| --- |" + " --- |" * len(names)]

    def row(what, cell):
        cells = []
        for model in models:
            try:
                cells.append(cell(model))
            except (KeyError, TypeError):
                cells.append("–")
        if any(each != "–" for each in cells):
            lines.append(f"| {what} | {' | '.join(cells)} |")

    row("weights; read for one token", lambda model: f"{model['bytes'] / 2**30:.2f}; {model['bytes_per_token'] / 2**30:.2f} GiB")
    row("limit of one stream by the bandwidth, tokens/s", lambda model: f"{model['limit_tokens_per_s']:.0f}")
    row("1 stream, tokens/s (share of the limit)", lambda model: f"{model['streams']['1']:.1f} ({model['of_limit']:.2f})")
    for count in ("8", "16"):
        row(f"{count} streams, tokens/s (multiple of one)",
            lambda model: f"{model['streams'][count]:.0f} ({model['streams'][count] / model['streams']['1']:.1f})")
    for length in dict.fromkeys(length for model in models for length in model.get("prompts", {})):
        row(f"prompt of {int(length):,} tokens, tokens/s", lambda model: f"{model['prompts'][length]:.0f}")
    row("16 requests with a shared head: first token, median; tokens computed",
        lambda model: f"{model['shared']['first_token_s']['median']:.2f} s; {model['shared']['computed_tokens']:,} of {model['shared']['prompt_tokens']:,}")
    row("p99 between tokens of 4 streams: alone; beside a long prompt",
        lambda model: f"{model['gaps']['gap_ms']['alone']['p99']:.0f}; {model['gaps']['gap_ms']['beside']['p99']:.0f} ms")
    row("load; unload until the memory is back", lambda model: f"{model['place']['load_s']:.1f}; {model['place']['memory_back_s']:.2f} s")
    row("taken of the device, context of the driver included", lambda model: f"{model['place']['device_mib']:.0f} MiB")
    row("planned; taken by llama.cpp's count", lambda model: f"{on_devices(model['place']['planned'])}; {on_devices(model['place']['taken'])} MiB")
    lines.append("")
    if "swap" in found:
        times = ", ".join(f"{each['from']} → {each['to']} {each['first_token_s']:.1f} s" for each in found["swap"])
        lines.append(f"From one model to the next, until its first token: {times}.")
    if "kill" in found:
        lines.append(f"After SIGKILL of a runner the memory is back in {found['kill']['memory_back_s']:.2f} s.")
    if "image" in found:
        lines.append(f"An image: {found['image']['first_s']:.2f} s with the encoder's load, {found['image']['next_s']:.2f} s after it.")
    if "sampling" in found:
        ratios = ", ".join(f"{found['sampling']['auto'][count] / rate:.2f} of {count}" for count, rate in found["sampling"]["off"].items())
        lines.append(f"Sampling on the device by sampling on the processor, tokens per second: {ratios} streams.")
    if "logits" in found:
        means = ", ".join(f"{name} {each['mean']:.4f}" for name, each in found["logits"].items())
        lines.append(f"Log-probabilities of small models, mean distance from the processor's: {means}.")
    if "llama_bench" in found:
        rates = {f"{count} streams": rate for count, rate in found["llama_bench"].get("streams", {}).items()}
        rates |= {f"a prompt of {length}": rate for length, rate in found["llama_bench"].get("prompts", {}).items()}
        lines.append("llama.cpp's own programs with Mistral, tokens/s: " + ", ".join(f"{what} {rate:.0f}" for what, rate in rates.items()) + ".")
    if shapes == "small":
        lines.append("**A rehearsal with small models: these numbers say nothing.**")
    return "\n".join(lines) + "\n"


def headline(found):
    device = found.get("device") or {}
    card = device.get("card")
    name = card["name"] if card else ", ".join(each["description"] or each["name"] for each in device.get("llama_cpp", [])) or "?"
    read = found.get("bandwidth", {}).get("read")
    return name + (f", {read / 1e9:.0f} GB/s measured" if read else "")


def on_devices(memory):
    """MiB on cards, or of the processor where there is none."""
    if memory is None:
        raise KeyError("not available")
    return f"{(sum(size for name, size in memory.items() if name != 'CPU') or memory.get('CPU', 0)) >> 20}"


def write(folder, options, program, steps, found):
    report = {"version": 1, "drover": program.version, "device": options.device, "shapes": options.shapes, "room_gib": options.room,
              "steps": steps.done, "failed": [each["step"] for each in steps.failed()], "goals": goals(found, options.shapes), "found": found}
    (folder / "report.json").write_text(json.dumps(report, indent=1) + "\n")
    (folder / "report.md").write_text(markdown(found, options.shapes))
    return report
