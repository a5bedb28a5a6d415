"""``python -m nearedge.streaming`` is the command line."""

from nearedge.streaming.cli import main

if __name__ == "__main__":
    main()
