"""Which column of a file plays which role: as the user says, else by the profile, else by name."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from nearedge.callbacks.instrument import Instrument, Roles
from nearedge.models import Technique
from nearedge.streaming.sources.files.table import DOUBT, NoEnergyError, Table, UnreadableFileError

Signal: TypeAlias = Literal["transmission", "fluorescence", "reference", "mu", "spectrum"]
Chosen: TypeAlias = Mapping[str, tuple[str, ...]]
"""Columns that a user names: for each role their names, or their numbers from 1."""

ROLES = ("energy", "angle", "i0", "it", "ir", "if", "icr", "ocr", "mu", "spectrum")
SEVERAL = ("if", "icr", "ocr")

# Names without case and punctuation. The first pattern that some column has decides.
_NAMES: dict[str, tuple[str, ...]] = {
    "energy": (
        r"energy(_k?ev)?",
        r"(achieved|readback|measured|attained|actual|real|read)_energy(_\w+)?",
        r"energy_(achieved|readback|rbv|rb|attained|actual|encoder|enc|read|bragg)",
        r"omega|hv|photonenergy|monoenergy",  # FEFF's e beside omega is relative to the Fermi level
        r"e|en|ene|energie|energia|energies|k?ev|e_ev|axis_energy|energy_loss",
        r"(photon|mono|dcm|qexafs|zap|beam|x_ray|incident)_?(energy|ene)(_\w+)?",
        r"bragg1withoffset|\w+_ene",
        r"(?!.*(request|set|step|cmd|target|relative|width)).*energ(y|ie)(_\w+)?",
        r".*energy.*",
    ),
    "angle": (r"angle|theta|bragg(_angle)?|mono_angle|dcm_theta",),
    "i0": (
        r"i0|io|i_0|i_zero|izero|incoming_beam",
        r"(i0|i_0|izero)_?(ic|eh1|eh2|detector|current|counts|monitor)|monitor|mon",
    ),
    "it": (r"it|i1|itrans|i_t|i_1|itr|i_trans|itransmission|transmitted_beam",),
    "ir": (r"ir|iref|irefer|i_ref|i_r|i2|i_2|irf|reference_beam",),
    "if": (
        r"ifluor|iff?|ifl|i_f|i_fluor?|ifluo|fluor?|fluorescence|ff|lytle|pips|fluorescence_beam",
        r"(if|ff|fluor?|roi|sdd)_?(sum|total)|(sum|total)_?(if|ff|fluor?|rois?|sdd)|dtc|roi|sdd",
    ),
    "transmission": (r"mu_?trans(mission)?|mu_t|mut|(ln|log)_?i0_?(it|i1|itrans)|xmu_t(rans)?",),
    "fluorescence": (r"mu_?fluo(r|rescence)?|mu_f|muf|(if|iff|ff|ifluor)_?i0|xmu_f(luor)?",),
    "reference": (r"mu_?ref(er|erence)?|(ln|log)_?(it|i1|itrans)_?(ir|iref|i2|irefer)|xmu_ref",),
    "mu": (
        r"xmu|mux",
        r"mu|mu_e|mue|absorption|absorbance|absorption_coefficient|xas|xanes",
        r"norm|normalized|normalised|mu_norm|norm_mu",
        r"flat|mu_flat",
    ),
    "spectrum": (r"spectrum|core_loss", r"counts", r"intensity|data|signal"),
    "a beam": (r"absorbed_beam",),  # NXxas without its mode: of which detector?
}
_WEAK = r"counts|intensity|data|signal|y"  # absorption where there is nothing better

# a detector's elements: those corrected for dead time first, then counts
_CORRECTED = r"(dtc|dt_?corr|corr|{absorber})_?\d+"
_COUNTED = r"(if|iff|ifluor|fluor?|ff|sdd|roi|sca|ge|ssd|xmap|vortex|det)_?\d+"
_RATES = {"icr": r"icr_?\d+", "ocr": r"ocr_?\d+"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Channels:
    """Names of the columns that make a signal.

    Attributes
    ----------
    energy
        Of the energies or, where there are none, None and ``angle`` is given.
    angle
        Of the monochromator's angle.
    roles
        The other columns, as the roles of `Instrument`.
    signal
        How it is made, as in `Instrument`; ``mu`` for absorption that the file has ready.
    measured
        What it is, as in `Instrument`: absorption that is ready may be that of fluorescence.
    reference
        Of a foil's absorption that the file has ready, or None.
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


