"""The steps of `tests/gpu/run`. Each writes what it finds into `bench.found` and returns a line about it."""

import base64
import concurrent.futures
import json
import math
import os
import pathlib
import signal
import statistics
import struct
import subprocess
import time
import zlib

import clients
import machine
import placement
import shapes
from bench import NotAvailable
from common import Server

N_STREAMS = (1, 8, 16)
# Natural logarithms: how far the device's log-probabilities may be from the CPU's, and how much better than the next
# token a token must be to have to be the best one on both.
MOST_MEAN, CLEAR = 0.1, 0.25


def make_models(bench, names):
    """The models that the wanted steps need, all at the same time."""
    if not names:
        raise NotAvailable("no step needs one")
    began = time.monotonic()
    # Not awaited when the time is up.
    writers = concurrent.futures.ThreadPoolExecutor(len(names))
    sizes = {name: writers.submit(shapes.add, bench.store, name, bench.shapes[name]) for name in names}
    for name, size in sizes.items():
        bench.found["models"][name] |= {"bytes": size.result(), "bytes_per_token": bench.shapes[name].bytes_per_token()}
    seconds = time.monotonic() - began
    total = sum(size.result() for size in sizes.values())
    return f"{total / 1e9:.2f} GB, {total / 1e9 / seconds:.2f} GB/s"


def device(bench):
    bench.serve()
    card = bench.meter.card()
    if bench.options.device == "cuda" and not card:
        raise RuntimeError("nvidia-smi is missing: nobody can tell what memory is taken")
    wanted = [each for each in bench.devices if each[2].lower() == bench.options.device]
    names = [{"name": name, "description": text, "backend": backend, "bytes": size} for name, text, backend, size in wanted]
    bench.found["device"] = {"card": card, "llama_cpp": names}
    return f"{card['name']}, driver {card['driver']}" if card else ", ".join(f"{name} {text}" for name, text, *_ in wanted)


def bandwidth(bench):
    bench.serve()
    is_software = any("llvmpipe" in text for _, text, *_ in bench.devices)
    found = machine.bandwidth(bench.options.device, is_software, bench.options.bandwidth)
    bench.found["bandwidth"] = found
    return f"{found['read'] / 1e9:.0f} GB/s"


def place(bench, name):
    """One model alone: all of it on the card, as planned, and the memory back afterwards."""
    server = bench.unload_all()
    before = bench.meter.used_mib(server)
    found = one_load(bench, name, before)
    first_plan = found["too_far"]
    if first_plan:
        # The first load of a model is planned by a formula; from then on its real size is known.
        found = one_load(bench, name, before)
    bench.found["models"][name]["place"] = {**found, "first_plan": first_plan}
    if not found["buffers"]:
        raise RuntimeError("the log has no sizes of buffers")
    if wrong := found["wrong"] + found["too_far"]:
        raise RuntimeError("; ".join(wrong))
    there = found["offloaded"]
    layers = f"{there[0]} of {there[1]} layers, " if there and bench.is_card else ""
    compared = "plan not available" if not (found["planned"] and found["taken"]) else "plan kept"
    compared += " at the second load" if first_plan else ""
    return f"{layers}{found['device_mib']:.0f} MiB, {compared}, load {found['load_s']:.1f} s, unload {found['unload_s']:.2f} s"


def one_load(bench, name, before_mib):
    """Loads and unloads a model; returns what was seen of it."""
    fits = placement.fit(bench.serve(), name)
    server, seconds, load = bench.load(name)
    device_mib = bench.meter.used_mib(server) - before_mib
    entry, table = server.loaded()[name], server.command("ps").splitlines()
    began = time.monotonic()
    server.unload(name)
    unload_s = time.monotonic() - began
    back_s = unload_s + bench.until_free(server, before_mib)
    planned, taken = placement.planned_and_taken(load, entry)
    far = placement.too_far(planned, taken, bench.is_card)
    cards = {name for name, _, backend, _ in bench.devices if backend.lower() == bench.options.device} if bench.is_card else set()
    far_fit = placement.too_far(placement.fitted(fits, cards), taken, bench.is_card)
    return {"load_s": seconds, "unload_s": unload_s, "memory_back_s": back_s, "device_mib": device_mib,
            "buffers": load.buffers, "graph_splits": load.n_splits, "offloaded": load.offloaded, "plan": load.plan,
            "planned": planned, "taken": taken, "too_far": far + [f"drover fit, {text}" for text in far_fit],
            "wrong": load.on_the_cpu(bench.shapes[name].input_bytes(), entry) if bench.is_card else [],
            "ps": entry, "drover_ps": table, "fit": fits}


