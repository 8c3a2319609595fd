"""Times as people type them."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_hydraulic.cli.times import read_past
from mlflow_hydraulic.errors import BadInput
from mlflow_hydraulic.moments import read_time

NOW = datetime(2026, 3, 4, 12, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("2026-03-01T14:30", datetime(2026, 3, 1, 14, 30, tzinfo=timezone.utc)),
        ("2026-03-01 14:30:05Z", datetime(2026, 3, 1, 14, 30, 5, tzinfo=timezone.utc)),
        ("2026-03-01T14:30+01:00", datetime(2026, 3, 1, 13, 30, tzinfo=timezone.utc)),
        ("2026-03-01", datetime(2026, 3, 1, tzinfo=timezone.utc)),
        ("-2d", NOW - timedelta(days=2)),
        ("3h", NOW - timedelta(hours=3)),
        ("0s", NOW),
    ],
)
def test_a_time_is_read_in_utc(text: str, meant: datetime) -> None:
    assert read_past(text, NOW) == meant


@pytest.mark.parametrize("text", ["2026-03-05", "2026-03-04T13:00+00:30"])
def test_what_is_still_to_come_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="in the future"):
        read_past(text, NOW)


@given(text=st.text(max_size=12) | st.from_regex(r"-?\d{1,30}[smhdwy]", fullmatch=True))
def test_any_text_is_a_time_or_a_clear_error(text: str) -> None:
    try:
        assert read_time(text, NOW).tzinfo is not None
    except BadInput as error:
        assert "cannot be read: write" in str(error)
