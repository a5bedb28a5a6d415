"""Spectra of the user's own files, which the page draws beside those of the service."""

import threading
from collections import OrderedDict
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

from nearedge.callbacks.instrument import Instrument
from nearedge.callbacks.normalise import normalise
from nearedge.models import NormalisedSpectrum, Rejected
from nearedge.streaming.sources.files import FileSpectrum, UnreadableFileError, read_spectra
from nearedge.streaming.sources.files.athena import TITLE

KEPT = 64
"""References that are remembered; the oldest are forgotten first."""
MOST = 32
"""Spectra that are taken of one file."""
LARGEST = 8 * 2**20
"""Bytes of a file."""
BINARY = (b"\x89HDF", b"PAR1", b"\x1f\x8b", b"PK")
"""How files begin that are no text."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reference:
    """One spectrum of a file.

    Attributes
    ----------
    key
        Its name on the page.
    name
        Name of the file, and of the spectrum in it where it has several.
    signal
        How the absorption is made of the file's columns; None where nothing had to be chosen.
    spectrum
        Normalised as the profile says.
    """

    key: str
    name: str
    signal: str | None
    spectrum: NormalisedSpectrum


class References:
    """Reads and remembers references; nothing of them is ever stored.

    Only files of text are read: they are parsed in the process of the service, which must survive
    whatever is in them.

    Parameters
    ----------
    instrument
        How to read and normalise: what the profile says of the measured spectra.
    """

    def __init__(self, instrument: Instrument) -> None:
        self._instrument = instrument
        self._known: OrderedDict[str, Reference] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: str) -> Reference | None:
        """Return a reference; None where there is none of that key, or it is forgotten."""
        with self._lock:
            return self._known.get(key)

    def read(self, name: str, content: bytes) -> tuple[list[Reference], list[str]]:
        """Read the spectra of a file, and remember them.

        Parameters
        ----------
        name
            Name of the file: its ending may tell its form.
        content
            Its bytes.

        Returns
        -------
        tuple
            The references, and why there is none of the other spectra.

        Raises
        ------
        UnreadableFileError
            If the file is no text.
        """
        _check(content)
        short = Path(name).name[-100:] or "file"
        with TemporaryDirectory(prefix="nearedge-") as folder:
            path = Path(folder) / short
            path.write_bytes(content)
            found = read_spectra(path, self._instrument)
        digest = sha256(content).hexdigest()[:16]
        taken: list[Reference] = []
        refused = [f"{short}: {len(found)} spectra; the first {MOST} are taken"]
        refused = refused if len(found) > MOST else []
        for number, one in enumerate(found[:MOST]):
            outcome = self._normalised(one)
            if isinstance(outcome, Rejected):
                refused.append(f"{one.id}: {outcome.detail.removeprefix(f'{short}: ')}")
            else:
                key = f"reference.{digest}.{number}"
                taken.append(Reference(key=key, name=one.id, signal=one.signal, spectrum=outcome))
        self._keep(taken)
        return taken, refused

    def _normalised(self, one: FileSpectrum) -> NormalisedSpectrum | Rejected:
        if isinstance(one.spectrum, Rejected):
            return one.spectrum
        return normalise(one.spectrum, self._instrument.normalise)

    def _keep(self, taken: list[Reference]) -> None:
        with self._lock:
            for one in taken:
                self._known[one.key] = one
                self._known.move_to_end(one.key)
            while len(self._known) > KEPT:
                self._known.popitem(last=False)


def _check(content: bytes) -> None:
    """Refuse what is not read in the service's process."""
    if len(content) > LARGEST:
        raise UnreadableFileError(
            f"larger than {LARGEST >> 20} MB, which no text of a few spectra is"
        )
    start = content[:500]
    if start.startswith(BINARY) or TITLE.encode() in start or b"\0" in start:
        raise UnreadableFileError(
            "no columns of text; the page reads text, XDI, SPEC and EMSA/MSPEC alone: "
            "'nearedge compare' reads the other forms"
        )