def parse_columns(text: str) -> Chosen:
    """Read what a user says of columns, ``energy=1,i0=2,it=3``, by number or name.

    Raises
    ------
    ValueError
        If a role is not known, or comes twice though it takes one column.
    """
    found: dict[str, tuple[str, ...]] = {}
    for pair in text.split(","):
        role, equals, name = (part.strip() for part in pair.partition("="))
        if role not in ROLES or not equals or not name:
            raise ValueError(
                f"--columns: found {pair.strip()!r}; expected ROLE=NUMBER or ROLE=NAME, as in "
                f"energy=1,i0=2,it=3 or if=4+5+6, with a role of {', '.join(ROLES)}"
            )
        names = tuple(part.strip() for part in name.split("+"))
        if (role in found or len(names) > 1) and role not in SEVERAL:
            raise ValueError(f"--columns: {role} comes twice; expected one column for it")
        found[role] = (*found.get(role, ()), *names)
    return found


def channels_of(table: Table, instrument: Instrument, chosen: Chosen | None = None) -> Channels:
    """Return the columns that make the wanted signal.

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
    """The search for the columns of one table."""

    def __init__(self, table: Table, instrument: Instrument, chosen: Chosen) -> None:
        self._table, self._instrument, self._chosen = table, instrument, chosen
        self._plain = {name: plain(name) for name in table.columns}

    def channels(self) -> Channels:
        energy = self._one("energy")
        angle = None if energy else self._one("angle")
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
            reference=None if measured == "reference" else self._one("reference"),
        )

    def _kind(self, measured: Signal, roles: Roles) -> Signal:
        """Return of which signal absorption is that the file has ready, where its name says it."""
        told: tuple[Signal, ...] = ("transmission", "fluorescence")
        named = (kind for kind in told if roles.mu and roles.mu == self._one(kind))
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
            found = self._one("spectrum") or self._absorption()
            return Roles(spectrum=found) if found else None
        if signal == "mu":
            found = self._absorption(ready=len(self._wanted()) == 1)
            return self._made(found) if found else None
        if ready := self._one(signal):
            return self._made(ready)
        pair = {"transmission": ("i0", "it"), "reference": ("it", "ir")}.get(signal, ("i0", "if"))
        if self._has(*pair):
            return self._raw(signal)
        # absorption that says not of what: where no other detector can have made it
        others = {"transmission": ("if", "fluorescence"), "fluorescence": ("it", "transmission")}
        if signal in others and not any(self._has(role) for role in others[signal]):
            found = self._absorption(ready=False)
            return self._made(found) if found else None
        return None

    def _made(self, name: str) -> Roles:
        """Return absorption already calculated, with what measured the reference foil."""
        foil = {role: self._by_pattern(role) or self._named(role) for role in ("it", "ir")}
        return Roles(mu=name, **{role: names[0] for role, names in foil.items() if len(names) == 1})

    def _raw(self, signal: Signal) -> Roles:
        single = {role: self._one(role) for role in ("i0", "it", "ir")}
        if signal != "fluorescence":
            return Roles(**single)
        return Roles(
            if_=self._several("if"), icr=self._rates("icr"), ocr=self._rates("ocr"), **single
        )

    def _absorption(self, *, ready: bool = True) -> str | None:
        """Return the column of absorption already calculated."""
        if found := self._one("mu"):
            return found
        known = [self._one(role) for role in ("transmission", "fluorescence")] if ready else []
        if len(made := [name for name in known if name]) == 1:
            return made[0]
        weak = [name for name, text in self._plain.items() if re.fullmatch(_WEAK, text)]
        if len(weak) == 1 and not self._has("i0") and not made:
            return weak[0]
        return self._second()

    def _second(self) -> str | None:
        """Return the other of two columns, where its name plays no other role."""
        if len(self._plain) != 2 or self._table.technique is Technique.XANES:
            return None  # XDI has names for absorption
        other = next(name for name in self._plain if name != self._one("energy"))
        taken = (*_NAMES.keys() - {"mu", "spectrum"},)
        text = self._plain[other]
        if text.startswith("chi") or any(_matches(p, text) for role in taken for p in _NAMES[role]):
            return None
        return other

    # -- which columns

    def _has(self, *roles: str) -> bool:
        return all(self._several(role) if role == "if" else self._one(role) for role in roles)

    def _one(self, role: str) -> str | None:
        found = self._named(role) or self._by_pattern(role)
        if len(found) > 1 and not self._agree(found):
            raise UnreadableFileError(
                f"columns {', '.join(found)} may all be {role}: say which with --columns "
                f"{role}={list(self._plain).index(found[0]) + 1}"
            )
        return found[0] if found else None

    def _named(self, role: str) -> tuple[str, ...]:
        """Return the columns that the user or the profile names."""
        if role in self._chosen:
            return tuple(self._column(role, name) for name in self._chosen[role])
        keys = getattr(self._instrument.roles, "if_" if role == "if" else role, None) or ()
        wanted = [plain(key) for key in ((keys,) if isinstance(keys, str) else keys)]
        found = tuple(name for key in wanted for name, text in self._plain.items() if text == key)
        if found and len(found) < len(wanted):
            raise UnreadableFileError(
                f"columns {', '.join(self._plain)}; the profile names {len(wanted)} as {role} "
                f"({', '.join(map(str, keys))}) and only {len(found)} are there"
            )
        return found

    def _column(self, role: str, name: str) -> str:
        names = list(self._plain)
        if name.isdecimal() and name not in names:
            if 1 <= int(name) <= len(names):
                return names[int(name) - 1]
        elif found := [known for known in names if known == name or plain(known) == plain(name)]:
            return found[0]
        raise UnreadableFileError(
            f"--columns names {role}={name}; found {len(names)} columns: {', '.join(names)}"
        )

    def _by_pattern(self, role: str) -> tuple[str, ...]:
        for pattern in _NAMES.get(role, ()):
            if found := tuple(n for n, text in self._plain.items() if _matches(pattern, text)):
                return found
        return ()

    def _several(self, role: str) -> tuple[str, ...]:
        """Return the columns of all elements of a detector, or of their sum."""
        if named := self._named(role):
            return named
        one = self._by_pattern(role)
        if len(one) > 1:
            raise UnreadableFileError(
                f"columns {', '.join(one)} may all be fluorescence: say which with --columns if=…"
            )
        return one or self._elements()

    def _elements(self) -> tuple[str, ...]:
        absorber = (self._table.header.get("element.symbol") or self._instrument.absorber).lower()
        corrected = self._numbered(_CORRECTED.format(absorber=re.escape(absorber)))
        counted = self._numbered(_COUNTED)
        # numbered windows may be lines of several elements: only rates show that they are elements
        rois = all(self._plain[name].startswith(("roi", "sca")) for name in counted)
        if corrected or not rois or len(counted) == 1 or self._rated(counted):
            return corrected or counted
        return ()

    def _rated(self, elements: Sequence[str]) -> bool:
        return all(len(self._numbered(pattern)) == len(elements) for pattern in _RATES.values())

    def _numbered(self, pattern: str) -> tuple[str, ...]:
        found = tuple(n for n, text in self._plain.items() if _matches(pattern, text))
        stems = {re.sub(r"_?\d+$", "", self._plain[name]) for name in found}
        return found if len(stems) == 1 else ()

    def _rates(self, role: str) -> tuple[str, ...]:
        """Return the columns of count rates: named, or those that go with counts by number."""
        if named := self._named(role):
            return named
        elements = self._several("if")
        counted = all(_matches(_COUNTED, self._plain[name]) for name in elements)
        return self._numbered(_RATES[role]) if counted and self._rated(elements) else ()

    def _agree(self, names: Sequence[str]) -> bool:
        first, *others = (self._table.columns[name] for name in names)
        return all(np.allclose(first, other, rtol=2e-4, equal_nan=True) for other in others)

    # -- what is missing

    def _no_energy(self) -> str:
        names = list(self._plain)
        if "chi" in self._plain.values() or any(t.startswith("chi_") for t in self._plain.values()):
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
            f"columns {', '.join(self._plain)} do not give {asked}; expected {needs}: say which "
            "is which with --columns energy=1,i0=2,it=3, or set instrument.signal"
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


def plain(name: str) -> str:
    """Return a name without case and punctuation: ``ln(I0/It)`` is ``ln_i0_it``."""
    text = name.lower().replace("µ", "mu").replace("μ", "mu").replace("χ", "chi")
    return re.sub(r"[^a-z0-9]+", "_", text).strip("_")


def _matches(pattern: str, text: str) -> bool:
    return bool(re.fullmatch(pattern, text))
