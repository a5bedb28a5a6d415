"""Which files a command is asked for: names, folders and patterns."""

import glob
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from nearedge.streaming.sources.files import FileSpectrum

NO_SPECTRA = frozenset(
    ".png .jpg .jpeg .gif .svg .pdf .tif .tiff .edf .cbf .raw .md .rst .html .doc .docx .odt .xls "
    ".xlsx .pptx .yaml .yml .toml .ini .cfg .json .jsonl .log .py .ipynb .sh .bat .m .exe .zip "
    ".tar .7z .sqlite .db .xyz .cif .safetensors".split()
)
"""Endings that are passed over in a folder; a file that is named itself is always opened."""


def files_of(asked: Sequence[str], *, besides: Path | None = None) -> list[Path]:
    """Return the files that arguments name, each once.

    Parameters
    ----------
    asked
        Files; folders, with everything below them; patterns such as ``scans/**/*.dat``, for shells
        that do not resolve them.
    besides
        An output, which is no input even where it lies in a folder that is asked for.

    Raises
    ------
    FileNotFoundError
        If an argument names nothing; all such are listed.
    """
    found = {one: list(_files(one)) for one in asked}
    if missing := [one for one, files in found.items() if not files]:
        raise FileNotFoundError(
            f"found no file {', '.join(map(repr, missing))}; expected files, folders that hold "
            "some, or patterns such as 'scans/*.dat'"
        )
    own = None if besides is None else besides.resolve()
    files = [file for some in found.values() for file in some]
    kept = {
        file.resolve(): file
        for file in files
        if own not in (file.resolve(), *file.resolve().parents)
    }
    return list(kept.values())


def _files(asked: str) -> Iterator[Path]:
    path = Path(asked).expanduser()
    if path.is_dir():
        yield from _below(path)
    elif path.exists() or path.is_symlink():
        yield path
    else:
        names = glob.glob(str(path), recursive=True)  # noqa: PTH207 - of any folder
        matches = (Path(name) for name in sorted(names))
        yield from (match for match in matches if match.is_file())


def _below(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(place, name)
            if not name.startswith(".") and path.suffix.lower() not in NO_SPECTRA:
                yield path


def labels_of(paths: Sequence[Path]) -> dict[Path, str]:
    """Return a name for each file: its own, or with its folders where two files share it."""
    count = Counter(path.name for path in paths)
    twins = [path for path in paths if count[path.name] > 1]
    root = Path(os.path.commonpath([path.parent.absolute() for path in twins])) if twins else Path()
    return {
        path: path.absolute().relative_to(root).as_posix() if count[path.name] > 1 else path.name
        for path in paths
    }


def distinct(read: Iterable[tuple[Path, FileSpectrum]]) -> list[FileSpectrum]:
    """Return spectra whose ids differ: where two share one, each gets the name of its file."""
    pairs = list(read)
    labels = labels_of(list(dict.fromkeys(path for path, _ in pairs)))
    named = [(path, _relabelled(one, path, labels[path])) for path, one in pairs]
    count = Counter(one.id for _, one in named)
    return [
        replace(one, id=f"{labels[path]}#{one.id}") if count[one.id] > 1 else one
        for path, one in named
    ]


def _relabelled(one: FileSpectrum, path: Path, label: str) -> FileSpectrum:
    """Return a spectrum whose id begins with the label instead of the bare name of its file."""
    if one.id == path.name or one.id.startswith(f"{path.name}#"):
        return replace(one, id=label + one.id[len(path.name) :])
    return one
