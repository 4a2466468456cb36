import pytest
from pydantic_ai import models
from stub import Stub

models.ALLOW_MODEL_REQUESTS = False  # a test that asks a real server says so


@pytest.fixture
def stub():
    """A server of ours on loopback that speaks chat completions, and may be asked."""
    with Stub() as running, models.override_allow_model_requests(True):
        yield running
