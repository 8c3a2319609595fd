"""Dashboards against Grafana's published schema, for no Grafana can be installed here: by its two libraries of it.

Python's grafana-foundation-sdk drops what it does not know; npm's @grafana/schema is asked by the TypeScript compiler,
which also knows which words and types are right. Both are written by Grafana from the same schema.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from mlflow_hydraulic.monitor.grafana.files import Places, tree
from tests.support.grafana import Json, every_panel

SCHEMA, COMPILER = "@grafana/schema@13.2.3", "typescript@5.9.3"
DASHBOARDS = {
    Path(name).stem: json.loads(text)
    for name, text in tree(Places(report_url="https://reports/${deployment}")).items()
    if name.endswith(".json")
}
PLUGINS = {"state-timeline": "statetimeline"}  # the schema's folder where it is not the panel's own name
# JSON has no enums: a string that is one of an enum's values is right.
PRELUDE = """
import type { Dashboard } from '@grafana/schema/dist/types/veneer/dashboard.types';
type Json<T> = T extends string ? `${T}` : T extends (infer U)[] ? Json<U>[]
  : T extends object ? { [K in keyof T]: Json<T[K]> } : T;
"""


def differences(ours: Any, theirs: Any, where: str = "") -> Iterator[str]:
    """What of our JSON is not in theirs, or differs; theirs may hold more."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key, value in ours.items():
            if key in theirs:
                yield from differences(value, theirs[key], f"{where}/{key}")
            else:
                yield f"{where}/{key} is unknown"
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for number, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            yield from differences(one, other, f"{where}[{number}]")
    elif ours != theirs:
        yield f"{where}: {ours!r} became {theirs!r}"


def through_the_sdk(dashboard: Json) -> Any:
    plugins.register_default_plugins()
    return json.loads(JSONEncoder().encode(Dashboard.from_json(dashboard)))


@pytest.mark.parametrize("name", sorted(DASHBOARDS))
def test_grafanas_sdk_knows_all_of_it(name: str) -> None:
    assert list(differences(DASHBOARDS[name], through_the_sdk(DASHBOARDS[name]))) == []


@pytest.mark.parametrize("at", ["panel", "options", "target", "defaults"])
def test_the_sdk_sees_what_is_wrong(at: str) -> None:
    """So the test above can fail."""
    broken = json.loads(json.dumps(DASHBOARDS["hydraulic-service"]))
    panel = next(one for one in broken["panels"] if one["type"] == "stat")
    places = {
        "panel": panel,
        "options": panel["options"],
        "target": panel["targets"][0],
        "defaults": panel["fieldConfig"]["defaults"],
    }
    places[at]["tittle"] = "x"
    (only,) = differences(broken, through_the_sdk(broken))
    assert only.endswith("/tittle is unknown")


@pytest.fixture(scope="module")
def compiler(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the compiler and the schema; skips where npm is not, or reaches no registry."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed: apt-get install npm")
    folder = tmp_path_factory.mktemp("schema")
    (folder / "package.json").write_text('{"private": true}')
    command = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", "--omit=peer", SCHEMA, COMPILER]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        pytest.skip(f"npm cannot install {SCHEMA}: {done.stderr.strip()[-300:]}")
    return folder


def typescript(dashboard: Json) -> str:
    """A program that is right where the dashboard, and each panel's options and own fields, have the schema's types."""
    whole = json.loads(json.dumps(dashboard))
    for annotation in whole["annotations"][
        "list"
    ]:  # the rest of its query is InfluxDB's own, which the schema leaves out
        annotation["target"] = {"refId": annotation["target"]["refId"]}
    lines = [PRELUDE, f"export const dashboard: Json<Dashboard> = {json.dumps(whole)};"]
    for panel in every_panel(dashboard):
        if panel["type"] == "row":
            continue
        plugin = PLUGINS.get(panel["type"], panel["type"])
        types = f"import('@grafana/schema/dist/types/raw/composable/{plugin}/panelcfg/x/types.gen')"
        title = json.dumps(panel["title"])
        lines.append(
            f"// {title}\nexport const o{panel['id']}: Json<{types}.Options> = {json.dumps(panel['options'])};"
        )
        custom = panel["fieldConfig"]["defaults"].get("custom")
        if custom is not None:
            lines.append(f"export const f{panel['id']}: Json<{types}.FieldConfig> = {json.dumps(custom)};")
    return "\n".join(lines)


def compiled(folder: Path, name: str, dashboard: Json) -> str:
    """The compiler's errors; "" where it has none."""
    (folder / f"{name}.ts").write_text(typescript(dashboard))
    options = ["--noEmit", "--strict", "--skipLibCheck", "--module", "esnext", "--moduleResolution", "node"]
    command = [str(folder / "node_modules" / ".bin" / "tsc"), *options, f"{name}.ts"]
    done = subprocess.run(
        command,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "NO_COLOR": "1"},
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize("name", sorted(DASHBOARDS))
def test_the_typescript_compiler_finds_nothing_wrong(compiler: Path, name: str) -> None:
    assert compiled(compiler, name, DASHBOARDS[name]) == ""


def test_the_compiler_sees_what_is_wrong(compiler: Path) -> None:
    """So the test above can fail: a word that is none of the schema's, a number for a text, a name it does not know."""
    broken = json.loads(json.dumps(DASHBOARDS["hydraulic-service"]))
    panels = [one for one in broken["panels"] if one["type"] != "row"]
    panels[0]["options"]["colorMode"] = "rainbow"
    panels[1]["title"] = 7
    panels[2]["options"]["legends"] = {}
    said = compiled(compiler, "broken", broken)
    assert "rainbow" in said and "legends" in said and "'number' is not assignable to type 'string'" in said
