"""The worker processes of one machine, one for each device, which share the ledger's work."""

from collections.abc import Sequence

from nearedge.streaming.workers.worker import Worker


class Crew:
    """Several workers, seen as one by whoever asks how they are.

    Parameters
    ----------
    members
        Each takes batches of its own.
    """

    def __init__(self, members: Sequence[Worker]) -> None:
        self.members = tuple(members)

    @property
    def pid(self) -> int | None:
        """Process id of the first that runs, or None when none does."""
        return next((member.pid for member in self.members if member.pid is not None), None)

    @property
    def beat_age_s(self) -> float | None:
        """Seconds since the one that is silent for longest showed life, or None before any did."""
        ages = [member.beat_age_s for member in self.members]
        return max((age for age in ages if age is not None), default=None)

    @property
    def restarts(self) -> int:
        """How often processes had to be replaced."""
        return sum(max(0, member.restarts) for member in self.members)

    @property
    def problem(self) -> str | None:
        """Why no spectrum can be inverted now, or None: one that works is enough."""
        problems = [member.problem for member in self.members]
        return None if None in problems else "; ".join(filter(None, problems))

    def start(self) -> None:
        """Start all processes."""
        for member in self.members:
            member.start()

    def close(self) -> None:
        """End all processes."""
        for member in self.members:
            member.close()
