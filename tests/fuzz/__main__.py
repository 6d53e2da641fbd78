"""Fuzz one parser, guided by coverage: ``python -m tests.fuzz NAME --runs 1000000``; needs atheris."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["cnx"]):
    from tests.fuzz.cases import FOUND, SEEDS
    from tests.fuzz.targets import TARGETS


def main() -> None:
    """Run; libFuzzer ends the process, with a report where something was found."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m tests.fuzz")
    parser.add_argument("name", choices=TARGETS)
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--seconds", type=int, default=0, help="at most so long; 0: no limit")
    parser.add_argument("--length", type=int, default=512, help="bytes of an input, at most")
    parser.add_argument("--corpus", type=Path, help="a folder that keeps what reaches new code, for the next run")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        corpus = asked.corpus or Path(folder)
        corpus.mkdir(parents=True, exist_ok=True)
        for number, seed in enumerate(SEEDS.get(asked.name, []) + FOUND.get(asked.name, [])):
            (corpus / str(number)).write_bytes(seed)
        options = [f"-runs={asked.runs}", f"-max_total_time={asked.seconds}", f"-max_len={asked.length}"]
        bounds = ["-rss_limit_mb=512", "-timeout=10", f"-artifact_prefix={tempfile.gettempdir()}/{asked.name}-"]
        atheris.Setup([sys.argv[0], *options, *bounds, str(corpus)], TARGETS[asked.name])
        atheris.Fuzz()


if __name__ == "__main__":
    main()
