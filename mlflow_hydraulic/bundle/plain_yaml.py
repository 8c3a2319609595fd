"""YAML that strangers wrote, as MLmodel files are: read in time and memory that go with its length.

Called by whoever reads a model's MLmodel, in the server too.
"""

from __future__ import annotations

from functools import cache
from typing import Any


def read_yaml(text: str) -> Any:  # Any: parsed YAML
    """As `yaml.safe_load`, some times as fast; a `yaml.YAMLError` for merge keys ("<<"), by which a short text grows
    without bound and which MLflow never writes.

    Aliases are one object in many places: what is read of it must not be written out as text whole.
    """
    import yaml

    return yaml.load(text, Loader=_loader())  # noqa: S506 - a safe one


@cache
def _loader() -> Any:  # Any: a class of PyYAML, in C where it was built with it
    import yaml

    class Plain(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
        def flatten_mapping(self, node: yaml.MappingNode) -> None:
            for key, _ in node.value:
                if key.tag == "tag:yaml.org,2002:merge":
                    raise yaml.constructor.ConstructorError(None, None, "merge keys are not read", key.start_mark)

    return Plain
