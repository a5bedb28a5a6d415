"""Times of measurement as dates."""

from datetime import UTC, datetime


def iso(seconds: float | None, *, timespec: str = "milliseconds") -> str | None:
    """Return a time, seconds since the epoch, as ISO 8601 in UTC.

    None where no calendar has it, as of NaN or after the year 9999: clocks may be that wrong.
    """
    if seconds is None:
        return None
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec=timespec)
    except (ValueError, OverflowError, OSError):
        return None
