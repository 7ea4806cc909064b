"""Measure how fast it is beside what a user would pick instead: same work, same machine, same durability."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from bench import frame, page, plot, results, table
from bench.cases import CASES
from bench.christmas import page as christmas
from bench.lab import Lab
from deploy.local import state

EXAMPLES = """\
examples:
  make bench-peers                          install what it is compared with; without it, those lines are skipped
  make bench                                all cases at their full counts: hours
  make bench ARGS="--scale 0.01"            a quick look at all of it
  make bench ARGS="--case c --case f"       two letters, each with all its parts
  make bench ARGS="--case b1 --runs 5"      one part, five times
  make bench ARGS=--show                    print the table of the last run

cases:
"""


def main() -> None:
    """Run the cases that were asked for, keep their figures, and print the table."""
    options = _options()
    console = Console(width=None if os.isatty(1) else 200)
    if not options.show:
        _measure(options, console)
    table.show(console, results.read(options.out))


def _measure(options: Namespace, console: Console) -> None:
    for name in [name for name in os.environ if name.startswith("JOBS_")]:
        del os.environ[name]  # it measures servers of its own, whatever this shell is set to
    chosen = [case for key, case in CASES.items() if not options.case or key.startswith(tuple(options.case))]
    columns = SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Lab(state.LOCAL / "bench", options.limit) as lab, Progress(*columns, console=console) as progress:
        task = progress.add_task("starting servers", total=sum(options.runs * (len(c.ways) or 1) for c in chosen))
        here = results.machine(lab.versions())

        def report(what: str) -> None:
            progress.update(task, description=what, advance=1)
            if not console.is_terminal:
                console.print(what)

        for case in chosen:
            found = frame.run(case, lab, scale=options.scale, runs=options.runs, report=report)
            results.keep({case.key: found}, here, options.out)
    if options.out == results.LATEST:
        plot.draw(results.read(), plot.PICTURE)
        page.write(results.read())
        christmas.write(results.read())


def _options() -> Namespace:
    listed = "\n".join(f"  {key:4}{case.title} ({case.full:,} {case.unit})" for key, case in CASES.items())
    parser = ArgumentParser(
        prog="python -m bench",
        description=__doc__,
        epilog=EXAMPLES + listed,
        formatter_class=RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--case", action="append", metavar="KEY", help="a case, or a letter for all its parts; may be repeated")
    add("--scale", type=float, default=1, help="share of the full counts (default 1)")
    add("--runs", type=int, default=3, help="runs of each, of which the median counts (default 3)")
    add("--limit", type=float, default=300, help="seconds after which a run is cut off (default 300)")
    add("--out", type=Path, default=results.LATEST, help="file of figures (default bench/results/latest.json)")
    add("--show", action="store_true", help="measure nothing, print what is there")
    options = parser.parse_args()
    unknown = [key for key in options.case or () if not any(known.startswith(key) for known in CASES)]
    if unknown or options.scale <= 0 or options.runs < 1:
        parser.error(
            f"no case {', '.join(unknown)}: use {', '.join(CASES)}" if unknown else "scale and runs are above 0"
        )
    return options


if __name__ == "__main__":
    main()
