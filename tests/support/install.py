"""Writes what is made from elsewhere in install/: the chart's rights and README's table from rights.py, the kustomize
base from the chart. `python -m tests.support.install`; a test holds that they are as this writes them.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import yaml

from mlflow_hydraulic.deploy_targets.kubernetes import rights
from tests.support.helm import CHART, INSTALL, RELEASE, rendered, values_file

HEAD = "# Written by `python -m tests.support.install` from the Helm chart. Do not edit.\n"
TABLES = re.compile(r"(?<=<!-- rights -->\n).*?(?=<!-- end of rights -->)", re.DOTALL)
LEASE = f"{RELEASE}-controller"


def rights_json() -> str:
    """The rules by shape, for the chart. The lease's name is the release's."""
    rules = {shape: rights.role_rules(found) for shape, found in rights.SHAPES.items()}
    rules |= {f"watching-{shape}": rights.role_rules(rights.watching_rights(shape)) for shape in rights.SHAPES}
    rules |= {"proxied": rights.role_rules(rights.PROXIED), "leader": rights.role_rules(rights.leader_rights(LEASE))}
    return json.dumps(rules, indent=1) + "\n"


def rights_tables() -> str:
    """The tables of README.md."""
    parts = [f"In the controller's own namespace:\n\n{rights.table_markdown(rights.leader_rights(LEASE))}"]
    titles = {"seldon": "Seldon (the default)", "kserve": "KServe", "plain": "plain Deployments"}
    for shape, title in titles.items():
        parts.append(
            f"In the namespace of an environment with {title}:\n\n{rights.table_markdown(rights.SHAPES[shape])}"
        )
    proxied = rights.table_markdown(rights.PROXIED)
    parts.append(f"And there, unless the environment's options name a `gateway_url`:\n\n{proxied}")
    for shape, title in titles.items():
        table = rights.table_markdown(rights.watching_rights(shape))
        parts.append(f"The monitor, in the namespace of an environment with {title}:\n\n{table}")
    return "\n" + "\n".join(parts) + "\n"


def kustomize_files() -> dict[str, str]:
    """The kustomize base: a file for each of the chart's, and its list; and what prod has besides, whole."""
    texts, prod = rendered({}, values_file("values-prod.yaml"))
    files = {name: _plain(text) for name, text in sorted(texts.items()) if name.endswith(".yaml") and text.strip()}
    listed = "".join(f"  - {name}\n" for name in files)
    files["kustomization.yaml"] = (
        f"apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n{listed}"
    )
    made = {f"base/{name}": HEAD + text for name, text in files.items()}
    return {**made, "overlays/prod/prometheus.yaml": HEAD + _plain(prod["prometheus.yaml"])}


class _Blocks(yaml.SafeDumper):
    """Writes a text of several lines as a block."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Blocks.add_representer(str, _text)


def _plain(text: str) -> str:
    """YAML as one library writes it: the same whoever rendered it."""
    documents = [one for one in yaml.safe_load_all(text) if one is not None]
    return yaml.dump_all(documents, Dumper=_Blocks, sort_keys=False, width=120)


def made() -> dict[Path, str]:
    """All that is written, by path."""
    readme = INSTALL / "README.md"
    text = readme.read_text(encoding="utf-8") if readme.exists() else "<!-- rights -->\n<!-- end of rights -->\n"
    return {
        CHART / "files" / "rights.json": rights_json(),
        readme: TABLES.sub(lambda _: rights_tables(), text),
        **{INSTALL / name: text for name, text in kustomize_files().items()},
    }


if __name__ == "__main__":
    (CHART / "files" / "rights.json").write_text(rights_json(), encoding="utf-8")
    for path, text in made().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    sys.stdout.write(f"wrote {INSTALL}\n")
