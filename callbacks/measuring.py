"""The measurement of one spectrum: its columns, its dark, and what was measured along with it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from nearedge.callbacks.columns import Point, columns_of, have_own_energies, is_whole
from nearedge.callbacks.instrument import Instrument
from nearedge.callbacks.measurement import Measurement, Run
from nearedge.callbacks.parts import Piece
from nearedge.callbacks.recognise import DARK_ROLES, Dark, Darks, Kind
from nearedge.callbacks.repeats import UNLIKE, examine
from nearedge.callbacks.scalars import Scalars
from nearedge.callbacks.streams import Streams


@dataclass(frozen=True, slots=True, kw_only=True)
class Measuring:
    """Makes measurements of the readings of one run.

    Attributes
    ----------
    instrument
        What the profile says.
    streams, scalars
        What has come of the run.
    darks
        Where dark runs leave their means, and others find them.
    """

    instrument: Instrument
    streams: Streams
    scalars: Scalars
    darks: Darks

    def measure(
        self,
        piece: Piece,
        run: Run,
        kind: Kind,
        *,
        flags: Collection[str] = (),
        final: bool = True,
        ended: float | None = None,
        whole_run: bool = True,
    ) -> Measurement:
        """Return the measurement of one spectrum.

        Parameters
        ----------
        piece
            Its readings.
        run, kind
            Where they come from.
        flags
            What is known to be wrong with them.
        final
            Whether no more of them come.
        ended
            When the run ended, seconds since the epoch.
        whole_run
            Whether the baseline counts to its end; else only until the last of the readings.
        """
        part, points = piece.part, piece.points
        columns, odd = columns_of(points, self.instrument.roles)
        problems = sorted({text for point in points for text in point.problems})
        found = {*flags, *odd, *(("partial", "unreadable") if problems else ())}
        times = [point.time for point in points if point.time is not None]
        when = max(times, default=run.time if ended is None else ended)
        sample = kind is Kind.SAMPLE
        dark, dark_runs = self._dark(run, points, columns) if sample else ({}, ())
        context, units = self.scalars.along(
            points,
            self.streams.listed(),
            baseline=self.streams.baseline,
            files=self.streams.files,
            until=float("inf") if whole_run else when,
            axes=piece.axes,
        )
        measurement = Measurement(
            run=run,
            stream=part.stream or self.streams.listed()[0].name,
            spectrum=part.name,
            columns=columns,
            complete="partial" not in found,
            final=final,
            time=when,
            flags=tuple(sorted(found)),
            context={**piece.where, **context},
            units=units,
            dark=dark,
            dark_runs=dark_runs,
            keys=self.streams.keys(),
            problems=tuple(problems),
            unlike=piece.unlike,
        )
        return self._examined(measurement, points) if sample else measurement

    def keep_dark(self, measured: Measurement, points: Sequence[Point], *, ended: float) -> None:
        """Leave the means of a dark run for the runs that follow."""
        whole = is_whole(points, self.instrument.roles)
        columns = {role: c for role, c in measured.columns.items() if role in DARK_ROLES}
        means = {role: c if whole else c.mean(axis=0) for role, c in columns.items()}
        finite = {role: np.asarray(m) for role, m in means.items() if np.isfinite(m).all()}
        self.darks.add(Dark(run_uid=measured.run.uid, ended=ended, means=finite))

    def _dark(
        self, run: Run, points: Sequence[Point], columns: Mapping[str, np.ndarray]
    ) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
        """Return the dark of a spectrum; of several one behind the other, that of the first."""
        roles = self.instrument.roles
        joined = have_own_energies(points, roles)
        return self.darks.before(run.time, columns_of(points[:1], roles)[0] if joined else columns)

    def _examined(self, measurement: Measurement, points: Sequence[Point]) -> Measurement:
        """Return a measurement with what its repeats tell."""
        found = examine(measurement, points, self.instrument)
        unlike = measurement.unlike or found.unlike
        flags = {*measurement.flags, *([UNLIKE] if unlike else [])}
        columns = measurement.columns
        if found.scatter is not None:
            columns = {**columns, "scatter": found.scatter}
        return replace(measurement, columns=columns, flags=tuple(sorted(flags)), unlike=unlike)