def swap(bench):
    """From one model to the next: what somebody waits who asks for another one."""
    settings = {"OLLAMA_MAX_LOADED_MODELS": "1"} if bench.is_small else {}
    names, times = [*bench.shapes, next(iter(bench.shapes))], []
    for before, name in zip([None, *names], names):
        server = bench.serve(**settings)
        answer = clients.ask(server, name, bench.prompts[name].next(16), 1)
        loaded = server.loaded()
        if name not in loaded or bench.is_card and not loaded[name]["size_vram"]:
            raise RuntimeError(f"{name} has answered and is not on the card")
        if before:
            times.append({"from": before, "to": name, "first_token_s": answer.first(), "stayed": before in loaded})
    bench.found["swap"] = times
    return ", ".join(f"{each['to']} {each['first_token_s']:.1f} s{' (no eviction)' if each['stayed'] else ''}" for each in times)


def kill(bench):
    """A runner that is killed: its stream ends with an error, its memory comes back, the next request works."""
    name = "gpt-oss"
    server = bench.unload_all()
    before = bench.meter.used_mib(server)
    bench.load(name)
    prompts = bench.prompts[name]
    stream = clients.Streams(server, name, [prompts.next(16)], 4096).in_background()
    clients.ask(server, name, prompts.next(16), 1)
    for pid in server.runners():
        os.kill(pid, signal.SIGKILL)
    memory_s = bench.until_free(server, before)
    stream.thread.join(10)
    error = broken_off(stream)
    if not error:
        raise RuntimeError("the stream of the killed runner has not ended with an error")
    again = clients.ask(server, name, prompts.next(16), 1)
    found = {"memory_back_s": memory_s, "error": error, "next_first_token_s": again.first()}
    bench.found["kill"] = found
    return f"memory back after {memory_s:.2f} s, next answer after {again.first():.1f} s"


def broken_off(stream):
    """The error that a stream has ended with."""
    if stream.thread.is_alive():
        return None
    try:
        stream.answers()
    except RuntimeError as error:
        return str(error)
    return None


def logits(bench):
    """Log-probabilities of prompts on the device and on the processor."""
    folder = bench.scratch / "agree"
    small = {name: shapes.MAKERS[name](**sizes)["ollama"] for name, sizes in shapes.SMALL.items()}
    for name, shape in small.items():
        shapes.add(folder, name, shape)
    asked = {name: [clients.Prompts(shape, 7).next(96) for _ in range(2)] for name, shape in small.items()}
    real = smollm2(bench)
    if real:
        asked["smollm2"] = [[504, 2365, 282, 4649, 314] + [2000 + 37 * index for index in range(91)] for _ in range(1)]
    bench.stop()

    def answers(environment):
        settings = {**bench.program.environment, **environment, "OLLAMA_NUM_PARALLEL": "1", "OLLAMA_CONTEXT_LENGTH": "512"}
        with Server(bench.program.binary, settings, folder) as server:
            if real:
                modelfile = folder / "Modelfile"
                modelfile.write_text(f"FROM {real}\n")
                server.command("create", "smollm2", "-f", str(modelfile))
            found = {}
            for name, prompts in asked.items():
                found[name] = []
                for prompt in prompts:
                    body = {"model": name, "prompt": prompt, "max_tokens": 1, "echo": True, "logprobs": 5, "temperature": 0}
                    found[name].append(server.post("/v1/completions", body)["choices"][0]["logprobs"])
                if environment != machine.NO_DEVICES and bench.is_card and not server.loaded()[name]["size_vram"]:
                    raise RuntimeError(f"{name} is served by the processor")
                server.unload(name)
            return found

    on_cpu, on_device = answers(machine.NO_DEVICES), answers({})
    report = {name: compare(on_cpu[name], on_device[name]) for name in asked}
    bench.found["logits"] = report
    wrong = [name for name, each in report.items() if each["mean"] > MOST_MEAN or each["other_best"]]
    if wrong:
        raise RuntimeError("; ".join(f"{name}: mean distance {report[name]['mean']:.3f}, {report[name]['other_best']} other best tokens" for name in wrong))
    means = ", ".join(f"{name} {each['mean']:.4f}" for name, each in report.items())
    return f"mean distance {means}" + ("" if real else "; SmolLM2 is not here")


def compare(mine, theirs):
    """How far two lists of log-probabilities are from each other."""
    distances, other_best, n_clear = [], 0, 0
    for one, two in zip(mine, theirs):
        for first, second in zip(one["token_logprobs"], two["token_logprobs"]):
            if first is not None:
                distances.append(abs(first - second))
        for first, second in zip(one["top_logprobs"], two["top_logprobs"]):
            if not first or not second:
                continue
            best = sorted(first.items(), key=lambda each: -each[1])
            if len(best) > 1 and best[0][1] - best[1][1] > CLEAR:
                n_clear += 1
                other_best += best[0][0] != max(second, key=second.get)
    if not distances or not all(map(math.isfinite, distances)):
        raise RuntimeError("no log-probabilities, or some that are no numbers")
    return {"mean": statistics.fmean(distances), "longest": max(distances), "other_best": other_best, "clear": n_clear}


