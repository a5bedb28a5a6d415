"""Send what beamlines publish through stock programs and the shipped configuration, and count.

    python -m benchmarks.beamlines                    # all kinds of runs
    python -m benchmarks.beamlines --profile fly      # those of one profile
    python -m benchmarks.beamlines --table docs/reliability.md

A stock proxy, a Tiled server with `profiles/deploy/tiled.yaml` and `nearedge run` with a shipped
profile run as processes of their own; a RunEngine with devices of ophyd publishes. Ends with exit
code 1 unless every spectrum that was sent is complete, rejected with a reason, or of a run that is
counted as no scan of the energy.
"""

import argparse
import logging
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.beamlines import documents, files, fly, plans
from benchmarks.beamlines.case import CASES
from benchmarks.beamlines.programs import Programs
from benchmarks.beamlines.trial import PROFILES, Verdict, tried

MODULES = (plans, documents, files, fly)
"""They fill `CASES`."""
HEAD = "| published | sent | complete | rejected | left out | lost | reasons and flags |"
RULE = "| --- | ---: | ---: | ---: | ---: | ---: | --- |"
BEGIN, END = "<!-- beamlines: begin -->", "<!-- beamlines: end -->"


def row(one: Verdict) -> str:
    """Return a line of the table."""
    told = ", ".join(
        f"`{word}`" + (f" ×{count}" if count > 1 else "") for word, count in one.told.most_common(4)
    )
    text = f"**{one.amiss}** {told}" if one.amiss else told
    numbers = [one.sent, one.complete, one.rejected, one.left_out, one.lost]
    return f"| {one.title} | {' | '.join(map(str, numbers))} | {text} |"


def table(verdicts: Sequence[Verdict]) -> str:
    """Return all lines of the table, with the sums."""
    numbers = [
        sum(getattr(one, name) for one in verdicts)
        for name in ("sent", "complete", "rejected", "left_out", "lost")
    ]
    total = f"| **all** | {' | '.join(f'**{n}**' for n in numbers)} | |"
    return "\n".join([HEAD, RULE, *map(row, verdicts), total])


def put_into(page: Path, text: str) -> None:
    """Put a table between its marks on a page."""
    before, rest = page.read_text().split(BEGIN)
    _, after = rest.split(END)
    page.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.beamlines", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--profile", choices=PROFILES, action="append", help="default: all")
    parser.add_argument("--folder", type=Path, help="kept, with all logs; default: a temporary one")
    parser.add_argument("--table", type=Path, help="the page whose table is made anew")
    options = parser.parse_args()
    logging.getLogger("bluesky").setLevel(logging.CRITICAL)  # some plans are to fail
    verdicts: list[Verdict] = []
    with tempfile.TemporaryDirectory(prefix="nearedge-beamlines-") as temporary:
        folder = (options.folder or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        programs = Programs(folder)
        try:
            for name in options.profile or PROFILES:
                found = tried(programs, name, [one for one in CASES if one.profile == name])
                print("\n".join(map(row, found)), flush=True)
                verdicts += found
        finally:
            programs.close()
    if options.table is not None:
        put_into(options.table, table(verdicts))
    print(table(verdicts).splitlines()[-1])
    bad = [one for one in verdicts if not one.good]
    print(f"{len(bad)} of {len(verdicts)} kinds went wrong" if bad else "all as expected")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
