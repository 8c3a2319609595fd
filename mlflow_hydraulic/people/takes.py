"""Which rights a change of a registered model takes where the model is in a project. Pure.

Asked by the registry's gate before a change is made, and by the pages before they offer one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from mlflow_hydraulic.bindings import Environment
from mlflow_hydraulic.people.rights import Right

JOINS = "project"  # the verb of the ledger for what joins or leaves a project, and for what becomes of the project
FACT = "fact"
NAMED = "create model"
OF_MODELS = ("register", "delete version", "delete model", "rename model", JOINS)


def rights_for(verb: str, touched: Collection[str], environments: Iterable[Environment]) -> frozenset[Right]:
    """The rights that one change takes in its model's project; the actor needs all of them.

    verb: of `plugin.changes`. touched: the environments in which it can change what runs.
    """
    rights = set()
    if touched:
        steps = {env.promotes_from for env in environments}
        rights.add(Right.DEPLOY if set(touched) <= steps else Right.PROMOTE)
    if verb in OF_MODELS:
        rights.add(Right.MODELS)
    return frozenset(rights or {Right.TAG})
