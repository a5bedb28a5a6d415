"""The normalised spectrum as XDI/1.0 (XAS Data Interchange), which Larch and Athena read."""

import numpy as np

from nearedge.streaming.answers.answer import Answer
from nearedge.streaming.answers.moment import iso

_FROM_E0 = ("pre1", "pre2", "norm1", "norm2", "step1", "step2")
_ENERGIES = ("e0", "energy_shift", "background1", "background2", "zero_loss_centre")

#: Units of the numbers that made the spectrum.
UNITS = dict.fromkeys(_FROM_E0, "eV from e0") | dict.fromkeys(_ENERGIES, "eV")


def xdi(answer: Answer) -> str:
    """Return energy, mu, norm and flat with the numbers that made them.

    EELS spectra are written in the same way, their energy being the energy loss.
    """
    spectrum = answer.spectrum
    table = np.column_stack([spectrum.energy, spectrum.mu, spectrum.norm, spectrum.flat])
    rows = [" ".join(f"{value:15.8g}" for value in row) for row in table[_finite(table)]]
    head = [f"# {name}: {value}" for name, value in _fields(answer)]
    notes = [f"# {_line(note)}" for note in _notes(answer)]
    names = "#   " + "   ".join(_labels(answer))
    ruler = "#" + "-" * 64
    return "\n".join(["# XDI/1.0 nearedge", *head, "# ///", *notes, ruler, names, *rows, ""])


def _finite(table: np.ndarray) -> np.ndarray:
    return np.asarray(np.isfinite(table).all(axis=1))  # XDI knows no NaN


def _labels(answer: Answer) -> tuple[str, ...]:
    signal = "counts" if answer.spectrum.technique == "eels" else "mu"
    return ("energy", signal, "norm", "flat")


def _fields(answer: Answer) -> list[tuple[str, str]]:
    spectrum = answer.spectrum
    columns = [
        (f"Column.{n}", "energy eV" if name == "energy" else name)
        for n, name in enumerate(_labels(answer), 1)
    ]
    measured = iso(answer.time, timespec="seconds")
    signal = _labels(answer)[1]
    numbers = {
        "e0": spectrum.e0,
        "edge_step": spectrum.edge_step,
        "energy_shift": spectrum.energy_shift,
        **spectrum.parameters,
    }
    units = UNITS | dict.fromkeys(("edge_step", "edge_step_error"), signal)
    return [
        *columns,
        ("Element.symbol", answer.absorber),
        ("Element.edge", answer.edge),
        *([("Sample.name", _line(answer.sample))] if answer.sample else []),
        *([("Scan.end_time", measured)] if measured else []),
        ("Scan.edge_energy", f"{spectrum.e0:.4f} eV"),
        ("Nearedge.run_uid", " ".join(answer.runs)),
        ("Nearedge.scan_id", " ".join(map(str, answer.scans))),
        *([("Nearedge.merged_from", _merged_from(answer))] if answer.merged_from else []),
        ("Nearedge.key", answer.key),
        ("Nearedge.model", answer.model),
        ("Nearedge.version", answer.code),
        ("Nearedge.config", answer.config or "not known"),
        ("Nearedge.seed", str(answer.seed)),
        ("Nearedge.ood_score", _number(answer.ood_score)),
        ("Nearedge.flags", ", ".join(answer.doubts) or "none"),
        *(
            (f"Nearedge.{name}", f"{_number(value)} {units.get(name, '')}".rstrip())
            for name, value in numbers.items()
        ),
    ]


def _merged_from(answer: Answer) -> str:
    """Return the keys of the spectra of a merge, with their weights."""
    return ", ".join(f"{one['key']} {one['weight']:.4f}" for one in answer.merged_from)


def _notes(answer: Answer) -> list[str]:
    flags = ", ".join(answer.doubts)
    return [
        "normalised by nearedge with Larch's names",
        *([f"flags: {flags}"] if flags else []),
    ]


def _number(value: float | str) -> str:
    return f"{value:.8g}" if isinstance(value, int | float) else _line(value)


def _line(text: str) -> str:
    return " ".join(text.split())
