"""`earmark demo meter` in a folder where somebody works."""

from __future__ import annotations

import pytest
from meter_projects import make_project

from earmark.errors import UsageError
from earmark.tasks.project import Project
from earmark.tasks.verbs.demo import demo


def test_a_demo_does_not_take_the_place_of_other_data(tmp_path):
    before = make_project(tmp_path, n=16).manifest
    with pytest.raises(UsageError, match=r"16 items that are not the demo's.*earmark -C trial demo meter"):
        demo(Project.open("meter", tmp_path))
    assert Project.open("meter", tmp_path).manifest.hash == before.hash
    assert not (tmp_path / "demo").exists()
