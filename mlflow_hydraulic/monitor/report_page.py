"""A report as one HTML file: no network, no script, readable in light, dark and print. Every text is escaped.

Called by `hydraulic monitor report`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timezone
from html import escape

from mlflow_hydraulic.drift.inputs import InputDrift
from mlflow_hydraulic.monitor import charts
from mlflow_hydraulic.monitor.findings import Finding, worst
from mlflow_hydraulic.monitor.report import PredictorReport, Report
from mlflow_hydraulic.monitor.served import length

STYLE = """
:root{color-scheme:light dark;--bg:#fff;--fg:#1c2127;--soft:#5c6570;--line:#d5dae0;--card:#f6f7f9;--base:#c9cfd7;
--mark:#b3470b;--red:#b42318;--orange:#a15c00;--green:#1a7f37;--grey:#656d76;
--s0:#2f6fb0;--s1:#c9772b;--s2:#3f8f5b;--s3:#8a5bb0;--s4:#a34a5c;--s5:#5f6b76}
@media (prefers-color-scheme:dark){:root{--bg:#14181d;--fg:#e6e9ed;--soft:#9aa4af;--line:#343b44;--card:#1c2229;
--base:#454e59;--mark:#f0883e;--red:#ff7b72;--orange:#e3a13b;--green:#56d364;--grey:#9aa4af;
--s0:#6cb0ef;--s1:#e8a05c;--s2:#72c08d;--s3:#c09ae6;--s4:#e08a9b;--s5:#9aa4af}}
*{box-sizing:border-box}body{margin:0 auto;max-width:70rem;padding:1.5rem 1rem 4rem;background:var(--bg);
color:var(--fg);font:16px/1.5 system-ui,sans-serif}h1{font-size:1.6rem;margin:0;overflow-wrap:anywhere}
h2{font-size:1.2rem;margin:2.2rem 0 .6rem;border-bottom:1px solid var(--line);padding-bottom:.2rem}
h3{font-size:1rem;margin:1.4rem 0 .4rem}p{margin:.3rem 0}.soft{color:var(--soft)}
.wide{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:.9rem}
th,td{text-align:left;padding:.3rem .6rem .3rem 0;border-bottom:1px solid var(--line);vertical-align:top}
th{color:var(--soft);font-weight:600;white-space:nowrap}td{overflow-wrap:break-word}
td.n{font-variant-numeric:tabular-nums;white-space:nowrap}
.levels{display:grid;grid-template-columns:repeat(auto-fit,minmax(14rem,1fr));gap:.8rem;margin-top:1rem}
.card{background:var(--card);border:1px solid var(--line);border-radius:.4rem;padding:.7rem .9rem}
.card p{font-size:.9rem;overflow-wrap:anywhere}
.c{font-weight:700;white-space:nowrap}.c::before{content:"";display:inline-block;width:.65em;height:.65em;
border-radius:50%;background:currentColor;margin-right:.4em}
.red{color:var(--red)}.orange{color:var(--orange)}.green{color:var(--green)}.grey{color:var(--grey)}
.figures{display:grid;grid-template-columns:repeat(auto-fill,minmax(7rem,1fr));gap:.6rem;font-size:.9rem;
margin:.6rem 0}
.plots{display:grid;grid-template-columns:repeat(auto-fill,minmax(16rem,1fr));gap:.8rem}
figure{margin:0;break-inside:avoid}figcaption{font-size:.85rem;overflow-wrap:anywhere}
svg{width:100%;max-width:42rem;height:auto;display:block}svg text{fill:var(--soft);font-size:10px}
.base{fill:var(--base)}.line{fill:none;stroke:var(--mark);stroke-width:1.5}.axis{stroke:var(--line)}
.bar{fill:var(--mark)}.s0{fill:var(--s0)}.s1{fill:var(--s1)}.s2{fill:var(--s2)}.s3{fill:var(--s3)}.s4{fill:var(--s4)}
.s5{fill:var(--s5)}.key span{display:inline-block;margin-right:1rem;font-size:.85rem}
.key svg{display:inline-block;width:.8em;height:.8em;margin-right:.3em}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.1rem 1rem;font-size:.9rem;margin:.8rem 0}
dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}
@media (max-width:40rem){.rows tr:first-child{display:none}.rows tr{display:block;padding:.4rem 0;
border-bottom:1px solid var(--line)}.rows td{display:inline;border:0;padding-right:.5rem}.rows td.why{display:block}
svg text{font-size:14px}.plots svg text{font-size:10px}}
@media print{body{max-width:none;padding:0;font-size:11px}.card{break-inside:avoid}
:root{--bg:#fff;--fg:#000;--soft:#444;--line:#bbb;--card:#fff;--base:#ccc;--mark:#b3470b;--red:#b42318;
--orange:#a15c00;--green:#1a7f37;--grey:#555;--s0:#2f6fb0;--s1:#c9772b;--s2:#3f8f5b;--s3:#8a5bb0;--s4:#a34a5c;--s5:#5f6b76}}
"""
UNITS: Mapping[str, tuple[str, Callable[[float], str]]] = {
    "up": ("up", lambda v: f"{v:.3%}"),
    "requests": ("requests", lambda v: f"{v:,.0f}"),
    "requests_per_s": ("requests/s", lambda v: f"{v:.3g}"),
    "p50_s": ("p50", lambda v: f"{v * 1e3:.3g} ms"),
    "p95_s": ("p95", lambda v: f"{v * 1e3:.3g} ms"),
    "p99_s": ("p99", lambda v: f"{v * 1e3:.3g} ms"),
    "error_rate": ("errors", lambda v: f"{v:.3%}"),
    "cpu_cores": ("CPU", lambda v: f"{v:.3g} cores"),
    "memory_bytes": ("memory", lambda v: f"{v / 1e6:,.0f} MB"),
    "restarts": ("restarts", lambda v: f"{v:,.0f}"),
}
POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def page(report: Report) -> str:
    """The whole file."""
    title = f"{report.environment}/{report.deployment}"
    overall = worst(one.colour for one in report.standing)
    parts = [
        f"<h1>{escape(title)} {_colour(overall)}</h1>",
        f'<p class="soft">How it was from {_time(report.since)} to {_time(report.until)} UTC; '
        f"made {_time(report.made)} UTC.</p>",
        _facts(report),
        '<div class="levels">',
        *(
            f'<div class="card"><strong>{one.level}</strong> {_colour(one.colour)}<p>{escape(one.why)}</p></div>'
            for one in report.standing
        ),
        "</div>",
        _service(report),
        *(part for one in report.predictors for part in _predictor(one)),
        _alerts(report),
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(POLICY, quote=True)}">'
        f"<title>{escape(title)}: monitoring report</title><style>{STYLE}</style></head><body>"
        + "\n".join(parts)
        + "</body></html>\n"
    )


def _facts(report: Report) -> str:
    budget, rows = report.looking.budget, []
    rows.append(("model", report.model))
    for one in report.predictors:
        kind = "shadow" if one.shadow else "predictor"
        rows.append((f"{kind} {one.name}", f"version {one.model.version}, digest {one.model.digest or 'unknown'}"))
    rows.append(("judged", f"at most the last {report.looking.rows} rows, against the training data of each version"))
    alarms = f"at most {budget.false_reds:g} false red in {budget.period_days:g} days, and {budget.oranges:g} oranges"
    rows.append(("false alarms", f"{alarms}, where nothing is wrong"))
    return "<dl>" + "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in rows) + "</dl>"


def _service(report: Report) -> str:
    said = report.service
    shown = [(name, "unknown" if (v := said.get(key)) is None else how(v)) for key, (name, how) in UNITS.items()]
    cells = "".join(f'<div><span class="soft">{escape(name)}</span><br>{escape(text)}</div>' for name, text in shown)
    return f'<h2>Service</h2><div class="figures">{cells}</div>{_findings(report.service_findings)}'


def _predictor(one: PredictorReport) -> Iterable[str]:
    kind = "Shadow" if one.shadow else "Predictor"
    yield f"<h2>{kind} {escape(one.name)}, version {escape(one.model.version)}</h2>"
    if one.why:
        yield f'<p class="grey">{escape(one.why)}</p>'
    if one.course is not None:
        begin, end = _clock(one.window[0]), _clock(one.window[1])
        yield (
            f'<p class="soft">{one.rows:,} rows from {begin} to {end} UTC, {one.odd:,} of them unlike the training '
            f"data.</p><h3>Predictions over time</h3>{_key(one.course.labels)}"
        )
        yield charts.shares(one.course.by_label, begin, end, "shares of predicted classes over time")
        for name, values in (("Rows", one.course.rows), ("Odd rows", one.course.odd)):
            most = f'<span class="soft">(at most {max(values):,.0f} in one bar)</span>'
            yield f"<h3>{name} over time {most}</h3>{charts.counts(values, begin, end, f'{name} over time')}"
    drift = [finding for finding in one.findings if finding.level == "drift"]
    yield f"<h3>Drift</h3>{_judged(one)}{_findings(drift)}"
    if one.inputs:
        yield '<h3>Each input</h3><p class="soft">Grey: training; line: this window. p is corrected for all inputs.</p>'
        yield f'<div class="plots">{"".join(map(_input, one.inputs))}</div>'
    yield f"<h3>Odd rows</h3>{_findings([f for f in one.findings if f.level == 'anomaly'])}"
    accuracy = [finding for finding in one.findings if finding.level == "accuracy"]
    yield f"<h3>Accuracy</h3>{_coverage(one)}{_findings(accuracy)}"


def _judged(one: PredictorReport) -> str:
    return f'<p class="soft">{escape(one.judged[:1].upper() + one.judged[1:])}.</p>' if one.judged else ""


def _coverage(one: PredictorReport) -> str:
    if one.coverage is None:
        return ""
    known = one.coverage
    rows = "".join(
        f'<tr><td>{escape(label)}</td><td class="n">{predicted:,}</td><td class="n">{labelled:,}</td>'
        f'<td class="n">{labelled / predicted if predicted else 0:.0%}</td></tr>'
        for label, (predicted, labelled) in known.by_label.items()
    )
    late = f"; half of them came within {length(known.delay_s[0])}" if known.labelled else ""
    told = f"<p>{known.labelled:,} of {known.predicted:,} rows ({known.share:.0%}) have a true value{late}.</p>"
    head = "<tr><th>predicted class</th><th>rows</th><th>with a true value</th><th>share</th></tr>"
    return told + (f'<div class="wide"><table>{head}{rows}</table></div>' if rows else "")


def _input(one: InputDrift) -> str:
    picture = one.picture
    effect = f"{one.effect:.3g} times" if one.unit == "times" else f"{one.effect:+.3g} {one.unit}"
    told = f"{one.test}: {effect}, p = {one.p_value:.2g}; importance {one.importance:.0%}"
    spread = charts.spread(picture.edges, picture.training, picture.window, f"spread of {one.name}")
    course = charts.course(picture.values, picture.low, picture.high, f"{one.name}, row by row")
    caption = (
        f'<figcaption><strong>{escape(one.name)}</strong><br><span class="soft">{escape(told)}</span></figcaption>'
    )
    return f'<figure class="card">{caption}{spread}{course}</figure>'


def _findings(found: Sequence[Finding]) -> str:
    if not found:
        return '<p class="grey">nobody looked at it yet</p>'
    head = "<tr><th>check</th><th>colour</th><th>why</th><th>p</th></tr>"
    rows = "".join(
        f"<tr><td>{escape(_check(one))}</td><td>{_colour(one.colour)}</td>"
        f'<td class="why">{escape(one.cause)}</td><td class="n">{_number(one.numbers.get("p_value"))}</td></tr>'
        for one in found
    )
    return f'<div class="wide"><table class="rows">{head}{rows}</table></div>'


def _check(finding: Finding) -> str:
    """The rule; of the service level, where predictors stand in one table, with whose it is."""
    whose = f"{finding.subject.predictor} " if finding.level == "service" and finding.subject.predictor else ""
    return f"{whose}{finding.rule}"


def _alerts(report: Report) -> str:
    if not report.story:
        return "<h2>Alerts</h2><p>There was none in this time.</p>"
    head = "<tr><th>when (UTC)</th><th>alert</th><th></th><th>colour</th><th>by</th><th>why</th></tr>"
    rows = "".join(
        f'<tr><td class="n">{escape(one.at[:19].replace("T", " "))}</td>'
        f"<td>{escape(f'{one.key.level} {one.key.rule}')}</td><td>{escape(one.what)}</td>"
        f"<td>{_colour(one.colour if one.is_open else 'green')}</td>"
        f"<td>{escape(one.by)}</td><td class='why'>{escape(one.reason or one.cause)}</td></tr>"
        for one in report.story
    )
    return f'<h2>Alerts</h2><div class="wide"><table class="rows">{head}{rows}</table></div>'


def _key(labels: Sequence[str]) -> str:
    swatches = (
        f'<span><svg viewBox="0 0 8 8" aria-hidden="true"><rect class="s{i % charts.SERIES}" width="8" height="8"/>'
        f"</svg>{escape(label)}</span>"
        for i, label in enumerate(labels)
    )
    return f'<p class="key">{"".join(swatches)}</p>'


def _colour(colour: str) -> str:
    return f'<span class="c {escape(colour)}">{escape(colour)}</span>'


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2g}"


def _time(moment: datetime) -> str:
    return f"{moment.astimezone(timezone.utc):%Y-%m-%d %H:%M}"


def _clock(at: float) -> str:
    return _time(datetime.fromtimestamp(at, timezone.utc))
