"""The log on standard error: lines for people, or JSON with the run's uid for machines."""

import json
import logging
import sys
import time
from enum import StrEnum

TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class Form(StrEnum):
    """How a line of the log is written."""

    TEXT = "text"
    JSON = "json"


class StderrHandler(logging.Handler):
    """Writes to whatever standard error is now: a live table puts itself in between."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        sys.stderr.write(self.format(record) + "\n")


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (UTC), level, logger, text, run and, of an error, its trace."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line = {
            "time": f"{moment}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "text": record.getMessage(),
            "run": getattr(record, "run_uid", None),
        }
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps({name: value for name, value in line.items() if value is not None})


def start_logging(level: int, form: Form = Form.TEXT) -> None:
    """Log nearedge's messages of that level and above to standard error."""
    handler = StderrHandler()
    handler.setFormatter(JsonFormatter() if form is Form.JSON else logging.Formatter(TEXT))
    ours = logging.getLogger("nearedge")
    ours.handlers = [handler]
    ours.setLevel(level)
    ours.propagate = False
