"""`make bench`: every benchmark in a process of its own, one table at the end; `--json` for machines."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from dataclasses import asdict

from benchmarks.report import Row, say, show

NAMES = ("features", "one_row", "serving", "update_under_load", "transition", "registry_pass", "ledger")


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
        done = subprocess.run(
            [sys.executable, "-m", f"benchmarks.{name}", "--json"], check=False, stdout=subprocess.PIPE, text=True
        )
        if done.returncode:
            failed.append(name)
        else:
            rows += [Row(**row) for row in json.loads(done.stdout)]
    if given.json:
        print(json.dumps([asdict(row) for row in rows], indent=1))
    else:
        print(f"\n{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}\n\n{show(rows)}")
    if failed:
        say(f"these benchmarks broke, see above: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
