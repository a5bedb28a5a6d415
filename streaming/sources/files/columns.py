"""Which columns of a file play a role: as the user says, else by the profile, else by name."""

import re
from collections.abc import Sequence

import numpy as np

from nearedge.callbacks.instrument import Instrument
from nearedge.streaming.sources.files.chosen import Chosen
from nearedge.streaming.sources.files.table import Table, UnreadableFileError
from nearedge.streaming.sources.files.well_known import (
    CORRECTED,
    COUNTED,
    NAMES,
    RATES,
    matches,
    plain,
)


class FileColumns:
    """The columns of a table, looked up by role.

    Parameters
    ----------
    table
        Columns of a file.
    instrument
        Its roles name columns of the file, too, if the file has such.
    chosen
        Columns that the user names. They are stronger than the profile.
    """

    def __init__(self, table: Table, instrument: Instrument, chosen: Chosen) -> None:
        self.plain = {name: plain(name) for name in table.columns}
        self._table, self._instrument, self._chosen = table, instrument, chosen

    @property
    def names(self) -> list[str]:
        """The names of all columns, in the order of the file."""
        return list(self.plain)

    def has(self, *roles: str) -> bool:
        """Tell whether every one of these roles has a column."""
        return all(self.several(role) if role == "if" else self.one(role) for role in roles)

    def one(self, role: str) -> str | None:
        """Return the column of a role, or None.

        Raises
        ------
        UnreadableFileError
            If several may be meant and their numbers differ.
        """
        found = self.named(role) or self.known(role)
        if len(found) > 1 and not self._agree(found):
            raise UnreadableFileError(
                f"columns {', '.join(found)} may all be {role}: say which with --columns "
                f"{role}={self.names.index(found[0]) + 1}"
            )
        return found[0] if found else None

    def named(self, role: str) -> tuple[str, ...]:
        """Return the columns that the user or the profile names for a role.

        Raises
        ------
        UnreadableFileError
            If the file lacks one of them.
        """
        if role in self._chosen:
            return tuple(self._column(role, name) for name in self._chosen[role])
        keys = getattr(self._instrument.roles, "if_" if role == "if" else role, None) or ()
        wanted = [plain(key) for key in ((keys,) if isinstance(keys, str) else keys)]
        found = tuple(name for key in wanted for name, text in self.plain.items() if text == key)
        if found and len(found) < len(wanted):
            raise UnreadableFileError(
                f"columns {', '.join(self.plain)}; the profile names {len(wanted)} as {role} "
                f"({', '.join(map(str, keys))}) and only {len(found)} are there"
            )
        return found

    def known(self, role: str) -> tuple[str, ...]:
        """Return the columns whose names are well known for a role."""
        for pattern in NAMES.get(role, ()):
            if found := tuple(n for n, text in self.plain.items() if matches(pattern, text)):
                return found
        return ()

    def several(self, role: str) -> tuple[str, ...]:
        """Return the columns of all elements of a detector, or of their sum.

        Raises
        ------
        UnreadableFileError
            If several may be the sum and their numbers differ.
        """
        if named := self.named(role):
            return named
        one = self.known(role)
        one = one + tuple(twin for name in one for twin in self._twins(name))
        if len(one) > 1 and not self._agree(one):
            raise UnreadableFileError(
                f"columns {', '.join(one)} may all be fluorescence: say which with --columns if=…"
            )
        return one[:1] or self._elements()

    def rates(self, role: str) -> tuple[str, ...]:
        """Return the columns of count rates: named, or those that go with counts by number."""
        if named := self.named(role):
            return named
        elements = self.several("if")
        counted = all(matches(COUNTED, self.plain[name]) for name in elements)
        return self._numbered(RATES[role]) if counted and self._rated(elements) else ()

    def _column(self, role: str, name: str) -> str:
        names = self.names
        if name.isdecimal() and name not in names:
            if 1 <= int(name) <= len(names):
                return names[int(name) - 1]
        elif found := [known for known in names if known == name or plain(known) == plain(name)]:
            return found[0]
        raise UnreadableFileError(
            f"--columns names {role}={name}; found {len(names)} columns: {', '.join(names)}"
        )

    def _elements(self) -> tuple[str, ...]:
        absorber = (self._table.header.get("element.symbol") or self._instrument.absorber).lower()
        corrected = self._numbered(CORRECTED.format(absorber=re.escape(absorber)))
        counted = self._numbered(COUNTED)
        if corrected or self._rated(counted):
            return corrected or counted
        # numbered windows may be lines of several elements, and numbered detectors any: rates show
        # that they are elements of one
        begins = {self.plain[name][:3] for name in counted}
        doubtful = "det" in begins or (len(counted) > 1 and begins <= {"roi", "sca"})
        return () if doubtful else counted

    def _twins(self, name: str) -> list[str]:
        """Return the columns that a file calls by the same name; they got numbers from 2 on."""
        if f"{name}_1" in self.plain:
            return []  # the numbers are the file's own
        return [other for other in self.plain if re.fullmatch(re.escape(name) + r"_\d+", other)]

    def _rated(self, elements: Sequence[str]) -> bool:
        return all(len(self._numbered(pattern)) == len(elements) for pattern in RATES.values())

    def _numbered(self, pattern: str) -> tuple[str, ...]:
        found = tuple(n for n, text in self.plain.items() if matches(pattern, text))
        stems = {re.sub(r"_?\d+$", "", self.plain[name]) for name in found}
        return found if len(stems) == 1 else ()

    def _agree(self, names: Sequence[str]) -> bool:
        first, *others = (self._table.columns[name] for name in names)
        return all(np.allclose(first, other, rtol=2e-4, equal_nan=True) for other in others)
