"""The whole of ``nearedge invert``: read files, invert what is in them, save answers at once."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import repeat
from os import cpu_count
from pathlib import Path

from nearedge.models import Inversion, Inverts, Rejected
from nearedge.models.answering.cards import read_cards
from nearedge.streaming.commands.answer_rows import is_lost, is_rejected, line_of
from nearedge.streaming.commands.file_list import distinct
from nearedge.streaming.commands.inverting import InvertOptions, Outcome, fingerprint, invert
from nearedge.streaming.commands.saving import Saving
from nearedge.streaming.settings.profile import Profile
from nearedge.streaming.sources.files import Chosen, FileSpectrum, merged, read_spectra
from nearedge.streaming.workers.worker import Worker, load_inverter


class FileInversion:
    """One call of ``nearedge invert``.

    Parameters
    ----------
    profile
        How to read and normalise, and the model.
    saving
        Where answers go.
    seed
        The seed of the call.
    jobs
        Processes that invert at a time; 1: this one.
    again
        Whether to invert what an earlier call, interrupted, has saved.
    tell
        Takes a line for each spectrum.

    Attributes
    ----------
    card
        The card of the model.
    inverted
        Ids and inversions, kept for a check where ``again`` is set.
    lost
        How many spectra that were meant to be inverted have no answer.
    """

    def __init__(
        self,
        profile: Profile,
        saving: Saving,
        *,
        seed: int,
        jobs: int,
        again: bool,
        tell: Callable[[str], None],
    ) -> None:
        self._profile, self._saving, self._tell = profile, saving, tell
        self._jobs, self._again = jobs, again
        worker = profile.worker
        self._effort = InvertOptions(samples=worker.samples, quality=worker.quality, seed=seed)
        self.card = read_cards(worker.model)
        self.inverted: list[tuple[str, Inversion]] = []
        self.lost = 0
        self._keys: list[str] = []
        self._rejected = 0

    def run(
        self, paths: Sequence[Path], *, columns: Chosen | None = None, merge: bool = False
    ) -> None:
        """Read all files, invert their spectra and save each row.

        Parameters
        ----------
        paths
            The files.
        columns
            Which columns play which role.
        merge
            Whether the scans of a file are repeats, to be averaged where they agree.

        Raises
        ------
        nearedge.streaming.workers.worker.WorkerUnavailable
            If no process could load the model.
        """
        read = {p: read_spectra(p, self._profile.instrument, columns=columns) for p in paths}
        asked = distinct(
            (path, one)
            for path, spectra in read.items()
            for one in (merged(spectra) if merge else spectra)
        )
        self._keys = [self._key(one) for one in asked]
        fresh = [n for n, key in enumerate(self._keys) if self._again or key not in self._saving]
        for number in sorted(set(range(len(asked))) - set(fresh)):
            row = self._saving.row(self._keys[number])
            self._tell(f"{line_of(row)} (saved before)")
        for number, outcome in zip(fresh, self._outcomes([asked[n] for n in fresh]), strict=True):
            row = self._saving.add(self._keys[number], outcome, number=number)
            self._rejected += is_rejected(row)
            self.lost += is_lost(row)
            if self._again and not isinstance(outcome.answer, Rejected):
                self.inverted.append((row["id"], outcome.answer))
            self._tell(line_of(row))

    def done(self) -> str:
        """Write the output of all rows; return what was done, in words."""
        count = self._saving.finish(self._keys, done=True)
        return f"{count - self._rejected} inverted, {self._rejected} rejected: {self._saving.out}"

    def stopped(self) -> str:
        """Write the output of the rows that there are; return how to go on."""
        count = self._saving.finish(self._keys, done=False)
        return (
            f"stopped: {count} of {len(self._keys)} spectra are in {self._saving.out}; the same "
            f"command goes on from there ({self._saving.rows_path})"
        )

    def _key(self, one: FileSpectrum) -> str:
        settings = self._profile.instrument.model_dump_json()
        effort = self._effort
        work = (str(effort.samples), str(effort.quality), str(effort.seed), self.card.digest)
        return fingerprint(one, one.id, one.file, settings, *work)

    def _outcomes(self, asked: Sequence[FileSpectrum]) -> Iterator[Outcome]:
        if not asked:
            return
        with self._inverters(len(asked)) as inverters:
            yield from invert(
                asked,
                self._profile.instrument,
                inverters=inverters,
                supports=self.card.supports,
                effort=self._effort,
            )

    @contextmanager
    def _inverters(self, count: int) -> Iterator[list[Inverts]]:
        """Yield the model, loaded here or in as many processes as there is work for."""
        settings = self._profile.worker
        jobs = max(1, min(self._jobs, count))
        if jobs == 1:
            device = settings.devices[0]
            yield [load_inverter(settings.model_copy(update={"device": device}))]
            return
        threads = settings.threads or max(1, (cpu_count() or 1) // jobs)
        devices = (settings.devices[n % len(settings.devices)] for n in range(jobs))
        workers = [
            Worker(settings.model_copy(update={"device": device, "threads": of_each}))
            for device, of_each in zip(devices, repeat(threads), strict=False)
        ]
        try:
            yield list(workers)
        finally:
            for worker in workers:
                worker.close()
