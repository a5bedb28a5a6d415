"""The nearedge command with a wall clock that jumps, by the seconds that a file holds."""

import sys
import time
from pathlib import Path


def main() -> None:
    offset = Path(sys.argv.pop(1))
    real = time.time
    time.time = lambda: real() + float(offset.read_text() or 0)
    from nearedge.streaming.cli import main as command

    command()


if __name__ == "__main__":
    main()
