"""The task's analyses of a run over a generated library with a second, annotated source."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from earmark.errors import UsageError
from earmark.tasks.project import Project
from earmark.tasks.task import AnalysisRequest
from earmark.tasks.verbs.prepare import prepare
from earmark.tasks.verbs.train import TrainOptions, train
from earmark.tasks.zones.analysis.drop_analysis import COLUMN_SETS, drop_rows, is_drop_column
from earmark.tasks.zones.analysis.drop_sweep import DropGrid, tune_drops
from earmark.tasks.zones.deam.tree import write_deam_tree
from earmark.tasks.zones.demo import generate_demo
from earmark.tasks.zones.features import drops13

N_SONGS = 8


@pytest.fixture(scope="module")
def request_of(tmp_path_factory: pytest.TempPathFactory) -> AnalysisRequest:
    """A run over 18 tracks with `fast10`, one of whose columns tells of drops."""
    root = tmp_path_factory.mktemp("analyses")
    labels = generate_demo(root / "library", 18, duration_s=45).labels
    deam = write_deam_tree(root / "deam", N_SONGS, csv=False, duration_s=12)
    project = Project.open("zones", root / "project", {"workers": 1})
    prepare(project, [labels], options={"deam": str(deam)})
    run = train(project, TrainOptions(algorithms=("logistic",), features="fast10")).best
    features = project.task.features("fast10")
    dataset, _ = project.training_data(features)
    folder = root / "report"
    folder.mkdir()
    # The two analyses do not look at the evaluation.
    return AnalysisRequest(project, run, dataset, project.auxiliary_data(features), None, folder)  # type: ignore[arg-type]


def test_drop_columns_are_told_by_group_or_name() -> None:
    assert is_drop_column("zones.drops13.bass_energy_mean") and is_drop_column("zones.fast.drop_intensity")
    assert not is_drop_column("zones.fast.tempo") and not is_drop_column("zones.dynamics.peak_energy_ratio")


def test_drop_analysis_answers_its_questions(request_of: AnalysisRequest) -> None:
    found = request_of.project.task.analyses["drops"](request_of)
    assert [path.name for path in found.files] == ["drop_analysis.png"]
    assert imread(found.files[0]).shape[1] > 1500
    tables = found.tables
    assert [row["detector"] for row in tables["drop_detection.csv"]] == [
        "full rate",
        "frame level",
        "band energy",
    ]
    full = tables["drop_detection.csv"][0]
    assert full["recall"] > 0.8 and full["hits"] <= min(full["planted"], full["found"])
    sets = {row["columns"]: row for row in tables["drop_column_sets.csv"]}
    assert list(sets) == list(COLUMN_SETS)
    assert [row["n_columns"] for row in sets.values()] == [10 + 17, 1 + 17, 9]
    assert all(row["low"] <= row["balanced_accuracy"] <= row["high"] for row in sets.values())
    columns = {row["feature"] for row in tables["drop_analysis.csv"]}
    assert len(columns) == 17 and "zones.drops.drop_count" not in columns
    assert columns == {row["feature"] for row in tables["drop_sources.csv"]}
    assert tables["drop_sweep.csv"][0]["f1"] >= full["f1"]
    text = " ".join(found.sentences)
    assert "planted drops within 2 s" in text and "Drop columns change balanced accuracy by" in text
    assert "in auxiliary ones" in text


def test_counts_become_counts_per_minute(request_of: AnalysisRequest) -> None:
    project, ids = request_of.project, request_of.dataset.ids[:3]
    rows = drop_rows(project, project.manifest, ids)
    assert rows.ids == ids or set(rows.ids) == set(ids)
    raw = project.extract([drops13], project.manifest.subset(rows.ids))
    minutes = np.array([len(rows.levels[id]) * 512 / 22_050 / 60 for id in rows.ids])
    np.testing.assert_allclose(
        rows.column("zones.drops13.drop_count_per_minute"),
        raw.column("zones.drops13.drop_count") / minutes,
        rtol=1e-6,
    )
    np.testing.assert_array_equal(
        rows.column("zones.drops13.bass_energy_mean"), raw.column("zones.drops13.bass_energy_mean")
    )


def test_without_truth_zones_are_what_the_sweep_separates(
    request_of: AnalysisRequest, tmp_path: Path
) -> None:
    truth = tmp_path / "truth.json"
    truth.write_text('{"tracks": {}}')
    small = replace(request_of, folder=tmp_path, auxiliary=None, options={"truth": truth})
    found = small.project.task.analyses["drops"](small)
    assert "drop_detection.csv" not in found.tables and "drop_sources.csv" not in found.tables
    assert "f1" not in found.tables["drop_sweep.csv"][0]
    assert "No times of drops are known" in found.sentences[0]


@pytest.mark.parametrize("kind", ["2d", "bands", "density"])
def test_maps_draw_annotated_tracks_and_count_the_others(request_of: AnalysisRequest, kind: str) -> None:
    ids = request_of.dataset.ids
    positions = {ids[0]: (7.0, 6.0), ids[1]: (2.0, 3.0), "nowhere": (5.0, 5.0)}
    request = replace(request_of, options={"map": kind, "positions": positions})
    found = request.project.task.analyses["map"](request)
    assert [path.name for path in found.files] == [f"map_{kind}.png"]
    assert max(imread(found.files[0]).shape) > 2000
    counts = {row["zone"]: row for row in found.tables["map_counts.csv"]}
    whole = [counts[zone] for zone in request.project.classes]
    assert sum(row["auxiliary"] for row in whole) == N_SONGS
    assert sum(row["training_placed"] for row in whole) == 2
    assert counts["PURPLE_EUPHORIC"]["training_placed"] == counts["YELLOW_DARK"]["training_placed"] == 1
    assert [row["training_labelled"] for row in whole] == list(request.dataset.class_counts.values())
    assert any(f"{N_SONGS} auxiliary tracks are drawn" in sentence for sentence in found.sentences)


def test_maps_say_what_they_cannot_draw(request_of: AnalysisRequest) -> None:
    found = request_of.project.task.analyses["map"](replace(request_of, options={"valence_max": 5.0}))
    assert any("counted, not drawn" in sentence for sentence in found.sentences)
    with pytest.raises(UsageError, match=r"there is no map '3d'; expected one of 2d, bands, density"):
        request_of.project.task.analyses["map"](replace(request_of, options={"map": "3d"}))


def test_tuning_sweeps_the_training_tracks_and_no_other(request_of: AnalysisRequest) -> None:
    project, steps = request_of.project, []
    grid = DropGrid((0.0, 0.3, 0.8), (0.2, 0.5), (1.0, 8.0))
    sweep = tune_drops(project, grid=grid, progress=steps.append)
    rows = sweep.rows()
    assert len(sweep.minutes) == len(project.splits.train_ids) == steps[-1].done
    assert sweep.objective == "f1" and len(rows) == 12
    assert sweep.default_score().value == pytest.approx(next(row["f1"] for row in rows if row["is_default"]))
    assert rows[0]["f1"] == max(row["f1"] for row in rows) > 0.8
    assert 0.5 < sweep.nested_score().value <= rows[0]["f1"]
    assert (sweep.hits <= np.minimum(sweep.found, sweep.planted)).all()
