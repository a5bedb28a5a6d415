"""The forms in which a result can be taken away."""

from collections.abc import Callable
from dataclasses import dataclass

from nearedge.streaming.answers import structure
from nearedge.streaming.answers.answer import Answer
from nearedge.streaming.answers.xdi import xdi


class FormatError(ValueError):
    """A form that nobody knows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """One form of a result.

    Attributes
    ----------
    name
        What it is called in addresses and on the command line.
    suffix
        The ending of its files, with the dot.
    media_type
        The media type for HTTP, and for Tiled's registry.
    title
        The title that people read.
    write
        Makes the file's content.
    """

    name: str
    suffix: str
    media_type: str
    title: str
    write: Callable[[Answer], str | bytes]

    def content(self, answer: Answer) -> bytes:
        """Return the file's bytes."""
        made = self.write(answer)
        return made.encode() if isinstance(made, str) else made

    def filename(self, answer: Answer) -> str:
        """Return a name that tells which spectrum it is."""
        scan = "" if answer.scan_id is None else f"-scan{answer.scan_id}"
        part = "" if answer.name == "0" else f"-{answer.name}"
        run = f"merge-{answer.key[:8]}" if answer.merged_from else answer.run_uid[:8]
        name = f"{answer.absorber}-{answer.edge}{scan}-{run}{part}{self.suffix}"
        return "".join(c if c.isalnum() or c in "-_." else "_" for c in name)


def _nexus(answer: Answer) -> bytes:
    from nearedge.streaming.answers.nexus import nexus

    return nexus(answer)


EXPORTS = {
    export.name: export
    for export in (
        Export(
            name="xyz",
            suffix=".xyz",
            media_type="chemical/x-xyz",
            title="extended XYZ, all samples",
            write=structure.extended_xyz,
        ),
        Export(
            name="cif",
            suffix=".cif",
            media_type="chemical/x-cif",
            title="CIF, the most typical cluster in a box",
            write=structure.cif,
        ),
        Export(
            name="poscar",
            suffix=".poscar",
            media_type="chemical/x-poscar",
            title="POSCAR, the most typical cluster in a box",
            write=structure.poscar,
        ),
        Export(
            name="xdi",
            suffix=".xdi",
            media_type="application/x-xdi",
            title="XDI, the normalised spectrum",
            write=xdi,
        ),
        Export(
            name="nexus",
            suffix=".nxs",
            media_type="application/x-nexus",
            title="NeXus, everything",
            write=_nexus,
        ),
    )
}


def export_of(name: str) -> Export:
    """Return the form of that name or suffix.

    Raises
    ------
    FormatError
        If there is none.
    """
    by_suffix = {export.suffix: export for export in EXPORTS.values()} | {
        ".vasp": EXPORTS["poscar"],
        ".h5": EXPORTS["nexus"],
        ".extxyz": EXPORTS["xyz"],
    }
    found = EXPORTS.get(name.lower()) or by_suffix.get(name.lower())
    if found is None:
        known = ", ".join(EXPORTS)
        raise FormatError(f"found the format {name!r}: expected one of {known}")
    return found
