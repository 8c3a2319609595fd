"""Stands in for `plugin.delivery_process`: does what its URI says, without MLflow. HOME counts the attempts."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path


def main(uri: str, home: Path) -> None:
    counter = home / "attempts"
    attempt = int(counter.read_text()) + 1 if counter.exists() else 1
    counter.write_text(str(attempt))
    kind, _, rest = uri.removeprefix("fake:").partition(":")
    if kind == "after":  # fails so many times
        failures, _, folder = rest.partition(":")
        away = attempt <= int(failures)
        print(json.dumps({"error": "Unavailable", "message": "away"} if away else {"folder": folder}))
    elif kind == "error":
        print(json.dumps({"error": rest, "message": f"it is {rest}"}))
    elif kind == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    elif kind == "exit":
        print("half a wo", end="")
        sys.exit(int(rest))
    elif kind == "hang":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        (home / "pid").write_text(str(os.getpid()))
        time.sleep(600)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
