"""Clusters in the forms that other programs read."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nearedge.models import Samples

if TYPE_CHECKING:
    from ase import Atoms
    from pymatgen.core import Molecule, Structure

VACUUM_A = 10.0


def cluster(samples: Samples, sample: int, *, absorber: str) -> tuple[list[str], np.ndarray]:
    """Return symbols and positions (atoms + 1, 3) Å of one sample, the absorber first.

    Places of a sample that hold no atom (symbol ``X`` or empty) are left out.
    """
    symbols = [str(s) for s in samples.species[sample]]
    atoms = [i for i, symbol in enumerate(symbols) if symbol not in ("X", "")]
    positions = np.asarray(samples.positions[sample], float)[atoms].reshape(-1, 3)
    return [absorber, *(symbols[i] for i in atoms)], np.vstack([np.zeros(3), positions])


def molecule(samples: Samples, sample: int, *, absorber: str) -> "Molecule":
    """Return a sample as a pymatgen Molecule."""
    from pymatgen.core import Molecule

    return Molecule(*cluster(samples, sample, absorber=absorber))


def atoms(samples: Samples, sample: int, *, absorber: str) -> "Atoms":
    """Return a sample as ASE Atoms.

    Raises
    ------
    ImportError
        If ASE is not installed.
    """
    try:
        from ase import Atoms
    except ImportError as e:
        raise ImportError(
            "Atoms are made by ASE, which is missing: pip install 'nearedge[ase]'"
        ) from e
    return Atoms(*cluster(samples, sample, absorber=absorber))


def structure(
    samples: Samples, sample: int, *, absorber: str, vacuum_a: float = VACUUM_A
) -> "Structure":
    """Return a sample as a pymatgen Structure, in the middle of a cube with vacuum around it.

    Parameters
    ----------
    vacuum_a
        Least distance between an atom and its periodic image, Å.
    """
    from pymatgen.core import Lattice, Structure

    symbols, positions = cluster(samples, sample, absorber=absorber)
    side = 2 * float(np.abs(positions).max()) + vacuum_a
    return Structure(Lattice.cubic(side), symbols, positions + side / 2, coords_are_cartesian=True)


def extended_xyz(
    samples: Samples,
    sample: int | None = None,
    *,
    absorber: str,
    info: Mapping[str, str] | None = None,
    per_sample: Mapping[str, np.ndarray] | None = None,
) -> str:
    """Return one sample, or all of them, as extended XYZ.

    Parameters
    ----------
    sample
        Which; None for all.
    info
        Texts that go with each frame.
    per_sample
        (samples,) numbers of which each frame gets its own; NaN is left out.
    """
    frames = range(len(samples.weights)) if sample is None else [sample]
    return "".join(
        _frame(*cluster(samples, i, absorber=absorber), _notes(i, info or {}, per_sample or {}))
        for i in frames
    )


def flags_note(flags: Sequence[str]) -> dict[str, str]:
    """Return the flags as the ``info`` of `extended_xyz`; nothing where there are none."""
    return {"flags": ", ".join(flags)} if flags else {}


def _notes(sample: int, info: Mapping[str, str], per_sample: Mapping[str, np.ndarray]) -> str:
    numbers = {k: v[sample] for k, v in per_sample.items() if np.isfinite(v[sample])}
    words: dict[str, Any] = {**info, "sample": sample, **numbers}
    return " ".join(
        f'{k}="{v}"' if isinstance(v, str) else f"{k}={v:.10g}" for k, v in words.items()
    )


def _frame(symbols: Iterable[str], positions: np.ndarray, notes: str) -> str:
    lines = [
        f"{symbol:2s} {x:14.8f} {y:14.8f} {z:14.8f}"
        for symbol, (x, y, z) in zip(symbols, positions, strict=True)
    ]
    head = f'Properties=species:S:1:pos:R:3 pbc="F F F" {notes}'
    return "\n".join([str(len(lines)), head, *lines]) + "\n"
