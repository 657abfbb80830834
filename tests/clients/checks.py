"""The frame of the Python client scripts: each check is a function, one line per check."""

import os
import sys
import traceback

URL = os.environ["DROVER_URL"].rstrip("/")
MODEL = os.environ["DROVER_MODEL"]
GGUF = os.environ.get("DROVER_GGUF", "")

_checks = []


def check(function):
    """Registers a check; checks run in the order of the file."""
    _checks.append(function)
    return function


def equal(got, expected, what):
    assert got == expected, f"{what}: got {got!r}, expected {expected!r}"


def main():
    """Runs every check, tells how each one went and exits."""
    n_failed = 0
    for function in _checks:
        name = function.__name__.replace("_", " ")
        try:
            function()
        except Exception:
            n_failed += 1
            print(f"FAIL {name}\n{traceback.format_exc()}", flush=True)
        else:
            print(f"ok   {name}", flush=True)
    print(f"{len(_checks) - n_failed} of {len(_checks)} checks passed", flush=True)
    sys.exit(1 if n_failed else 0)
