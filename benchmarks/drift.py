"""Drift alarms beside Evidently, NannyML and scipy's KS test at their defaults, on the same streams.

False alarms where nothing is wrong, detection of faults with their delay, and the time of one look. Peers run in
environments of their own. Ours judges with the budget that a user would set: one false red in 90 days, a look every
`EVERY` cycles; on independent noise, where peers are made for 5 %, with 5 % a look.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from benchmarks.drift_streams import COOLER, EVERY, FAULTS, NAMES, Case, faulty_cases, plain_cases, quiet_cases
from benchmarks.peers import peer_python
from benchmarks.report import Row, run, say
from mlflow_hydraulic.drift.baseline import Baseline
from mlflow_hydraulic.drift.budget import Budget, per_look
from mlflow_hydraulic.drift.check import check_window
from mlflow_hydraulic.drift.reference import make_reference
from mlflow_hydraulic.rig.find import find_cycles
from mlflow_hydraulic.settings import read_settings

HERE = Path(__file__).resolve().parent
EVIDENTLY = ["evidently>=0.7,<0.8", "pandas<3"]
NANNYML = ["nannyml>=0.13", "pandas<3", "statsmodels"]
CYCLE_S = 60.0
BUDGET = Budget(look_every_s=EVERY * CYCLE_S)
LEVEL = 0.05
REFERENCES, REPEATS = 20, 50  # of independent noise: 1000 windows of each length
EVIDENTLY_LOOKS = 20  # of a group of cases: a report takes seconds
PEERS = ("scipy KS", "scipy KS, Holm", "NannyML", "Evidently, any column", "Evidently, data set")

Alarms = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Seen:
    """Alarms of the windows of one case by who looked."""

    case: Case
    alarms: dict[str, Alarms]


@dataclass(frozen=True, kw_only=True)
class Looks:
    """whole: every window, by all but Evidently. few: the windows that Evidently got."""

    whole: list[Seen]
    few: list[Seen]

    def by(self, who: str) -> list[Seen]:
        return self.few if who.startswith("Evidently") else self.whole

    def alarms(self, who: str, group: str, name: str) -> Alarms:
        found = [one.alarms[who] for one in self.by(who) if (one.case.group, one.case.name) == (group, name)]
        return np.concatenate(found) if found else np.empty(0, dtype=bool)

    def rates(self, group: str, name: str) -> dict[str, str]:
        """`alarms / windows` by who looked."""
        found = {who: self.alarms(who, group, name) for who in ("ours", *PEERS)}
        return {who: f"{int(alarms.sum())}/{len(alarms)}" for who, alarms in found.items()}


def measure() -> list[Row]:
    """The issue's table, a row of detail each."""
    cycles = find_cycles(read_settings(), fetch=False)
    say(f"{len(cycles)} {cycles.origin} cycles from {cycles.source}")
    cases = [case for rows in (50, 100) for case in quiet_cases(cycles, rows)]
    cases += list(faulty_cases(cycles))
    cases += [case for rows in (100, 500) for case in plain_cases(rows, REFERENCES, REPEATS)]
    say(f"{len(cases)} cases, {sum(len(case.windows) for case in cases)} windows")
    looks = look_at(cases)
    return [
        *_false_alarms(looks),
        *_independent(looks),
        *_detection(looks),
        *_plain_detection(looks),
        _speed(cases),
    ]


def look_at(cases: Sequence[Case]) -> Looks:
    """Everybody looks at every window; Evidently at `EVIDENTLY_LOOKS` or so of each group."""
    whole = [Seen(case=case, alarms={"ours": _ours(case), **_ks(case)}) for case in cases]
    say("ours and scipy are through")
    for one, found in zip(whole, _peer("nannyml", NANNYML, cases), strict=True):
        one.alarms["NannyML"] = np.array(found["any"])
    fewer = _fewer(cases)
    few = [
        Seen(
            case=case,
            alarms={
                "Evidently, any column": np.array(found["any"]),
                "Evidently, data set": np.array(found["set"]),
            },
        )
        for case, found in zip(fewer, _peer("evidently", EVIDENTLY, fewer), strict=True)
    ]
    return Looks(whole=whole, few=few)


def _ours(case: Case) -> Alarms:
    k = case.reference.shape[1]
    baseline = Baseline(make_reference(case.reference, NAMES if k == len(NAMES) else [str(j) for j in range(k)]))
    baseline.prepare([case.windows.shape[1]])
    plain = case.group.startswith("independent")
    budget = per_look(LEVEL) if plain else BUDGET
    wanted = ("orange", "red") if plain else ("red",)
    return np.array([check_window(baseline, window, budget=budget)[0].colour in wanted for window in case.windows])


def _ks(case: Case) -> dict[str, Alarms]:
    any_column, holm = [], []
    for window in case.windows:
        columns = zip(case.reference.T, window.T, strict=True)
        p = np.array([stats.ks_2samp(old, new[~np.isnan(new)]).pvalue for old, new in columns])
        any_column.append((p < LEVEL).any())
        holm.append(p.min() < LEVEL / len(p))  # Holm's first step, which decides whether there is any
    return {"scipy KS": np.array(any_column), "scipy KS, Holm": np.array(holm)}


