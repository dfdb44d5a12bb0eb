"""The valence-arousal plane: rectangles that tile it, thresholds from options, and figures without clutter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.image import imread
from matplotlib.text import Annotation, Text

from earmark.errors import UsageError
from earmark.evaluation.plots import save_png
from earmark.tasks.zones.analysis.map_figures import KINDS
from earmark.tasks.zones.analysis.mood_plane import Plane, Points, zone_of
from earmark.tasks.zones.deam.mapping import FIVE_WAY_ZONES, ZoneMapping, default_yaml
from earmark.tasks.zones.labels import CLASSES

AROUSAL, VALENCE = st.floats(1.6, 8.1), st.floats(1.6, 8.4)
ZONES = np.repeat(CLASSES, [5, 4, 3])


def points(n: int, name: str, seed: int = 0) -> Points:
    rng = np.random.default_rng(seed)
    arousal, valence = rng.uniform(1.6, 8.1, n), rng.uniform(1.6, 8.4, n)
    return Points(arousal, valence, ZoneMapping.default().zones(arousal, valence), name)


@given(AROUSAL, VALENCE)
def test_rectangles_tile_the_plane_as_the_display_names_it(arousal: float, valence: float) -> None:
    plane = Plane(ZoneMapping.default().with_thresholds(strategy="simple"))
    region = str(plane.regions(np.array([arousal]), np.array([valence]))[0])
    assert region == plane.mapping.five_way(arousal, valence)
    left, bottom, right, top = plane.rectangles[region]
    assert left <= valence <= right and bottom <= arousal <= top


def test_rectangles_cover_the_axes_once() -> None:
    plane = Plane()
    area = sum((right - left) * (top - bottom) for left, bottom, right, top in plane.rectangles.values())
    assert area == pytest.approx((8.1 - 1.6) * (8.4 - 1.6))
    assert set(plane.rectangles) == set(FIVE_WAY_ZONES)
    assert list(plane.bands) == list(CLASSES)


def test_the_rule_plan_calls_aggressive_green_and_simple_does_not() -> None:
    plan, simple = Plane(), Plane(ZoneMapping.default().with_thresholds(strategy="simple"))
    assert [zone for zone in FIVE_WAY_ZONES if plan.label_of(zone) != zone_of(zone)] == ["PURPLE_AGGRESSIVE"]
    assert plan.label_of("PURPLE_AGGRESSIVE") == "GREEN"
    assert all(simple.label_of(zone) == zone_of(zone) for zone in FIVE_WAY_ZONES)


def test_options_move_lines_and_ends(tmp_path: Path) -> None:
    options = {"yellow_threshold": 3.5, "purple_threshold": 6.5, "valence_threshold": 5, "arousal_max": 9.0}
    plane = Plane.of_options(options)
    assert (plane.yellow_max, plane.purple_min, plane.valence_split) == (3.5, 6.5, 5.0)
    assert plane.arousal == (1.6, 9.0) and plane.valence == (1.6, 8.4)
    assert plane.mapping.thresholds["plan"]["valence_min"] == 5.0  # the rule's own line moves with it
    file = tmp_path / "mapping.yaml"
    file.write_text(default_yaml().replace("mapping_strategy: plan", "mapping_strategy: advanced"))
    plane = Plane.of_options({"mapping": file, "valence_threshold": 4.0})
    assert (plane.mapping.strategy, plane.yellow_max, plane.valence_split) == ("advanced", 4.5, 4.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"arousal_min": 9.0}, r"arousal runs from 9 to 8.1"),
        ({"arousal_max": 5.0}, r"expected a range around the thresholds 4 and 6"),
        ({"valence_min": 4.5}, r"valence runs from 4.5 to 8.4"),
        ({"arousal_min": float("nan")}, r"arousal runs from nan"),
        ({"yellow_threshold": 7.0}, r"yellow_max 7 above purple_min 6"),
    ],
)
def test_a_plane_without_room_for_its_thresholds_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Plane.of_options(options)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sizes", [(0, 0), (300, 0), (0, 12), (300, 12)])
def test_labels_of_a_map_do_not_overlap_and_stay_inside(kind: str, sizes: tuple[int, int]) -> None:
    figure = KINDS[kind](Plane(), points(sizes[0], "auxiliary"), points(sizes[1], "training", 1), ZONES)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    axes = figure.axes[0]
    named = [text for text in axes.texts if text.get_text() and isinstance(text, Text | Annotation)]
    boxes = {text.get_text(): text.get_window_extent(canvas.get_renderer()) for text in named}
    names = list(boxes)
    assert len(names) >= 5
    for position, name in enumerate(names):
        box = boxes[name]
        assert box.x0 >= 0 and box.x1 <= figure.bbox.x1 and box.y0 >= 0 and box.y1 <= figure.bbox.y1, name
        for other in names[position + 1 :]:
            assert not box.overlaps(boxes[other]), (name, other)


def test_the_five_zones_and_moods_are_written_in_words_and_lines_are_dashed() -> None:
    figure = KINDS["2d"](Plane(), points(20, "auxiliary"), points(0, "training"), ZONES)
    axes = figure.axes[0]
    words = {text.get_text() for text in axes.texts}
    assert {name.replace("_", " ") for name in FIVE_WAY_ZONES} <= words
    assert "excited, happy, elated" in words and "labelled GREEN by the rule `plan`" in words
    assert [line.get_linestyle() for line in axes.lines] == ["--"] * 3
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == [
        "YELLOW: 5 training tracks",
        "GREEN: 4 training tracks",
        "PURPLE: 3 training tracks",
        "20 auxiliary tracks",
    ]


def test_bands_count_what_lies_in_them() -> None:
    own = Points(np.array([2.0, 5.0, 5.0, 7.0]), np.full(4, 5.0), np.repeat("GREEN", 4), "auxiliary")
    figure = KINDS["bands"](Plane(), own, points(0, "training"), ZONES)
    counts = [text.get_text() for text in figure.axes[1].texts]
    assert counts == [
        "1 auxiliary\n5 labelled YELLOW",
        "2 auxiliary\n4 labelled GREEN",
        "1 auxiliary\n3 labelled PURPLE",
    ]
    assert sum(patch.get_width() for patch in figure.axes[1].containers[0]) == 4


def test_a_map_is_written_at_the_resolution_asked_for(tmp_path: Path) -> None:
    figure = KINDS["2d"](Plane(), points(0, "auxiliary"), points(0, "training"), ZONES)
    image = imread(save_png(figure, tmp_path / "map.png", dpi=300))
    assert image.shape[:2] == (2220, 2580)  # 8.6 by 7.4 inches
