"""Write a file aside and put it into its place whole, so that an interruption ruins nothing."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """Yield a file to write beside ``path``; it takes the place of ``path`` when it is done.

    What stood at ``path`` stays until then, and stays for good if the block raises. The file has
    the permissions that the umask gives to any new one.

    Parameters
    ----------
    path
        The file to be written, in a folder that exists.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        part.touch()
        mode = part.stat().st_mode
        yield part
        part.chmod(mode)  # some writers, safetensors among them, make a file of their own with 0600
        with part.open("rb+") as file:
            os.fsync(file.fileno())  # a name must not reach the disk before its content
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