def _peer(name: str, requirements: list[str], cases: Sequence[Case]) -> Any:  # Any: the value is JSON
    python = peer_python(name, requirements)
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary, "cases.npz")
        arrays: dict[str, Any] = {"cases": np.array(len(cases))}
        for number, case in enumerate(cases):
            arrays |= {f"{number}/reference": case.reference, f"{number}/windows": case.windows}
        np.savez(path, **arrays)
        command = [str(python), str(HERE / f"drift_{name}.py"), str(path)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def _fewer(cases: Sequence[Case]) -> list[Case]:
    """Cases with few windows for Evidently: of a fault, the last look before it and the last of all."""
    fewer, counts = [], dict[tuple[str, str], int]()
    for case in cases:
        key = (case.group, case.name)
        room = (8 if case.group == "fault" else EVIDENTLY_LOOKS) - counts.get(key, 0)
        if room <= 0:
            continue
        chosen = np.array([int((case.after <= 0).sum()) - 1, len(case.windows) - 1])
        if case.group != "fault":
            chosen = np.linspace(0, len(case.windows) - 1, min(room, 4, len(case.windows))).astype(int)
        counts[key] = counts.get(key, 0) + len(chosen)
        after = case.after[chosen] if len(case.after) else case.after
        fewer.append(replace(case, windows=case.windows[chosen], after=after))
    return fewer


def _false_alarms(looks: Looks) -> list[Row]:
    rows = []
    for length in ("50", "100"):
        for group in ("held out", "seen", "held out, a level begins"):
            alarms = looks.alarms("ours", group, length)
            expected = BUDGET.level() * len(alarms)
            rows.append(
                Row(
                    what=f"false reds in {len(alarms)} windows of {length} real cycles ({group})",
                    measured=float(alarms.sum()),
                    asked=None if group.endswith("begins") else float(np.floor(expected)),
                    unit="windows",
                    at_most=True,
                    detail={
                        "budget": "1 in 90 days",
                        "expected at most": round(expected, 3),
                        **looks.rates(group, length),
                    },
                )
            )
    return rows


def _independent(looks: Looks) -> list[Row]:
    rows = []
    for length in ("100", "500"):
        alarms = looks.alarms("ours", "independent", length)
        interval = stats.binomtest(int(alarms.sum()), len(alarms)).proportion_ci(0.95)
        limits = [round(100 * interval.low, 1), round(100 * interval.high, 1)]
        rows.append(
            Row(
                what=f"false alarms, 17 independent inputs, windows of {length}, {LEVEL:.0%} a look",
                measured=round(100 * float(alarms.mean()), 2),
                asked=100 * LEVEL,
                unit="%",
                at_most=True,
                detail={"95 %": limits, **looks.rates("independent", length)},
            )
        )
    return rows


def _detection(looks: Looks) -> list[Row]:
    rows = []
    for name in [*FAULTS, COOLER]:
        beside = {
            who: _found([one for one in looks.by(who) if (one.case.group, one.case.name) == ("fault", name)], who)
            for who in ("ours", *PEERS)
        }
        text = {who: f"{one['found']}/{one['runs']}, before: {one['before']}" for who, one in beside.items()}
        for who in ("ours", "NannyML", "scipy KS"):
            if beside[who]["delays"]:
                text[who] += f", median delay {median(beside[who]['delays']):g} cycles"
        ours = beside["ours"]
        rows.append(
            Row(
                what=f"found, windows of 50: {name}",
                measured=ours["found"] / ours["runs"],
                asked=1.0,
                unit="of runs",
                detail={"longest delay": max(ours["delays"], default=None), **text},
            )
        )
    return rows


def _found(pool: Sequence[Seen], who: str) -> dict[str, Any]:  # Any: counts, and a list of delays
    """Runs with an alarm after the fault began, and looks with one before; delays in cycles."""
    before = np.concatenate([one.alarms[who][one.case.after <= 0] for one in pool])
    delays = [
        int(one.case.after[(one.case.after > 0) & one.alarms[who]][0])
        for one in pool
        if (one.alarms[who] & (one.case.after > 0)).any()
    ]
    return {"runs": len(pool), "found": len(delays), "before": f"{int(before.sum())}/{len(before)}", "delays": delays}


def _plain_detection(looks: Looks) -> list[Row]:
    rows = []
    groups = sorted({one.case.group for one in looks.whole if one.case.group.startswith("independent:")})
    for length in ("100", "500"):
        rivals = _holders(looks, length)
        for group in groups:
            best = max((float(looks.alarms(who, group, length).mean()) for who in rivals), default=0.0)
            rows.append(
                Row(
                    what=f"found, {group.removeprefix('independent: ')}, windows of {length}",
                    measured=float(looks.alarms("ours", group, length).mean()),
                    asked=best,
                    unit="of windows",
                    detail={"peers that hold 5 %": rivals, **looks.rates(group, length)},
                )
            )
    return rows


def _holders(looks: Looks, length: str) -> list[str]:
    """Peers whose false alarms on independent noise may be 5 %: the interval's lower end is not above."""
    found = []
    for who in PEERS:
        alarms = looks.alarms(who, "independent", length)
        if len(alarms) and stats.binomtest(int(alarms.sum()), len(alarms)).proportion_ci(0.95).low <= LEVEL:
            found.append(who)
    return found


def _speed(cases: Sequence[Case]) -> Row:
    """One look at a window of 500 rows, in turn with Evidently's reports in a process that is already warm."""
    case = next(case for case in cases if case.windows.shape[1] == 500)
    baseline = Baseline(make_reference(case.reference, NAMES))
    baseline.prepare([500])
    theirs, ours = [], []
    for _ in range(3):
        one = Case(group="speed", name="500", reference=case.reference, windows=case.windows[:3])
        theirs += _peer("evidently", EVIDENTLY, [one])[0]["s"][1:]
        for window in case.windows[:20]:
            started = time.perf_counter()
            check_window(baseline, window)
            ours.append(time.perf_counter() - started)
    detail = {"ours, ms": round(1e3 * median(ours), 2), "Evidently, ms": round(1e3 * median(theirs), 1)}
    what = "one look, 500 rows, 17 inputs: Evidently's time over ours"
    return Row(what=what, measured=median(theirs) / median(ours), asked=100, detail=detail)


if __name__ == "__main__":
    run(measure)
