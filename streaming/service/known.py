"""Which runs have all their answers already, told without reading them."""

from collections.abc import Callable, Sequence

from nearedge.streaming.ledger.ledger import Ledger


class Known:
    """The runs that need not be read again.

    Parameters
    ----------
    ledger
        What was read and answered.
    settings
        Digest of the settings that decide how a run is read.
    keys
        Returns the names that the only result of a run may have; none, when a run may have several
        results.

    Attributes
    ----------
    settings
        The settings, as given.
    spectra
        The spectra of the runs that `among` has found so far.
    """

    def __init__(
        self,
        ledger: Ledger,
        *,
        settings: str = "",
        keys: Callable[[str], Sequence[str]] = lambda run_uid: (),
    ) -> None:
        self._ledger, self.settings, self._keys = ledger, settings, keys
        self.spectra = 0

    def among(self, run_uids: Sequence[str]) -> set[str]:
        """Return those of the runs that were read whole, or whose only result is there."""
        if not run_uids:
            return set()
        read = self._ledger.runs.read_with(self.settings)
        known = {uid for uid in run_uids if uid in read}
        named = {key: uid for uid in run_uids if uid not in known for key in self._keys(uid)}
        answered = {named[key] for key in self._ledger.backlog.answered(named)}
        self.spectra += sum(read[uid] for uid in known) + len(answered)
        return known | answered
