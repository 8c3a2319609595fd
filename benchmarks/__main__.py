"""`make bench`: every benchmark in a process of its own, one table at the end; `--json` for machines."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from dataclasses import asdict
from typing import Any

from benchmarks.report import Row, say, show

NAMES = (
    "features",
    "one_row",
    "serving",
    "router",
    "update_under_load",
    "transition",
    "registry_pass",
    "pages",
    "pod_start",
    "ledger",
    "recording",
    "record_store",
    "drift",
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"only these of {', '.join(NAMES)}")
    given = parser.parse_args()
    unknown = set(given.names) - set(NAMES)
    if unknown:
        parser.error(f"{', '.join(sorted(unknown))}: no such benchmark; there are {', '.join(NAMES)}")
    rows, failed = [], []
    for name in given.names or NAMES:
        say(f"--- {name}")
        arguments = [] if name == "update_under_load" else ["--json"]  # that one prints JSON anyway
        command = [sys.executable, "-m", f"benchmarks.{name}", *arguments]
        done = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True)
        try:
            rows += _rows(name, json.loads(done.stdout))
        except ValueError:  # no JSON came, so it broke before its end
            failed.append(name)
    if given.json:
        print(json.dumps([asdict(row) for row in rows], indent=1))
    else:
        print(f"\n{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}\n\n{show(rows)}")
    if failed:
        say(f"these benchmarks broke, see above: {', '.join(failed)}")
    return 1 if failed else 0


def _rows(name: str, seen: Any) -> list[Row]:  # Any: the value is JSON
    if name != "update_under_load":
        return [Row(**row) for row in seen]
    what = f"{seen['updates']} updates in place under load, {seen['answers']} answers"
    counts = {kind: seen[kind] for kind in ("failed", "mixed")}
    return [
        Row(what=f"{what}: {kind}", measured=count, asked=0, unit="answers", at_most=True, detail=seen)
        for kind, count in counts.items()
    ]


if __name__ == "__main__":
    sys.exit(main())
