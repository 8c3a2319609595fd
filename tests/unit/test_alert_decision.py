"""The decision on alerts: hysteresis, hostile orders of findings, and who is told when; by examples and properties."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_hydraulic.clock import utc_now
from mlflow_hydraulic.monitor import decide
from mlflow_hydraulic.monitor.alert import Alert, Key
from mlflow_hydraulic.monitor.decide import Case, Look
from mlflow_hydraulic.monitor.findings import COLOURS
from mlflow_hydraulic.monitor.looks import KEEP, needed
from mlflow_hydraulic.monitor.rules import Rule
from tests.support.alerting import COOLER, NAMES, finding

KEY = Key(subject=COOLER, level="drift", rule="inputs")
START = utc_now() - timedelta(days=9)
COLOUR_TEXT = st.text("xgor", max_size=40)
RULES = st.builds(
    lambda of, m, clear: Rule(raise_after=min(m, of), of=of, clear_after=clear),
    st.integers(1, 6),
    st.integers(1, 6),
    st.integers(1, 5),
)


def looks_of(colours: str) -> list[Look]:
    return [Look(minute * 60_000_000, NAMES[colour]) for minute, colour in enumerate(colours, start=1)]


def case(rule: Rule, now: datetime) -> Case:
    return Case(
        key=KEY,
        rule=rule,
        now=now,
        fetch=lambda look: finding(look.colour[:1] if look.colour != "grey" else "x", 0, now),
    )


def judged(colours: str, rule: Rule, *, at_once: int = 1) -> list[Alert]:
    """All steps, when so many looks come at a time."""
    every, steps = looks_of(colours), []
    alert: Alert | None = None
    for start in range(0, len(every), at_once):
        new = {look.until_us for look in every[start : start + at_once]}
        made = decide.steps(alert, every[: start + at_once], new, case(rule, START + timedelta(minutes=start)))
        alert = made[-1] if made else alert
        steps += made
    return steps


def story(colours: str, rule: Rule) -> list[tuple[str, str]]:
    return [(one.what, one.colour) for one in judged(colours, rule)]


@pytest.mark.parametrize(
    ("colours", "rule", "expected"),
    [
        ("ggg", Rule(), []),
        ("gr", Rule(), [("opened", "red")]),
        ("grg", Rule(clear_after=2), [("opened", "red")]),
        ("grgg", Rule(clear_after=2), [("opened", "red"), ("closed", "red")]),
        ("grgrgrg", Rule(clear_after=2), [("opened", "red")]),
        ("rgrggr", Rule(raise_after=2, of=3, clear_after=2), [("opened", "red"), ("closed", "red")]),
        ("rrggr", Rule(raise_after=2, of=5, clear_after=2), [("opened", "red"), ("closed", "red")]),
        ("or", Rule(), [("opened", "orange"), ("worsened", "red")]),
        ("roo", Rule(clear_after=2), [("opened", "red"), ("eased", "orange")]),
        ("ro", Rule(raise_after=2, of=2), [("opened", "orange")]),
        ("rxxxgg", Rule(clear_after=2), [("opened", "red"), ("closed", "red")]),
        ("rxr", Rule(raise_after=2, of=2), []),
        ("xxx", Rule(), []),
        ("rooooo", Rule(of=5, clear_after=2), [("opened", "red"), ("eased", "orange")]),
    ],
)
def test_hysteresis(colours: str, rule: Rule, expected: list[tuple[str, str]]) -> None:
    assert story(colours, rule) == expected


def test_no_data_for_long_is_an_alert_where_that_is_wanted_and_data_ends_it() -> None:
    rule, every = Rule(grey_after_s=3600, clear_after=2), looks_of("gxx")
    first_grey = datetime.fromtimestamp(every[1].until_us / 1e6, tz=START.tzinfo)
    early = decide.steps(None, every, {every[-1].until_us}, case(rule, first_grey + timedelta(minutes=59)))
    assert early == []
    [grey] = decide.steps(None, every, {every[-1].until_us}, case(rule, first_grey + timedelta(minutes=60)))
    assert (grey.what, grey.colour) == ("opened", "grey")
    back = looks_of("gxxgg")
    last = {back[-2].until_us, back[-1].until_us}
    assert [one.what for one in decide.steps(grey, back, last, case(rule, START))] == ["closed"]
    bad = looks_of("gxxr")
    assert [one.colour for one in decide.steps(grey, bad, {bad[-1].until_us}, case(rule, START))] == ["red"]


@given(COLOUR_TEXT, RULES, st.integers(1, 7))
def test_it_does_not_matter_how_many_findings_come_at_once(colours: str, rule: Rule, at_once: int) -> None:
    def steps(found: list[Alert]) -> list[tuple[str, str, int, int]]:
        return [(one.what, one.colour, one.episode, one.mark) for one in found]

    assert steps(judged(colours, rule)) == steps(judged(colours, rule, at_once=at_once))


@given(COLOUR_TEXT, RULES)
def test_an_alert_opens_when_closed_closes_when_open_and_can_always_be_closed(colours: str, rule: Rule) -> None:
    is_open, episode = False, 0
    for step in judged(colours, rule):
        assert (step.what == "opened") == (not is_open)
        is_open, episode = step.is_open, episode + (step.what == "opened")
        assert step.episode == episode
        assert step.colour in ("orange", "red")
        assert COLOURS.index(step.worst) >= COLOURS.index(step.colour)
    ended = judged(colours + "g" * rule.clear_after, rule)
    assert not ended or not ended[-1].is_open


@given(COLOUR_TEXT, RULES)
def test_hysteresis_holds(colours: str, rule: Rule) -> None:
    """Nothing opens or worsens before enough bad looks, nothing closes or eases before enough better ones."""
    alert: Alert | None = None
    every = looks_of(colours)
    for count, look in enumerate(every, start=1):
        known = every[:count]
        made = decide.steps(alert, known, {look.until_us}, case(rule, START))
        assert len(made) <= 1
        for step in made:
            bad = sum(not decide.worse(step.colour, one.colour) for one in known[-rule.of :])
            better = [one for one in known if one.colour != "grey"][-rule.clear_after :]
            if step.what in ("opened", "worsened"):
                assert bad >= rule.raise_after
            elif step.what == "closed":
                assert {one.colour for one in better} == {"green"}
                assert len(better) == rule.clear_after
            else:
                assert alert
                assert all(decide.worse(alert.colour, one.colour) for one in better)
            alert = step
        again = decide.steps(alert, known, {look.until_us}, case(rule, START))
        assert again == [], "the same looks once more change nothing"


@given(st.text("xgor", min_size=1, max_size=60), RULES)
def test_what_is_dropped_is_never_asked_for(colours: str, rule: Rule) -> None:
    every = looks_of(colours)
    known: list[Look] = []
    for look in every:
        known = sorted(set(needed([*known, look], rule)), key=lambda one: one.until_us)
    now = START + timedelta(days=1)
    whole = every[: len(every)]
    assert decide.credible(known, rule) == decide.credible(whole, rule)
    assert decide.cleared(known, rule) == decide.cleared(whole, rule)
    assert decide.grey_for(known, now) == decide.grey_for(whole, now)
    assert len(known) <= 2 * max(rule.of, rule.clear_after, KEEP) + 1


@given(st.permutations(range(8)), st.text("gor", min_size=8, max_size=8), RULES)
def test_late_findings_never_make_an_open_alert_of_good_news(order: list[int], colours: str, rule: Rule) -> None:
    every = looks_of(colours)
    alert: Alert | None = None
    for count in range(1, 9):
        known = sorted((every[i] for i in order[:count]), key=lambda look: look.until_us)
        made = decide.steps(alert, known, {every[order[count - 1]].until_us}, case(rule, START))
        alert = made[-1] if made else alert
        if alert and alert.is_open:
            assert any(look.colour != "green" for look in known)
            assert decide.cleared([look for look in known if look.until_us > alert.mark], rule) != "green"


ALERT = replace(decide.never(KEY), state="open", what="opened", colour="orange", worst="orange", episode=1)
TOLD = Rule(channels=("team",), again_s=3600, quiet_s=600)


def test_people_are_told_once_and_again_when_it_is_worse_or_nobody_cares() -> None:
    assert decide.tell(ALERT, TOLD, START, muted=False)
    said = decide.told(ALERT, START)
    assert not decide.tell(said, TOLD, START + timedelta(minutes=59), muted=False)
    assert decide.tell(said, TOLD, START + timedelta(minutes=60), muted=False)
    assert decide.tell(replace(said, colour="red"), TOLD, START + timedelta(seconds=1), muted=False)
    assert not decide.tell(replace(said, state="acknowledged"), TOLD, START + timedelta(days=9), muted=False)
    assert not decide.tell(said, replace(TOLD, again_s=0), START + timedelta(days=9), muted=False)


def test_nobody_is_told_of_what_is_muted_unwanted_or_has_no_channel() -> None:
    assert not decide.tell(ALERT, TOLD, START, muted=True)
    assert not decide.tell(ALERT, replace(TOLD, notify=("red",)), START, muted=False)
    assert not decide.tell(ALERT, replace(TOLD, channels=()), START, muted=False)
    assert not decide.tell(decide.closed(ALERT, 0, "over"), TOLD, START, muted=False)


def test_what_comes_back_soon_waits_unless_it_is_worse() -> None:
    back = replace(decide.told(ALERT, START), told="", episode=2)
    assert not decide.tell(back, TOLD, START + timedelta(seconds=599), muted=False)
    assert decide.tell(back, TOLD, START + timedelta(seconds=600), muted=False)
    assert decide.tell(replace(back, colour="red"), TOLD, START + timedelta(seconds=1), muted=False)


@given(st.text("gor", max_size=60), RULES)
def test_a_flapping_alert_is_told_of_at_most_once_in_quiet(colours: str, rule: Rule) -> None:
    rule = replace(rule, channels=("team",), quiet_s=600, again_s=0)
    last: tuple[datetime, str] | None = None
    alert: Alert | None = None
    every = looks_of(colours)
    for minute, look in enumerate(every):
        now = START + timedelta(minutes=minute)
        made = decide.steps(alert, every[: minute + 1], {look.until_us}, case(rule, now))
        alert = made[-1] if made else alert
        if alert and decide.tell(alert, rule, now, muted=False):
            if last:
                worse = COLOURS.index(alert.colour) > [str(c) for c in COLOURS].index(last[1])
                assert worse or now - last[0] >= timedelta(seconds=600)
            alert, last = decide.told(alert, now), (now, alert.colour)
