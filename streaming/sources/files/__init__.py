"""Read spectra from files: what beamlines and microscopes write, and what users keep."""

from nearedge.streaming.sources.files.chosen import Chosen, parse_columns
from nearedge.streaming.sources.files.merging import merged
from nearedge.streaming.sources.files.reader import FileSpectrum, read_spectra
from nearedge.streaming.sources.files.table import UnreadableFileError

__all__ = [
    "Chosen",
    "FileSpectrum",
    "UnreadableFileError",
    "merged",
    "parse_columns",
    "read_spectra",
]
