"""Run a benchmark: ``python -m bench mail``; without a name, print which there are."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Callable

from bench import mail, wheel
from bench.results import keep

BENCHMARKS: dict[str, Callable[[int, int], dict[str, object]]] = {"mail": mail.run, "wheel": wheel.run}


def main() -> None:
    """Run one, print its table, and keep its figures in ``bench/results/latest.json``."""
    parser = ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("name", nargs="?", choices=BENCHMARKS, help="what to measure")
    parser.add_argument("--times", type=int, default=200, help="operations per run and way (default %(default)s)")
    parser.add_argument("--runs", type=int, default=5, help="runs, of which the median counts (default %(default)s)")
    options = parser.parse_args()
    if options.name is None:
        for name, run in BENCHMARKS.items():
            print(f"  python -m bench {name:10} {(run.__doc__ or '').splitlines()[0]}")
        return
    print("written to", keep(options.name, BENCHMARKS[options.name](options.times, options.runs)))


if __name__ == "__main__":
    main()
