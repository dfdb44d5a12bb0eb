"""The search over mappings: planted thresholds are found, and no label of the user enters a fit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from earmark.data.dataset import Dataset
from earmark.tasks.zones.deam.mapping import ZoneMapping, yaml_text
from earmark.tasks.zones.deam.mapping_search import GRID, MappingGrid, search_mappings
from earmark.tasks.zones.deam.tempo_table import folded_tempo
from earmark.tasks.zones.labels import CLASSES
from earmark.training.recipe import Recipe
from earmark.training.strategy import Strategy

RECIPE = Recipe("logistic", class_weight="balanced", strategy=Strategy("auxiliary"))
SMALL = MappingGrid(yellow_max=(3.5, 4.0, 5.0), purple_min=(5.0, 6.0), valence_min=(4.5,))
PLANTED = ZoneMapping.default().with_thresholds(strategy="simple", yellow_max=5.0, purple_min=5.0)


def rows(n, seed, mapping, **more):
    """Rows whose features are arousal and valence with some noise, labelled by a mapping."""
    generator = np.random.default_rng(seed)
    annotations = generator.uniform(2, 8, (n, 2))
    code = {name: place for place, name in enumerate(CLASSES)}
    data = Dataset(
        ids=tuple(f"{seed}-{row}" for row in range(n)),
        columns=("a", "v"),
        X=annotations + generator.normal(0, 0.2, (n, 2)),
        y=np.array([code[zone] for zone in mapping.zones(*annotations.T)]),
        classes=CLASSES,
        groups=np.array([f"{seed}-{row // 2}" for row in range(n)]),
        folds=np.arange(n) // 2 % 3,
        **more,
    )
    return data, annotations


@pytest.fixture(scope="module")
def planted():
    dataset, _ = rows(90, 1, PLANTED)
    songs, annotations = rows(150, 2, ZoneMapping.default(), split="auxiliary")
    return dataset, songs, annotations


def test_planted_thresholds_are_found_and_their_gain_is_clear(planted):
    found = search_mappings(*planted, RECIPE, SMALL.mappings())
    assert found.best == PLANTED
    assert set(found.choices) == {0, 1, 2}
    assert found.gain().low > 0
    assert found.nested_score().value > found.default_score().value + 0.1
    best, *others = found.rows()
    assert (best["yellow_max"], best["purple_min"], best["valence_min"]) == (5.0, 5.0, None)
    assert all(best["balanced_accuracy"] >= row["balanced_accuracy"] for row in others)
    assert "a clear gain" in found.sentences()[-1]


def test_the_users_labels_never_enter_a_fit(planted):
    dataset, songs, annotations = planted
    shuffled = replace(dataset, y=np.random.default_rng(0).permutation(dataset.y))
    first, second = (
        search_mappings(own, songs, annotations, RECIPE, SMALL.mappings()) for own in (dataset, shuffled)
    )
    np.testing.assert_array_equal(first.predicted, second.predicted)
    assert abs(second.nested_score().value - 1 / len(np.unique(dataset.y))) < 0.25  # chance


def test_a_fold_does_not_choose_for_itself(planted):
    found = search_mappings(*planted, RECIPE, SMALL.mappings())
    for fold, place in found.choices.items():
        turned = np.where(found.folds == fold, 0, found.y)
        assert replace(found, y=turned).choices[fold] == place


def test_the_default_stands_first_and_wins_ties():
    mappings = GRID.mappings()
    assert mappings[0] == ZoneMapping.default()
    assert len({mapping.digest() for mapping in mappings}) == len(mappings) == 16 + 16 * 3
    dataset, _ = rows(30, 3, PLANTED)
    songs, annotations = rows(20, 4, PLANTED, split="auxiliary")
    same = np.full_like(annotations, 5.2)  # one zone by most mappings
    found = search_mappings(dataset, songs, same, RECIPE, mappings[:3])
    assert found.best == mappings[0]
    assert found.gain().value == 0
    assert "no clear gain" in found.sentences()[-1]


@pytest.mark.parametrize("mapping", [*GRID.mappings()[:40:7], PLANTED])
def test_a_written_mapping_is_read_as_the_same(mapping, tmp_path):
    (tmp_path / "m.yaml").write_text(yaml_text(mapping, ["chosen: by a search", "# with marks"]))
    assert ZoneMapping.read(tmp_path / "m.yaml") == mapping


@pytest.mark.parametrize(
    ("bpm", "expected"), [(0, None), (float("nan"), None), (59.9, 119.8), (60, 60), (200, 200), (201, 100.5)]
)
def test_tempos_are_folded_once(bpm, expected):
    assert folded_tempo(bpm) == expected
