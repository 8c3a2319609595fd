"""What supervisors and scorers inherit of the environment of whoever deployed: all but secrets. Both starters call it.

A model brings code of its own (any pyfunc does), and that code needs no log-in to the registry and no database.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

# By whole words between underscores, so that TOKENIZERS_PARALLELISM is no token and COMPASS no password.
SECRET_NAME = re.compile(
    r"HYDRAULIC_DATABASE|MLFLOW_(.+_)?STORE_URI|MLFLOW_AUTH_.+|MLFLOW_TRACKING_USERNAME|SSH_AUTH_SOCK"
    r"|(.+_)?(\w*PASSWORD|PASSWD|PWD|PASSPHRASE|TOKEN|SECRETS?|CREDENTIALS?|CONNECTION_STRING)(_.+)?"
    r"|(.+_)?(ACCESS|ACCOUNT|API|PRIVATE|SIGNING)_?KEY(_.+)?",
    re.IGNORECASE,
)
NO_SECRET = ("PWD", "OLDPWD")  # the shell's folders
PASSWORD_IN_URI = re.compile(r"://([^/?#\s@]*:[^/?#\s@]+@|\S*[?&]\w*(password|passwd|token|secret)=)", re.IGNORECASE)


def without_secrets(environ: Mapping[str, str]) -> dict[str, str]:
    """`environ` without variables that are secrets by their name, or that hold a URI with a password."""
    return {name: value for name, value in environ.items() if not _is_secret(name, value)}


def _is_secret(name: str, value: str) -> bool:
    named = name not in NO_SECRET and SECRET_NAME.fullmatch(name) is not None
    return named or PASSWORD_IN_URI.search(value) is not None
