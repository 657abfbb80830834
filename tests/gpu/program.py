"""The command line that the scripts of this folder and of `tests/vulkan` have in common."""

import argparse
import pathlib
import sys

import report
import steps
from bench import Bench, Steps
from machine import Meter, Program, scratch_folder


def arguments(description, defaults):
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    program = parser.add_mutually_exclusive_group()
    program.add_argument("--tree", metavar="DIR", help="what packaging/build-release --tree made, or it packed (.tar.zst, .tar.xz)")
    program.add_argument("--binary", metavar="FILE", help="an installed drover; default: the one on the PATH")
    parser.add_argument("--device", choices=["cuda", "vulkan", "cpu"], default="cuda", help="default: %(default)s")
    parser.add_argument("--shapes", choices=["real", "small"], default="real", help="sizes of the models; default: %(default)s")
    parser.add_argument("--only", metavar="STEP", action="append", help="steps that begin like this; may be repeated")
    parser.add_argument("--out", metavar="DIR", type=pathlib.Path, default=pathlib.Path("gpu-results"), help="default: %(default)s")
    parser.add_argument("--work", metavar="DIR", help="where models are written and kept; default: a temporary folder")
    parser.add_argument("--limit", metavar="S", type=float, default=480, help="most seconds of all steps (%(default)s)")
    parser.add_argument("--room", metavar="GIB", type=float, default=16,
                        help="on a larger card, plan as for one of this size (%(default)s); 0 = all of it")
    parser.add_argument("--bandwidth", metavar="GB/S", type=float, help="of the device's memory, where it cannot be measured")
    parser.add_argument("--small-model", metavar="FILE", help="SmolLM2, for the comparison with the processor")
    parser.add_argument("--llama-bench", metavar="FILE", help="default: beside the program's libraries, or on the PATH")
    parser.add_argument("--llama-batched-bench", metavar="FILE", help="likewise")
    parser.set_defaults(**defaults)
    return parser.parse_args()


def main(description, in_order, **defaults):
    """Runs the steps that `in_order` lists and writes their report; returns the exit status."""
    options = arguments(description, defaults)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "drover.log").unlink(missing_ok=True)
    scratch, temporary = scratch_folder(options.work)
    try:
        program = Program(options, scratch)
        bench = Bench(options, scratch, program, Meter(options.device))
        order = Steps(bench, options.limit)
        known = in_order(bench)
        wanted = [each for each in known if not options.only or any(each[0].startswith(name) for name in options.only)]
        if not wanted:
            sys.exit(f"no such step; there are: {', '.join(name for name, *_ in known)}")
        print(f"{program.version}, {program.binary}", flush=True)
        try:
            needed = [name for name in bench.shapes if any(name in models for *_, models in wanted)]
            order.run("models", 150, lambda: steps.make_models(bench, needed))
            for name, limit_s, work, _ in wanted:
                order.run(name, limit_s, lambda: work(bench))
        finally:
            bench.stop()
            written = report.write(options.out, options, program, order, bench.found)
    finally:
        if temporary:
            temporary.cleanup()
    print("\n" + (options.out / "report.md").read_text())
    for goal in written["goals"]:
        print(f"{'met   ' if goal['met'] else 'MISSED'} {goal['what']}: {goal['reached']:.2f} of {goal['goal']:.2f}")
    for step in order.failed():
        print(f"FAILED {step['step']}: {step['reason']}")
    return 1 if order.failed() else 0
