"""From Bluesky documents to spectra: the assembler, the reduction, and what a profile says of both.

Knows event-model's documents and no socket and no catalog, so that live, catch-up and replay are
one code.
"""

from nearedge.callbacks.assemble import Assembler
from nearedge.callbacks.instrument import Instrument
from nearedge.callbacks.measurement import Gap, Measurement, Run
from nearedge.callbacks.recognise import Dark, Darks, Kind, recognise
from nearedge.callbacks.reduce import reduce

__all__ = [
    "Assembler",
    "Dark",
    "Darks",
    "Gap",
    "Instrument",
    "Kind",
    "Measurement",
    "Run",
    "recognise",
    "reduce",
]
