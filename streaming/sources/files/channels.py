"""Which columns of a file make its energies and its signal."""

import re
from dataclasses import dataclass
from typing import Literal, TypeAlias

from nearedge.callbacks.instrument import Instrument, Roles
from nearedge.models import Technique
from nearedge.streaming.sources.files.chosen import Chosen
from nearedge.streaming.sources.files.columns import FileColumns
from nearedge.streaming.sources.files.table import DOUBT, NoEnergyError, Table, UnreadableFileError
from nearedge.streaming.sources.files.well_known import NAMES, WEAK, matches

Signal: TypeAlias = Literal["transmission", "fluorescence", "reference", "mu", "spectrum"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Channels:
    """Names of the columns that make a signal.

    Attributes
    ----------
    energy
        The column of the energies; None if there is none and ``angle`` is given.
    angle
        The column of the monochromator's angle.
    roles
        The other columns, as the roles of `Instrument`.
    signal
        How it is made, as in `Instrument`; ``mu`` for absorption that the file has ready.
    measured
        What it is, as in `Instrument`: absorption that is ready may be that of fluorescence.
    reference
        The column of a foil's absorption that the file has ready, or None.
    """

    energy: str | None
    angle: str | None
    roles: Roles
    signal: Signal
    measured: Signal
    reference: str | None = None

    @property
    def made_as(self) -> str:
        """How the signal is made of the file's columns: ``ln(I0/It)``."""
        roles = self.roles
        if self.signal == "transmission":
            return f"ln({roles.i0}/{roles.it})"
        if self.signal == "reference":
            return f"ln({roles.it}/{roles.ir})"
        if self.signal == "fluorescence":
            return f"({' + '.join(roles.if_)})/{roles.i0}"
        return str(roles.mu if self.signal == "mu" else roles.spectrum)


def channels_of(table: Table, instrument: Instrument, chosen: Chosen | None = None) -> Channels:
    """Return the columns that make the signal of a file.

    Nothing stands in for a signal that the profile asks for and the file lacks.

    Parameters
    ----------
    table
        Columns of a file.
    instrument
        Its roles name columns of the file, too, where the file has such.
    chosen
        Columns that the user names; they are stronger than the profile.

    Raises
    ------
    UnreadableFileError
        If a column is missing or more than one may be meant; the columns found are listed.
    """
    return _Search(table, instrument, chosen or {}).channels()


class _Search:
    """The search for the signal of one table."""

    def __init__(self, table: Table, instrument: Instrument, chosen: Chosen) -> None:
        self._table, self._instrument, self._chosen = table, instrument, chosen
        self._columns = FileColumns(table, instrument, chosen)

    def channels(self) -> Channels:
        energy = self._columns.one("energy")
        angle = None if energy else self._columns.one("angle")
        if energy is None and angle is None:
            raise NoEnergyError(self._no_energy())
        measured, roles = self._signal()
        # what the file has ready goes the way of absorption already calculated
        ready = roles.mu is not None and measured != "spectrum"
        return Channels(
            energy=energy,
            angle=angle,
            roles=roles,
            signal="mu" if ready else measured,
            measured=self._kind(measured, roles),
            reference=None if measured == "reference" else self._columns.one("reference"),
        )

    def _kind(self, measured: Signal, roles: Roles) -> Signal:
        """Return of which signal absorption is that the file has ready, where its name says it."""
        told: tuple[Signal, ...] = ("transmission", "fluorescence")
        named = (kind for kind in told if roles.mu and roles.mu == self._columns.one(kind))
        return next(named, measured) if measured == "mu" else measured

    # -- which signal

    def _signal(self) -> tuple[Signal, Roles]:
        for wanted in self._wanted():
            roles = self._roles(wanted)
            if roles is not None:
                return wanted, roles
        raise UnreadableFileError(self._no_signal())

    def _wanted(self) -> tuple[Signal, ...]:
        if self._technique() is Technique.EELS:
            return ("spectrum",)
        if said := [signal for role, signal in _SAYS.items() if role in self._chosen]:
            return (said[0],) if len(said) == 1 else (self._instrument.signal,)
        if "signal" in self._instrument.model_fields_set:
            return (self._instrument.signal,)
        return ("mu", "transmission", "fluorescence")

    def _technique(self) -> Technique:
        return self._table.technique or self._instrument.technique

    def _roles(self, signal: Signal) -> Roles | None:
        """Return the columns that make a signal, or None."""
        if signal == "spectrum":
            found = self._columns.one("spectrum") or self._absorption()
            return Roles(spectrum=found) if found else None
        if signal == "mu":
            found = self._absorption(ready=len(self._wanted()) == 1)
            return self._made(found) if found else None
        if ready := self._columns.one(signal):
            return self._made(ready)
        pair = {"transmission": ("i0", "it"), "reference": ("it", "ir")}.get(signal, ("i0", "if"))
        if self._columns.has(*pair):
            return self._raw(signal)
        # absorption that says not of what: where no other detector can have made it
        others = {"transmission": ("if", "fluorescence"), "fluorescence": ("it", "transmission")}
        if signal in others and not any(self._columns.has(role) for role in others[signal]):
            found = self._absorption(ready=False)
            return self._made(found) if found else None
        return None

    def _made(self, name: str) -> Roles:
        """Return absorption already calculated, with what measured the reference foil."""
        columns = self._columns
        foil = {role: columns.known(role) or columns.named(role) for role in ("it", "ir")}
        return Roles(mu=name, **{role: names[0] for role, names in foil.items() if len(names) == 1})

    def _raw(self, signal: Signal) -> Roles:
        single = {role: self._columns.one(role) for role in ("i0", "it", "ir")}
        if signal != "fluorescence":
            return Roles(**single)
        return Roles(
            if_=self._columns.several("if"),
            icr=self._columns.rates("icr"),
            ocr=self._columns.rates("ocr"),
            **single,
        )

    def _absorption(self, *, ready: bool = True) -> str | None:
        """Return the column of absorption already calculated."""
        if found := self._columns.one("mu"):
            return found
        roles = ("transmission", "fluorescence") if ready else ()
        if len(made := [name for role in roles if (name := self._columns.one(role))]) == 1:
            return made[0]
        weak = [name for name, text in self._columns.plain.items() if re.fullmatch(WEAK, text)]
        if len(weak) == 1 and not self._columns.has("i0") and not made:
            return weak[0]
        return self._second()

    def _second(self) -> str | None:
        """Return the other of two columns, where its name plays no other role."""
        if len(self._columns.plain) != 2 or self._table.technique is Technique.XANES:
            return None  # XDI has names for absorption
        other = next(name for name in self._columns.plain if name != self._columns.one("energy"))
        taken = (*NAMES.keys() - {"mu", "spectrum"},)
        text = self._columns.plain[other]
        if text.startswith("chi") or any(matches(p, text) for role in taken for p in NAMES[role]):
            return None
        return other

    # -- what is missing

    def _no_energy(self) -> str:
        names, texts = self._columns.names, self._columns.plain.values()
        if any(text == "chi" or text.startswith("chi_") for text in texts):
            return (
                f"columns {', '.join(names)}: chi(k), an EXAFS signal without its edge; expected "
                "energy and absorption mu(E)"
            )
        found = f"columns {', '.join(names)}; expected one named energy or angle"
        if all(name.startswith("column ") for name in names):
            found = f"{len(names)} columns without names; expected a line above that names them"
        doubt = self._table.header.get(DOUBT)
        return f"{found}, or --columns energy=1,i0=2,it=3" + (f" ({doubt})" if doubt else "")

    def _no_signal(self) -> str:
        wanted = self._wanted()
        asked = wanted[0] if len(wanted) == 1 else "an absorption"
        needs = " or ".join(_NEEDS[signal] for signal in wanted)
        return (
            f"columns {', '.join(self._columns.names)} do not give {asked}; expected {needs}: say "
            "which is which with --columns energy=1,i0=2,it=3, or set instrument.signal"
        )


_SAYS: dict[str, Signal] = {
    "mu": "mu",
    "spectrum": "spectrum",
    "if": "fluorescence",
    "it": "transmission",
}
_NEEDS: dict[Signal, str] = {
    "transmission": "i0 with itrans, or mutrans",
    "fluorescence": "i0 with ifluor, or mufluor",
    "reference": "itrans with irefer, or murefer",
    "mu": "mu",
    "spectrum": "spectrum",
}
