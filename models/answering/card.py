"""The model card: what a file of weights is, read without loading torch."""

import hashlib
import json
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from nearedge.models.aside import written_aside

#: The form of the cards that this code reads and writes.
FORM = 9


class CardError(ValueError):
    """Weights or a card that cannot be used: missing, of another form, or not one another's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What a file of weights holds and what is known of it.

    Attributes
    ----------
    name, path
        The name and the path of the weights.
    digest
        SHA-256 of weights and card together, hex; the name does not count. Weights that are
        calibrated otherwise are another model.
    edges
        The (absorber, edge) pairs that the model was trained on, in the order of its embedding.
    species
        The neighbours' vocabulary, in the order of the species channels.
    atoms
        Neighbours per cluster.
    grid
        First, last and step of the energies that the model reads, eV from half height.
    network, encoder
        Sizes of the denoiser and the spectrum encoder.
    surrogate
        How sharply the forward surrogate weighs samples, and its error by edge.
    diffusion
        ``sigma_data``, ``sigma_min``, ``sigma_max`` (Å) and ``rho``.
    members
        Encoders in the ensemble.
    start
        How clusters grow: ``size`` of the density, ``temperature`` and ``surplus`` of
        `nearedge.models.parts.grown.Grown`. Empty where they are drawn otherwise.
    shares
        Sizes of the part that reads averages; empty where there is none.
    calibration
        Numbers found on held-out families: temperatures, conformal widths.
    outlier
        The out-of-distribution score's threshold, the usual misfit, edge steps, and beyond what
        an answer does not explain its spectrum.
    data
        Digest and make-up of the training data.
    recipe
        What the training was told.
    figures
        Accuracy on held-out families.
    limits
        Sentences on what the model must not be used for.
    """

    name: str
    path: Path
    digest: str
    edges: tuple[tuple[str, str], ...]
    species: tuple[str, ...]
    atoms: int
    grid: tuple[float, float, float]
    network: dict[str, Any]
    encoder: dict[str, Any]
    surrogate: dict[str, Any]
    diffusion: dict[str, float]
    members: int
    start: dict[str, Any] = field(default_factory=dict)
    shares: dict[str, Any] = field(default_factory=dict)
    calibration: dict[str, Any] = field(default_factory=dict)
    outlier: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    recipe: dict[str, Any] = field(default_factory=dict)
    figures: dict[str, Any] = field(default_factory=dict)
    limits: tuple[str, ...] = ()

    def supports(self, absorber: str, edge: str) -> bool:
        """Tell whether the model was trained on this edge of this element."""
        return (absorber, edge) in self.edges


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def weights_path(model: str) -> Path:
    """Return where weights are, by a shipped name or the path of a .safetensors file.

    Raises
    ------
    CardError
        If there is no such file.
    """
    path = Path(model)
    if path.suffix != ".safetensors":
        path = Path(str(files("nearedge.models.weights") / f"{model}.safetensors"))
    if not path.is_file():
        raise CardError(
            f"no weights {model!r}: expected one of {shipped()} or the path of a .safetensors file"
        )
    return path


def shipped() -> list[str]:
    """Return the names of the weights that come with nearedge."""
    folder = Path(str(files("nearedge.models.weights")))
    return sorted(p.stem for p in folder.glob("*.safetensors"))


def _edges(pairs: list[list[str]]) -> tuple[tuple[str, str], ...]:
    return tuple((absorber, edge) for absorber, edge in pairs)


def _digest(text: dict[str, Any]) -> str:
    """Return the SHA-256 of a card and its weights, whatever the spaces and the name."""
    plain = json.dumps({k: v for k, v in text.items() if k != "name"}, sort_keys=True)
    return hashlib.sha256(plain.encode()).hexdigest()


@cache
def _read(path: Path, sidecar: Path, _stamps: tuple[tuple[int, int], ...]) -> Card:
    text = json.loads(sidecar.read_text())
    if text.pop("form", None) != FORM:
        raise CardError(f"{sidecar} is no card of form {FORM}: train the weights again")
    weights = sha256(path)
    if text["weights"] != weights:
        raise CardError(
            f"{sidecar.name} belongs to other weights: {path.name} has SHA-256 {weights[:12]}…; "
            "copy both files together"
        )
    digest = _digest(text)
    del text["weights"]
    text["edges"] = _edges(text["edges"])
    for key in {"species", "grid", "limits"} & set(text):
        text[key] = tuple(text[key])
    return Card(path=path, digest=digest, **text)


def read_card(model: str) -> Card:
    """Read a model's card and verify that its weights are the ones that it describes.

    Parameters
    ----------
    model
        Name of shipped weights, such as ``siox``, or the path of a ``.safetensors`` file with
        its card, of the same stem and ``.json``, beside it.

    Raises
    ------
    CardError
        If weights or card are missing, or the card describes other weights.
    """
    path = weights_path(model)
    sidecar = path.with_suffix(".json")
    if not sidecar.is_file():
        raise CardError(f"{path.name} has no card: expected {sidecar.name} beside it")
    stats = [file.stat() for file in (path, sidecar)]
    return _read(path, sidecar, tuple((s.st_mtime_ns, s.st_size) for s in stats))


def write_card(path: Path, **entries: Any) -> Card:
    """Write the card of the weights at ``path`` beside them, and read it back.

    Parameters
    ----------
    path
        The ``.safetensors`` file.
    **entries
        The attributes of `Card`, but for ``name``, ``path`` and ``digest``.
    """
    text = {"form": FORM, "weights": sha256(path), "name": path.stem, **entries}
    with written_aside(path.with_suffix(".json")) as part:
        part.write_text(json.dumps(text, indent=1) + "\n")
    return read_card(str(path))
