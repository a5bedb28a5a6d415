"""Who holds a row: a process of this machine, under a name that no later one gets."""

import os
from uuid import uuid4

_PROCESS = uuid4().hex[:8]  # a process started later may get the number of one that died


def this_process() -> str:
    """Return the name under which this process holds rows."""
    return f"{os.getpid()}.{_PROCESS}"


def owner_is_alive(owner: str) -> bool:
    """Return whether the process of that name still runs on this machine."""
    pid = int(owner.partition(".")[0])
    if pid == os.getpid():
        return owner == this_process()
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
