"""Model versions as the pages and the REST API show them, and what they ask of MLflow's registry for it.

`plugin.catalogue` answers from MLflow's tables and artifact stores. Times are ISO 8601 in UTC; "" and None where MLflow
knows nothing. NaN and infinities stay such here and are null in JSON.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Annotated, Literal, Protocol

from msgspec import Meta, Struct

from mlflow_hydraulic.people.rights import Who
from mlflow_hydraulic.people.visible import Readable

MOST_A_PAGE = 200
LONGEST_TEXT = 5000  # of a description and of a tag's value, as MLflow's oldest databases hold them
IMAGES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".gif": "image/gif",
    ".webp": "image/webp",
    ".svg": "image/svg+xml",
}
Sort = Literal["model", "version", "project", "created", "score", "owner", "stage", "environment", "alias"]


def media_of(path: str) -> str:
    """The image type that a file's name says; "" for what is none."""
    return IMAGES.get(PurePosixPath(path).suffix.lower(), "")


class Tag(Struct, frozen=True, kw_only=True):
    """A name with its value: a tag, a parameter."""

    key: str
    value: str


class Place(Struct, frozen=True, kw_only=True):
    """Where a version was seen to run, as champion, arm or challenger, and in which deployment state."""

    environment: str
    deployment: str
    role: str
    state: str


class Line(Struct, frozen=True, kw_only=True):
    """One model version in the table. project: "" for none. scorer: the metric's name, "" where there is no score.

    tags: people's own, without MLflow's and ours.
    """

    model: str
    version: int
    project: str
    created: str
    scorer: str
    score: float | None
    owner: str
    environments: list[Place]
    stage: str
    aliases: list[str]
    tags: list[Tag]


class Filter(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which versions, in which order, and which page of them.

    text: words that all must be found in model, tags or owner. project, environment, stage: "" for any. model: exactly
    this one. versions: the newest of each model, or all. page: counts from 1. size: rows a page.
    """

    text: Annotated[str, Meta(max_length=200)] = ""
    project: Annotated[str, Meta(max_length=64)] = ""
    stage: Literal["", "None", "Staging", "Production", "Archived"] = ""
    environment: Annotated[str, Meta(max_length=64)] = ""
    model: Annotated[str, Meta(max_length=256)] = ""
    versions: Literal["latest", "all"] = "latest"
    sort: Sort = "created"
    order: Literal["asc", "desc"] = "desc"
    page: Annotated[int, Meta(ge=1, le=1_000_000)] = 1
    size: Annotated[int, Meta(ge=1, le=MOST_A_PAGE)] = 50


class Listing(Struct, frozen=True, kw_only=True):
    """One page of the table. total: rows in all pages."""

    items: list[Line]
    total: int
    page: int
    size: int

    @property
    def pages(self) -> int:
        return max(1, -(-self.total // self.size))


class Model(Struct, frozen=True, kw_only=True):
    """A registered model. score: the metric that its tag hydraulic.score names, "" for the rig's own."""

    name: str
    project: str
    description: str
    created: str
    updated: str
    tags: list[Tag]


class Metric(Struct, frozen=True, kw_only=True):
    """The last value of a metric."""

    key: str
    value: float | None
    step: int
    at: str


class Dataset(Struct, frozen=True, kw_only=True):
    """Data that a run was given. context: "training", ... ; source, schema, profile: MLflow's JSON, as text."""

    name: str
    digest: str
    context: str
    source: str
    schema: str
    profile: str


class Run(Struct, frozen=True, kw_only=True):
    """The run that made a version. duration_s: None while it runs or where nobody ended it."""

    id: str
    name: str
    experiment_id: str
    experiment: str
    status: str
    deleted: bool
    user: str
    started: str
    ended: str
    duration_s: float | None
    params: list[Tag]
    tags: list[Tag]
    metrics: list[Metric]
    datasets: list[Dataset]


class Version(Struct, frozen=True, kw_only=True):
    """All that MLflow's tables say of one version. run: None where it has none, or where its run is away.

    logged_params: of the logged model. facts: our own tags, written back by controllers.
    """

    line: Line
    description: str
    updated: str
    status: str
    source: str
    run_id: str
    model_id: str
    facts: list[Tag]
    logged_params: list[Tag]
    run: Run | None


class Sibling(Struct, frozen=True, kw_only=True):
    """Another version that came of the same run, or of the same data. of: "run", or the dataset's name."""

    model: str
    version: int
    of: str


class Column(Struct, frozen=True, kw_only=True):
    """One column of a signature, or a tensor. kind: "input", "output" or "parameter"."""

    kind: str
    name: str
    type: str
    required: bool


class Certificate(Struct, frozen=True, kw_only=True):
    """The bundle's parity certificate. said: all of it, flattened, as `bundle.certificate` describes it."""

    passed: bool
    rows: int
    largest_difference: float
    flips: int
    ties: int
    problems: list[str]
    said: list[Tag]


class Card(Struct, frozen=True, kw_only=True):
    """What the model's own files say: signature, flavors, and the certificate where it has a bundle with a graph."""

    columns: list[Column]
    flavors: list[str]
    certificate: Certificate | None
    digest: str


class Figure(Struct, frozen=True, kw_only=True):
    """An image among the run's artifacts. bytes: None where the store does not tell."""

    path: str
    media: str
    bytes: int | None


class Point(Struct, frozen=True, kw_only=True):
    """One value in a metric's history."""

    step: int
    at: str
    value: float | None


class History(Struct, frozen=True, kw_only=True):
    """A metric's values in the order of their steps; `left_out` more are not shown."""

    key: str
    points: list[Point]
    left_out: int


class Catalogue(Protocol):
    """MLflow's registry and runs, read for the pages. `NotFound` for a model or version that is not there (any more),
    `Unavailable` for artifacts that do not answer."""

    def page(self, asked: Filter, who: Who, readable: Readable) -> Listing: ...

    def model(self, model: str) -> Model: ...

    def version(self, model: str, number: int) -> Version: ...

    def siblings(self, model: str, number: int, who: Who, readable: Readable) -> list[Sibling]:
        """Some of those that the caller may see."""
        ...

    def card(self, model: str, number: int) -> Card: ...

    def figures(self, model: str, number: int) -> list[Figure]: ...

    def image(self, model: str, number: int, path: str) -> bytes:
        """The content of one of `figures`."""
        ...

    def histories(self, model: str, number: int, key: str = "") -> list[History]:
        """Of the metric `key`, or of those few metrics that have more than one value."""
        ...

    def tag(self, model: str, number: int, key: str, value: str) -> None: ...

    def untag(self, model: str, number: int, key: str) -> None: ...

    def describe(self, model: str, number: int, text: str) -> None: ...
