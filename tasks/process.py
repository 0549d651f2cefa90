"""A process that must not outlive the one that started it: `kill -9` of a parent leaves no child running."""

from __future__ import annotations

import os
import signal
import threading
import time

_LOOK_S = 1.0
_GRACE_S = 10.0


def exit_with_parent() -> None:
    """End this process when its parent has ended: by SIGTERM, and ten seconds later hard."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_LOOK_S)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(_GRACE_S)
        os._exit(1)

    threading.Thread(target=watch, name="leash", daemon=True).start()
