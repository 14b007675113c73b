"""The SDK's clients are safe to share between threads from their first answer on."""

import subprocess
import sys

import pytest

NOT_BUILT = """
from unittest.mock import Mock
from azure.keyvault.secrets._generated import models
from refresher.keyvault.clients import make_secret_client

def not_built():
    every = [getattr(models, name) for name in models.__all__]
    return sorted(
        each.__name__ for each in every
        if hasattr(each, "_calculated") and f"{each.__module__}.{each.__qualname__}" not in each._calculated
    )

print(",".join(not_built()))
make_secret_client("https://v.vault.azure.net", Mock())
print(",".join(not_built()))
"""


@pytest.mark.exhaustive
def test_the_models_of_the_sdk_are_built_before_threads_parse_answers_with_them() -> None:
    """In a process of its own, where nothing has built them; what is built is remembered in `_calculated`."""
    ran = subprocess.run([sys.executable, "-c", NOT_BUILT], capture_output=True, text=True, check=True)
    before, after = ran.stdout.splitlines()
    assert {"SecretAttributes", "SecretBundle", "SecretSetParameters"} <= set(before.split(","))
    assert after == ""
