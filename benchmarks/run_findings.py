"""The paper's findings on pico, with their spread over seeds: docs/findings.md says what is measured and found.

    python benchmarks/run_findings.py --save             # all, three seeds, into results/ and docs/findings.md
    python benchmarks/run_findings.py --only 9 --seeds 6 7 8 --save   # some again, beside the others
    python benchmarks/run_findings.py --only 5 9 --seeds 0
    python benchmarks/run_findings.py --only 5 --quick   # a few steps of each run: does it work?

Give the same command again to go on after a stop.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from findings.making import figures_by_step, find
from findings.page import page, pictures
from findings.reward_tables import MODELS, NOTE, tables
from findings.table import report
from findings.twelve import TWELVE
from findings.verdicts import LEAST_SEEDS
from reporting import RESULTS, ROOT

from llamatune.errors import LlamatuneError

NAME, AGAIN = "findings", "findings_again_"
"""The results of all findings, and of those that were measured again since (their numbers follow), which count in their
place."""
PAGE = ROOT / "docs/findings.md"
SEEDS = [3, 4, 5]
"""Those that nobody had seen when what is measured was written down (docs/findings.md)."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    numbers = [one.number for one in TWELVE]
    parser.add_argument("--only", type=int, nargs="+", choices=numbers, metavar="N", help="these findings")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--quick", action="store_true", help="a few steps and rows of each run; never saved")
    parser.add_argument(
        "--save", action="store_true", help="write benchmarks/results/findings.* and the page"
    )
    parser.add_argument("--page", action="store_true", help="only write the page, from the saved results")
    options = parser.parse_args()
    if options.save and (options.quick or len(set(options.seeds)) < LEAST_SEEDS):
        parser.error(f"--save takes findings whole, over at least {LEAST_SEEDS} seeds")
    seeds = sorted(set(options.seeds))
    if not options.page:
        chosen = [one for one in TWELVE if options.only is None or one.number in options.only]
        try:
            found = find(chosen, seeds, quick=options.quick)
        except LlamatuneError as error:
            print(error, file=sys.stderr)
            raise SystemExit(error.exit_code) from None
        made = report(found, seeds, quick=options.quick)
        if {1, 2} <= {one.finding.number for one in found if not one.failed}:
            known = figures_by_step(MODELS.values(), seeds, quick=options.quick)
            made = replace(made, tables=[*made.tables, *tables(known)], notes=[*made.notes, NOTE])
        print(made.text())
        if options.save:
            made.save(AGAIN + "_".join(str(one.number) for one in chosen) if options.only else NAME)
    if options.save or options.page:
        write_page(saved(), PAGE)


def saved() -> dict[str, Any] | None:
    """results/findings.json, if there is any, with what was measured again in the place of what it was before."""
    file = RESULTS / f"{NAME}.json"
    if not file.exists():
        return None
    results = _read(file)
    later = [(one.name, _read(one)) for one in RESULTS.glob(f"{AGAIN}*.json")]
    for name, content in sorted(later, key=lambda one: one[1]["figures"]["seeds"]):
        about, figures = content["about"], content["figures"]
        again = {
            one["number"]: one | {"again": about | {"seeds": figures["seeds"], "file": name}}
            for one in figures["findings"]
        }
        known = results["figures"]["findings"]
        results["figures"]["findings"] = [again.get(one["number"], one) for one in known]
    return results


def _read(file: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(file.read_text("utf-8"))
    return content


def write_page(results: dict[str, Any] | None, path: Path) -> None:
    """The page, and its pictures in a folder beside it."""
    path.write_text(page(results), "utf-8")
    folder = path.with_suffix("")
    for name, svg in pictures(results).items():
        folder.mkdir(exist_ok=True)
        (folder / name).write_text(svg, "utf-8")


if __name__ == "__main__":
    main()
