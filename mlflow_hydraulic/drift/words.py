"""What a drift test found, as a sentence for people: in alerts, mails and reports. Called by `check`."""

from __future__ import annotations

from collections.abc import Sequence

LEAST_P = 1e-16  # smaller ones say no more

# What each test says of what it found; {who}: the input that deviates most, {other}: the second of two.
DEVIATES = {
    "location": "{who} lies {effect:+.3g} training standard deviations from where it was",
    "spread": "{who} varies {effect:.3g} times as much as in training",
    "roughness": "{who} changes from row to row {effect:.3g} times as much as in training",
    "shape": "{who} is spread otherwise than in training, by {effect:.2g} (Kolmogorov-Smirnov)",
    "nearest kind": "{who} lies {effect:+.3g} training standard deviations from where it was in the most alike rows",
    "relation": "inputs no longer go together as in training: {who} is {effect:+.3g} sd off what the others say",
    "relation spread": "inputs go together {effect:.3g} times as loosely as in training, most of all {who}",
    "relation change": "what ties {who} to the other inputs changes {effect:.3g} times as much as in training",
    "correlation": "{who} and {other} no longer go together as in training: correlation {effect:+.2g}",
    "distance": "rows lie {effect:.3g} times as far from the training rows as training rows do",
    "missing": "{who} is missing in {effect:+.1%} of the rows against training",
    "stuck": "{who} stands still in {effect:+.1%} of the rows against training",
    "outside": "{who} is outside the training range in {effect:+.1%} of the rows against training",
    "class share": "{who} is predicted for {effect:+.1%} of the rows against training",
    "probability": "the probability of {who} lies {effect:+.2g} from training's",
    "prediction by kind": "of alike rows the model says otherwise: {who} by {effect:+.2g}",
}


def sentence(test: str, effect: float, rows: int, p_value: float, features: Sequence[str], *, deviates: bool) -> str:
    """What was found, with rows and p-value.

    >>> sentence("stuck", 1.0, 275, 7.9e-304, ["psa_bar"], deviates=True)
    'psa_bar stands still in +100.0% of the rows against training (275 rows, p < 1e-16)'
    >>> sentence("location", 0.02, 275, 0.71, ["psa_bar"], deviates=False)
    'location: as in training (275 rows, p = 0.71)'
    """
    chance = f"{rows} rows, p < {LEAST_P:.0e}" if p_value < LEAST_P else f"{rows} rows, p = {p_value:.2g}"
    if not deviates:
        return f"{test}: as in training ({chance})"
    named = 2 if test == "correlation" else 1
    who, other = (*features, "rows", "rows")[:2]
    said = DEVIATES.get(test, test + " deviates: {effect:.3g}").format(who=who, other=other, effect=effect)
    more = f"; also {', '.join(features[named:])}" if len(features) > named else ""
    return f"{said}{more} ({chance})"
