"""Records the document sets beside it: a RunEngine drives classic ophyd devices.

Run it with ``python tests/data/documents/record.py``; uids and times change with every run.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.plans as bp
import event_model
import numpy as np
from bluesky import RunEngine
from bluesky.preprocessors import SupplementalData, run_decorator, stage_decorator
from bluesky.utils import RunEngineInterrupted
from ophyd.sim import SynAxis, SynSignal

HERE = Path(__file__).parent
ENERGIES = np.linspace(1830.0, 1890.0, 31)


def _mu(energy: float) -> float:
    return 0.5 + np.arctan(energy - 1845.0) / np.pi


mono = SynAxis(name="mono_energy")
press = SynSignal(name="press_pressure", func=lambda: 12.5)
i0 = SynSignal(name="chambers_i0", func=lambda: 1e6)
it = SynSignal(name="chambers_it", func=lambda: 1e6 * np.exp(-_mu(mono.position)))
ir = SynSignal(name="chambers_ir", func=lambda: 5e5 * np.exp(-_mu(mono.position)))
detectors = [i0, it, ir]


sample_x = SynAxis(name="sample_x")


def _unlike(energy: float) -> float:
    """Another material: a white line where the first has none."""
    return _mu(energy) + (1.5 * np.exp(-(((energy - 1848.0) / 3) ** 2)) if sample_x.position else 0)


it_at_x = SynSignal(name="chambers_it", func=lambda: 1e6 * np.exp(-_unlike(mono.position)))
at_places = [i0, it_at_x]


def unnamed_places() -> Iterator[Any]:
    """A plan of one's own, whose start document does not say what it moves."""

    @stage_decorator([*at_places, mono])
    @run_decorator()
    def points() -> Iterator[Any]:
        for place in (0, 1):
            yield from bps.mv(sample_x, place)
            for energy in ENERGIES:
                yield from bps.mv(mono, energy)
                yield from bps.trigger_and_read([*at_places, mono])

    return (yield from points())


def sweeps() -> Iterator[Any]:
    """To and fro, twice."""
    there = list(ENERGIES)
    yield from bp.list_scan(detectors, mono, there + there[::-1])


def rewound() -> Iterator[Any]:
    """Pause after the fifth point was read, so that it is read again."""

    @stage_decorator([*detectors, mono])
    @run_decorator()
    def points() -> Iterator[Any]:
        for number, energy in enumerate(ENERGIES):
            yield from bps.checkpoint()
            yield from bps.mv(mono, energy)
            yield from bps.trigger_and_read([*detectors, mono])
            if number == 4:
                yield from bps.pause()

    return (yield from points())


def stopped_short() -> Iterator[Any]:
    """Fail at the tenth point."""

    def one_shot(detectors: Any) -> Iterator[Any]:
        if mono.position >= ENERGIES[10]:
            raise RuntimeError("the shutter fell")
        yield from bps.trigger_and_read([*detectors, mono])

    yield from bp.scan(detectors, mono, ENERGIES[0], ENERGIES[-1], 31, per_step=_stepping(one_shot))


def _stepping(take_reading: Any) -> Any:
    def step(detectors: Any, step: Any, pos_cache: Any) -> Iterator[Any]:
        yield from bps.move_per_step(step, pos_cache)
        yield from take_reading(detectors)

    return step


def record(name: str, plan: Iterator[Any], *, baseline: bool = False) -> None:
    run_engine = RunEngine({})
    if baseline:
        run_engine.preprocessors.append(SupplementalData(baseline=[press]))
    lines: list[str] = []
    run_engine.subscribe(
        lambda name, doc: lines.append(json.dumps([name, event_model.sanitize_doc(doc)]))
    )
    try:
        run_engine(plan)
    except RunEngineInterrupted:
        run_engine.resume()
    except RuntimeError as error:
        print(f"{name}: {error}")
    (HERE / f"{name}.jsonl").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    scan = bp.list_scan(detectors, mono, ENERGIES.tolist(), md={"sample_name": "quartz"})
    record("step-scan", scan, baseline=True)
    record("sweeps", sweeps())
    record("rewound", rewound())
    record("failed", stopped_short())
    energies = ENERGIES.tolist()
    record("grid-energy-inner", bp.list_grid_scan(at_places, sample_x, [0, 1], mono, energies))
    record("grid-energy-outer", bp.list_grid_scan(at_places, mono, energies, sample_x, [0, 1]))
    record("unnamed-places", unnamed_places())
    sample_x.set(0)
    record("alignment", bp.rel_scan(at_places, sample_x, -1, 1, 5))
    record("count", bp.count([*at_places, mono], 3))
    record("dark", bp.count(detectors, 3, md={"dark_frame": True}))
