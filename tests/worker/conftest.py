"""What the tests over the real worker library share."""

import importlib.util

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip, and say why, where the worker library cannot be installed."""
    if importlib.util.find_spec("azure_functions_runtime") is None:
        skip = pytest.mark.skip(reason="azure-functions-runtime, the worker library, needs Python 3.13 or newer")
        for item in items:
            if "tests/worker/" in item.path.as_posix():
                item.add_marker(skip)
