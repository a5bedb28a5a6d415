"""Run drills, record how each ended, and put them into a table.

    python -m benchmarks.drill                      # all
    python -m benchmarks.drill worker-killed proxy-killed
    python -m benchmarks.drill pace soak --spectra 2000
    python -m benchmarks.drill --table docs/reliability.md

Each drill is recorded in a JSON file as soon as it ends; the table is made of that file. Ends with
exit code 1 if one of them lost, doubled or tore something.
"""

import argparse
import json
import math
import sys
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path

from benchmarks.drill import pace, report, soak
from benchmarks.drill.faults import DRILLS, Ending
from benchmarks.drill.stand import Base

RECORD = Path("benchmarks/data/drill.json")


def run_one(name: str, base: Base) -> Ending:
    """Run one drill."""
    began = time.monotonic()
    ending = DRILLS[name][1](base)
    return replace(ending, seconds=time.monotonic() - began)


def recorded(name: str, ending: Ending) -> dict:
    """Return what is kept of a drill."""
    return {
        "title": DRILLS[name][0],
        "good": ending.audit.good,
        **asdict(ending.audit),
        "struck": ending.struck,
        "load": report.load_text(),
        "seconds": round(ending.seconds, 1),
    }


def options_of(arguments: list[str] | None = None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.drill", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    known = [*DRILLS, "pace", "soak"]
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"all, or: {', '.join(known)}")
    parser.add_argument("--folder", type=Path, help="kept, with all logs; default: a temporary one")
    parser.add_argument("--record", type=Path, default=RECORD)
    parser.add_argument("--table", type=Path, help="the page whose tables are made anew")
    parser.add_argument("--spectra", type=int, default=2000, help="of the soak")
    parser.add_argument("--minutes", type=float, default=math.inf, help="of soak and pace, at most")
    parser.add_argument("--rounds", type=int, default=12, help="of the pace")
    parser.add_argument("--exposure", type=float, default=0.01, help="of its points, s")
    options = parser.parse_args(arguments)
    if unknown := set(options.names) - {*known, "all"}:
        parser.error(f"found no drill {', '.join(sorted(unknown))}; known are {', '.join(known)}")
    if "all" in options.names or not (options.names or options.table):
        options.names = known
    return options


def main() -> int:
    options = options_of()
    records = report.load(options.record)
    bad = 0
    with tempfile.TemporaryDirectory(prefix="nearedge-drill-") as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        base = Base(folder) if options.names else None
        try:
            for name in options.names:
                assert base is not None
                records[name] = one = measured(name, base, options)
                bad += not one["good"]
                print(json.dumps({name: one}), flush=True)
                options.record.write_text(json.dumps(records, indent=1) + "\n")
        finally:
            if base is not None:
                base.close()
    if options.table:
        write_tables(options.table, records)
    return 1 if bad else 0


def measured(name: str, base: Base, options: argparse.Namespace) -> dict:
    """Run one drill or measurement and return its record."""
    print(f"{name} …", flush=True)
    if name == "pace":
        return pace.measure(
            base,
            rounds=options.rounds,
            exposure_s=options.exposure,
            limit_s=60 * options.minutes,
        )
    if name == "soak":
        return soak.measure(base, spectra=options.spectra, limit_s=60 * options.minutes)
    try:
        return recorded(name, run_one(name, base))
    except Exception as e:
        raise SystemExit(f"the drill {name} itself broke: {type(e).__name__}: {e}") from e


def write_tables(page: Path, records: dict) -> None:
    """Put the tables into a page."""
    faults = {name: records[name] for name in DRILLS if name in records}
    report.insert(page, "faults", report.table(faults))
    for name, module in (("pace", pace), ("soak", soak)):
        if name in records:
            report.insert(page, name, module.table(records[name]))


if __name__ == "__main__":
    sys.exit(main())
