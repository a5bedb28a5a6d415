"""Times of measurement as dates."""

from datetime import UTC, datetime


def date_of(seconds: float | None) -> datetime | None:
    """Return a time, seconds since the epoch, in UTC; None where no calendar has it, as of NaN."""
    try:
        return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):  # NaN, or further than the year 9999
        return None