def smollm2(bench):
    """SmolLM2, if it is on this machine."""
    folders = [os.environ.get("DROVER_TEST_MODELS"), pathlib.Path.home() / ".cache/drover/models"]
    files = [pathlib.Path(folder) / "smollm2-135m.gguf" for folder in folders if folder]
    files = [pathlib.Path(bench.options.small_model)] if bench.options.small_model else files
    return next((file.absolute() for file in files if file.is_file()), None)


def speed(bench, name):
    """Tokens per second of 1, 8 and 16 streams, and the share of what the memory's bandwidth allows."""
    server, *_ = bench.load(name)
    rates = all_rates(bench, server, name)
    found = bench.found["models"][name]
    found["streams"] = rates
    return per_streams(rates) + of_limit(bench, name)


def all_rates(bench, server, name):
    n_output = bench.number(128, 48)
    clients.ask(server, name, bench.prompts[name].next(16), 8)
    rates = {}
    for n_streams in N_STREAMS:
        rounds = [clients.streams(server, name, bench.prompts[name], n_streams, 16, n_output) for _ in range(3 if n_streams == 1 else 2)]
        rates[str(n_streams)] = statistics.median(rounds)
    return rates


def per_streams(rates):
    return ", ".join(f"{count}: {rate:.1f}" for count, rate in rates.items()) + " tokens/s"


def of_limit(bench, name):
    """The share of the limit that one stream reaches, as text."""
    found = bench.found["models"][name]
    if "bandwidth" not in bench.found or "bytes_per_token" not in found:
        return ""
    found["limit_tokens_per_s"] = bench.found["bandwidth"]["read"] / found["bytes_per_token"]
    found["of_limit"] = found["streams"]["1"] / found["limit_tokens_per_s"]
    return f", one stream at {found['of_limit']:.2f} of the limit"


def prompts(bench, name):
    server, *_ = bench.load(name)
    found = {}
    clients.prompt_rate(server, name, bench.prompts[name], 64)
    for length, rounds in ((512, 3), (bench.number(8192, 2048), 2)):
        found[str(length)] = statistics.median(clients.prompt_rate(server, name, bench.prompts[name], length) for _ in range(rounds))
    bench.found["models"][name]["prompts"] = found
    return ", ".join(f"{length}: {rate:.0f}" for length, rate in found.items()) + " tokens/s"


def shared(bench, name):
    """Sixteen requests at once that begin alike: the beginning is computed once."""
    server, *_ = bench.load(name)
    head = bench.number(1500, 600)
    found = clients.shared_head(server, name, bench.prompts[name], 16, head, 10, 8)
    bench.found["models"][name]["shared"] = {**found, "head": head}
    if found["computed_tokens"] > 3 * head:
        raise RuntimeError(f"{found['computed_tokens']} tokens were computed of 16 prompts that share {head}")
    first = found["first_token_s"]
    return f"{found['computed_tokens']} of {found['prompt_tokens']} tokens computed, first token {first['median']:.2f} s"


def gaps(bench, name):
    server, *_ = bench.load(name)
    found = clients.gaps_beside_a_prompt(server, name, bench.prompts[name], 4, bench.number(8192, 2048), 2)
    bench.found["models"][name]["gaps"] = found
    alone, beside = found["gap_ms"]["alone"], found["gap_ms"]["beside"]
    return f"p99 between tokens {alone['p99']:.1f} ms alone, {beside['p99']:.1f} beside a prompt that takes {found['prompt_s']:.2f} s"


def png(side, shade):
    rows = b"".join(b"\0" + bytes(value for x in range(side) for value in (x % 256, y % 256, shade)) for y in range(side))
    part = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + part(b"IHDR", head) + part(b"IDAT", zlib.compress(rows, 1)) + part(b"IEND", b"")


def image(bench):
    """One image, and another when the encoder has been loaded."""
    name = "gemma3"
    server, *_ = bench.load(name)
    side = bench.number(896, 224)
    start, before, times, counts = server.log_file.stat().st_size, bench.meter.used_mib(server), [], []
    for shade in (60, 200):
        body = {"model": name, "prompt": "token5", "images": [base64.b64encode(png(side, shade)).decode()], "stream": False,
                "options": {"num_predict": 1, "ignore_eos": True}}
        began = time.monotonic()
        answer = server.post("/api/generate", body, timeout=300)
        times.append(time.monotonic() - began)
        counts.append(answer["prompt_eval_count"])
    log = server.log(start)
    encoder = [line.split("CLIP using ")[1].split()[0] for line in log.splitlines() if "CLIP using " in line]
    bench.found["image"] = {"first_s": times[0], "next_s": times[1], "prompt_tokens": counts, "encoder": encoder[-1:],
                            "device_mib": bench.meter.used_mib(server) - before}
    if min(counts) < bench.number(256, 16):
        raise RuntimeError(f"an image of {min(counts)} tokens: it has not been seen")
    if bench.is_card and encoder and encoder[-1].startswith("CPU"):
        raise RuntimeError("the processor encodes the images")
    return f"first {times[0]:.2f} s, next {times[1]:.2f} s, {encoder[-1] if encoder else 'encoder not named in the log'}"


