"""Sums up pytest's junit files: every skipped test with its reason, then one closing line. Called by .ci/run."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path


def summarise(reports: Path, status: int, seconds: int) -> str:
    totals: Counter[str] = Counter()
    skipped: Counter[tuple[str, str]] = Counter()
    for report in sorted(reports.glob("*.xml")):
        for case in ET.parse(report).getroot().iter("testcase"):  # noqa: S314 - as above
            kinds = {child.tag for child in case} & {"failure", "error", "skipped"}
            skip = case.find("skipped")
            expected = skip is not None and skip.get("type") == "pytest.xfail"
            totals["xfailed" if expected else kinds.pop() if kinds else "passed"] += 1
            if skip is not None:
                skipped[(report.stem, skip.get("message") or "no reason given")] += 1
    lines = [f"SKIPPED [{count}] {stage}: {reason}" for (stage, reason), count in sorted(skipped.items())]
    words = [("failure", "failed"), ("error", "errors"), ("passed", "passed"), ("skipped", "skipped")]
    words.append(("xfailed", "xfailed"))
    parts = [f"{totals[kind]} {word}" for kind, word in words if totals[kind]] or ["no tests ran"]
    if status and not totals["failure"] and not totals["error"]:
        parts.insert(0, "a stage failed")
    closing = f" {', '.join(parts)} in {seconds}.00s ".center(100, "=")
    return "\n".join(
        ["", f"{sum(skipped.values())} tests were skipped:" if skipped else "no test was skipped", *lines, closing]
    )


if __name__ == "__main__":
    print(summarise(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))  # noqa: T201 - its job
