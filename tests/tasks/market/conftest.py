"""A project with a trained network, made once for the tests of training and of tracking."""

import pytest
from learnable_store import QUICK, learnable_project

from earmark.tasks.market.training.config import train_config
from earmark.tasks.market.training.train import train


@pytest.fixture(scope="session")
def learnable(tmp_path_factory):
    """A project whose rows tell the direction; runs are added to it, rows are not."""
    return learnable_project(tmp_path_factory.mktemp("learnable"))


@pytest.fixture(scope="session")
def network(learnable):
    """A finished training of a small network, with what it told and its configuration."""
    pytest.importorskip("torch")
    events = []
    config = train_config(QUICK, {"export_onnx": True, "int8": True, "min_accuracy": 0.5})
    return train(learnable, config, on_event=events.append), events, config
