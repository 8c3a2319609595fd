"""The registry as the controller reads it: through MLflow's client, in few and large pages."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mlflow_hydraulic.deployment import ModelVersion
from mlflow_hydraulic.plugin.errors import from_mlflow
from mlflow_hydraulic.registry import RegisteredModel, Registry, Version

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion as MlflowVersion

MODELS_PER_PAGE = 1000
VERSIONS_PER_PAGE = 10_000
IS_PROMPT = "mlflow.prompt.is_prompt"  # MLflow keeps prompts as registered models with this tag


def is_prompt(tags: Mapping[str, str | None]) -> bool:
    """Whether a registered model with `tags` is a prompt, as MLflow's search leaves prompts out: exactly "true".

    The gate and the controller both ask here: what the one does not guard, the other does not deploy.
    """
    return tags.get(IS_PROMPT) == "true"


class MlflowRegistry:
    """Reads all models and versions; pins a version by its artefact's digest; writes facts back as tags.

    fetch: downloads the model of a pinned URI and names it by digest.
    """

    def __init__(self, client: MlflowClient, fetch: Callable[[str], ModelVersion], workspace: str = "default") -> None:
        self._client = client
        self._fetch = fetch
        self._workspace = workspace

    def read(self) -> Registry:
        """One moment's registry, without prompts; `Unavailable` when it does not answer."""
        with from_mlflow("the registry cannot be read"):
            versions: dict[str, dict[int, Version]] = defaultdict(dict)  # what moves while we read may come twice
            for found in pages(self._client.search_model_versions, VERSIONS_PER_PAGE, order_by=["name ASC"]):
                versions[found.name][int(found.version)] = _version(found)
            return Registry(
                tuple(
                    RegisteredModel(
                        name=model.name,
                        versions=tuple(
                            _with_aliases(version, model.aliases) for _, version in sorted(versions[model.name].items())
                        ),
                        aliases={alias: int(number) for alias, number in model.aliases.items()},
                        tags=dict(model.tags),
                        workspace=self._workspace,
                    )
                    for model in pages(self._client.search_registered_models, MODELS_PER_PAGE)
                    if not is_prompt(model._tags)  # `tags` leaves this one out
                ),
                (self._workspace,),
            )

    def pin(self, version: Version) -> ModelVersion:
        """Download the version's model, once, and name it by digest."""
        return self._fetch(version.uri)

    def write_facts(self, model: str, version: int, facts: Mapping[str, str | None]) -> None:
        """Set or remove tags on a version."""
        with from_mlflow(f"tags of models:/{model}/{version} cannot be written"):
            for tag, value in facts.items():
                if value is None:
                    self._client.delete_model_version_tag(model, str(version), tag)
                else:
                    self._client.set_model_version_tag(model, str(version), tag, value)


def pages(search: Callable[..., Any], size: int, **more: Any) -> Iterator[Any]:  # Any: MLflow's entities
    token = None
    while True:
        page = search(max_results=size, page_token=token, **more)
        yield from page
        token = page.token
        if not token:
            return


def _version(found: MlflowVersion) -> Version:
    return Version(
        model=found.name,
        number=int(found.version),
        stage=found.current_stage,
        tags=dict(found.tags),
        source=found.source or "",
        run_id=found.run_id or "",
    )


def _with_aliases(version: Version, aliases: Mapping[str, Any]) -> Version:
    mine = tuple(sorted(alias for alias, number in aliases.items() if int(number) == version.number))
    return replace(version, aliases=mine)
