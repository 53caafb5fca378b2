"""Fixtures of the feature tests."""

import pytest
from feature_models import reader


@pytest.fixture(scope="module")
def engine():
    return reader()