def sampling(bench):
    """The same streams with tokens picked on the device and on the processor."""
    if "DROVER_DEVICE_SAMPLING" not in bench.program.settings:
        raise NotAvailable("this drover has no DROVER_DEVICE_SAMPLING")
    name, found, texts = "gemma3", {}, {}
    asked = [clients.Prompts(bench.shapes[name], 5).next(24) for _ in range(8)]
    for value in ("off", "auto"):
        server, *_ = bench.load(name, DROVER_DEVICE_SAMPLING=value)
        found[value] = all_rates(bench, server, name)
        texts[value] = [answer.text for answer in clients.ask_all(server, name, asked, 16, temperature=0)]
    found["same_greedy_answers"] = sum(one == two for one, two in zip(texts["off"], texts["auto"]))
    bench.found["sampling"] = found
    ratios = ", ".join(f"{count}: {found['auto'][count] / found['off'][count]:.2f}" for count in found["off"])
    return f"with it by without it {ratios}; {found['same_greedy_answers']} of 8 greedy answers are the same"


def llama_bench(bench):
    """llama.cpp's own programs, of this build if possible, with the file that both can read."""
    single = bench.program.tool("llama-bench", bench.options.llama_bench)
    batched = bench.program.tool("llama-batched-bench", bench.options.llama_batched_bench)
    if not single and not batched:
        raise NotAvailable("llama-bench and llama-batched-bench are not here")
    bench.stop()
    manifest = json.loads((bench.store / "manifests/registry.ollama.ai/library/mistral/latest").read_text())
    file = bench.store / "blobs" / manifest["layers"][0]["digest"].replace(":", "-")
    layers = "99" if bench.is_card else "0"
    environment = {**os.environ, **bench.program.environment}
    environment["LD_LIBRARY_PATH"] = f"{bench.program.libraries}:{environment.get('LD_LIBRARY_PATH', '')}"
    n_output, long = bench.number(128, 48), bench.number(8192, 2048)

    def run(*command):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
        if done.returncode:
            raise RuntimeError(f"{command[0]}: {done.stderr.strip()[-300:]}")
        return done.stdout

    found = {}
    if batched:
        counts = ",".join(map(str, N_STREAMS))
        text = run(batched, "-m", file, "-c", "8192", "-npp", "16", "-ntg", str(n_output), "-npl", counts, "-ngl", layers, "--output-format", "jsonl")
        rows = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
        found["streams"] = {str(row["pl"]): row["speed_tg"] for row in rows}
    if single:
        text = run(single, "-m", file, "-p", f"512,{long}", "-n", str(n_output), "-r", "2", "-ngl", layers, "-o", "json")
        rows = json.loads(text)
        found["prompts"] = {str(row["n_prompt"]): row["avg_ts"] for row in rows if row["n_prompt"]}
        found["one_stream"] = next(row["avg_ts"] for row in rows if row["n_gen"])
    bench.found["llama_bench"] = found
    return per_streams(found.get("streams") or {"1": found["one_stream"]})


def in_order(bench):
    """All steps: name, most seconds, what to call, the models that it needs."""
    slow = 1 if bench.is_small else 2
    every = list(bench.shapes)
    steps = [("device", 30, device, []), ("bandwidth", 20, bandwidth, [])]
    steps += [(f"place {name}", 40 * slow, of_model(place, name), [name]) for name in every]
    steps += [("swap", 60 * slow, swap, every), ("kill", 30 * slow, kill, ["gpt-oss"]), ("logits", 60, logits, [])]
    for name in every:
        for what, limit_s, work in (("speed", 40, speed), ("prompts", 25, prompts), ("shared", 20, shared), ("gaps", 25, gaps)):
            steps.append((f"{what} {name}", limit_s * slow, of_model(work, name), [name]))
        if name == "gemma3":
            steps.append(("image", 30 * slow, image, [name]))
    steps.append(("sampling", 60 * slow, sampling, ["gemma3"]))
    return [*steps, ("llama-bench", 60 * slow, llama_bench, ["mistral"])]


def of_model(work, name):
    return lambda bench: work(bench, name)
