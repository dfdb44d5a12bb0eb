"""The report: complete, self-contained, escaped, plain about goals and openings, and the same bytes each time."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from earmark.evaluation.baselines import model
from earmark.evaluation.importance import Importance
from earmark.evaluation.label_issues import LabelIssue, LabelReview
from earmark.evaluation.report import REPORT_FILES, render_model_card, render_report, write_report
from earmark.evaluation.result import Goal, Opening, SetAside, Stage
from earmark.evaluation.sections import Section, data_uri
from earmark.evaluation.sources import SourceScore

VOID = {"meta", "br", "link", "img", "input", "hr"}


class Page(HTMLParser):
    """Collects what a reader sees, and refuses tags that do not close."""

    def __init__(self, text):
        super().__init__()
        self.open, self.text, self.tags, self.attributes = [], [], [], []
        self.feed(text)
        assert not self.open, self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not {"style", "svg"} & set(self.open):
            self.text.append(data)

    @property
    def words(self):
        return " ".join(" ".join(self.text).split())


SHIFT_SENTENCE = (
    "25 of 25 features differ between user and deam; taken together they are clearly apart (AUC 0.81 [0.70, 0.90], "
    "0.5 is chance)."
)


@pytest.fixture(scope="module")
def page(evaluation):
    return Page(render_report(evaluation))


def test_all_files_are_written_and_nothing_else(written):
    more = ["prediction_analysis.png", "domain_shift.csv"]
    assert sorted(path.name for path in written.iterdir()) == sorted([*REPORT_FILES, *more])


def test_a_file_is_left_out_where_there_is_nothing_to_put_in_it(make_evaluation, tmp_path):
    paths = write_report(make_evaluation(shift=None, plane=None, analyses=()), tmp_path)
    assert [path.name for path in paths] == list(REPORT_FILES)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(REPORT_FILES)
    assert "domain_shift" not in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_the_same_evaluation_gives_the_same_bytes_also_over_an_old_report(make_evaluation, written):
    before = {path.name: path.read_bytes() for path in written.iterdir()}
    paths = write_report(make_evaluation(), written)
    for path in paths:
        assert path.read_bytes() == before[path.name], path.name


@pytest.fixture(scope="module")
def written(evaluation, tmp_path_factory):
    """A folder with the report's files."""
    folder = tmp_path_factory.mktemp("report") / "new"
    write_report(evaluation, folder)
    return folder


def test_the_page_fetches_nothing_and_runs_nothing(page, evaluation):
    text = render_report(evaluation)
    assert "script" not in page.tags and "link" not in page.tags and "iframe" not in page.tags
    assert not [one for one in page.attributes if one[1].startswith("on")]
    allowed = {"href": "#", "src": "data:image/png;base64,"}
    assert all(value.startswith(allowed[name]) for _, name, value in page.attributes if name in allowed)
    assert not re.search(r"url\((?!#)", text) and "@import" not in text
    assert "http" not in text.replace("http://www.w3.org/", "")


def test_links_lead_to_sections(page):
    ids = [value for _, name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    assert {value[1:] for _, name, value in page.attributes if name == "href"} <= set(ids)


def test_tables_have_headers_and_figures_a_description(page, evaluation):
    assert page.tags.count("table") >= 8
    assert ("th", "scope", "col") in page.attributes and ("th", "scope", "row") in page.attributes
    assert page.tags.count("svg") == 6 and page.tags.count("img") == 1
    assert page.tags.count("figure") == page.tags.count("figcaption") == 7
    described = {"svg": "aria-label", "img": "alt"}
    assert sum(1 for tag, name, value in page.attributes if described.get(tag) == name and value) == 7
    assert ("html", "lang", "en") in page.attributes


def test_everything_a_reader_needs_is_there(page, evaluation):
    words = page.words
    own = evaluation.metrics["balanced_accuracy"]
    assert evaluation.comparison_sentence() in words
    assert f"balanced accuracy, 95 % interval {own.low:.2f} to {own.high:.2f}" in words
    for piece in (
        "selective accuracy", "quadratic kappa", "PURPLE", "majority", "bpm-rule", "fast10", "XGBoost on 10 features",
        "zones.full.feature_0", "broken.mp3",
        "extract 41.20 50 10", "train 12.50 – –", "all 53.70", "abababab", "cdcdcd",
        "deam trains only, not part of the headline 40", "disc 30", SHIFT_SENTENCE, "Drops", "They help.",
        "Table: drops.csv (2 rows)", "drop_count 0.1235", "Picture: drops.png", "b –",
        "xgboost", "earmark 0.1.0", "split 42", "opened once, by one run",
    ):  # fmt: skip
        assert piece in words, piece
    assert evaluation.errors[0].path.rpartition("/")[2] in words


def test_goals_are_called_reached_or_missed(page, evaluation):
    assert page.words.count("✗ missed") == 1 and page.words.count("✓ reached") == 2
    assert "1 of 3 goals is missed." in page.words
    assert f"accuracy > 0.80: measured {evaluation.metrics['accuracy'].value:.2f}" in page.words


@pytest.mark.parametrize(
    ("openings", "sentence"),
    [
        ((), "This test set has never been opened."),
        ((Opening("1", "a"), Opening("2", "a")), "opened 2 times, by one run. Each further look"),
        ((Opening("1", "a"), Opening("2", "b"), Opening("3", "b")), "opened 3 times, by 2 runs."),
    ],
)
def test_openings_of_the_test_set_are_counted(make_evaluation, openings, sentence):
    evaluation = make_evaluation(openings=openings)
    assert sentence in render_model_card(evaluation)


def test_the_split_is_said(make_evaluation):
    assert "sealed test set: 60 tracks" in Page(render_report(make_evaluation())).words
    assert "Scored out of fold" in Page(render_report(make_evaluation(split="val"))).words


HOSTILE = "<script>alert(1)</script>\"'&{{ 7*7 }}|`x`\n# y"


def test_strings_from_outside_stay_text(make_evaluation):
    base = make_evaluation()
    evaluation = make_evaluation(
        run=HOSTILE,
        task=HOSTILE,
        classes=(HOSTILE, "GREEN", "PURPLE"),
        goals=(),
        class_colours={},
        ids=tuple(f"{HOSTILE}{i}" for i in range(60)),
        paths=tuple(f"/x/{HOSTILE}{i}" for i in range(60)),
        baselines=(model(HOSTILE, base.p, description=HOSTILE),),
        importance=(Importance(HOSTILE, 0.1, 0.1),),
        set_aside=(SetAside(HOSTILE, HOSTILE),),
        stages=(Stage(HOSTILE, 1.0),),
        openings=(Opening(HOSTILE, HOSTILE, HOSTILE),),
        facts={HOSTILE: {HOSTILE: HOSTILE}},
        item_noun=HOSTILE,
        created=HOSTILE,
        warnings=(HOSTILE,),
        sources=(SourceScore(HOSTILE, 3, False, base.sources[0].scores),),
        shift=replace(base.shift, names=(HOSTILE, HOSTILE)),
        analyses=(Section(HOSTILE, HOSTILE, (HOSTILE,), {HOSTILE: [{HOSTILE: HOSTILE}]}, {}, (HOSTILE,)),),
    )
    text = render_report(evaluation)
    page = Page(text)
    assert (
        "script" not in page.tags
        and "<script>" not in text
        and "49" not in text.partition("</style>")[2][:400]
    )
    assert "alert(1)" in page.words and "{{ 7*7 }}" in page.words
    card = render_model_card(evaluation)
    assert "<script>" not in card and "\n# y" not in card
    tables = [line for line in card.splitlines() if line.startswith("|")]
    assert tables and all(re.search(r"(?<!\\)\|$", line) for line in tables)


def test_metrics_json_is_what_evaluate_prints(evaluation, written):
    assert json.loads((written / "metrics.json").read_text()) == evaluation.to_json()


def test_errors_csv_lists_all_errors_most_confident_first(evaluation, written):
    with (written / "errors.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0])[:5] == ["filename", "actual", "predicted", "confidence", "path"]
    assert [row["path"] for row in rows] == [error.path for error in evaluation.errors]
    assert float(rows[0]["confidence"]) == pytest.approx(evaluation.errors[0].confidence, abs=1e-6)
    assert rows[0]["filename"] == rows[0]["path"].rpartition("/")[2]


def test_importance_csv_lists_all_features_in_order(evaluation, written):
    with (written / "feature_importance.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["feature"] for row in rows] == [one.feature for one in evaluation.importance]
    assert float(rows[3]["importance"]) == evaluation.importance[3].importance


def test_the_model_card_names_score_limits_and_data(evaluation):
    card = render_model_card(evaluation)
    assert card.startswith("# Model card: zones") and card.endswith("\n") and "\n\n\n" not in card
    for piece in (
        "## Limits",
        "## Goals",
        "- missed: accuracy > 0.80",
        "| max depth | 6 |",
        "## Hashes",
        "| fast10 |",
    ):
        assert piece in card, piece
    widths = [line.count("|") for line in card.splitlines() if line.startswith("|---")]
    assert widths


def test_a_bare_evaluation_still_makes_a_page(make_evaluation, tmp_path):
    bare = make_evaluation(
        n=0, y=np.zeros(0, int), p=np.empty((0, 3)), groups=None, baselines=(), goals=(), importance=(),
        set_aside=(), stages=(), openings=(), facts={}, class_colours={}, created="", sources=(), shift=None,
        analyses=(),
    )  # fmt: skip
    write_report(bare, tmp_path)
    words = Page((tmp_path / "report.html").read_text(encoding="utf-8")).words
    for piece in ("Nothing was scored", "No baselines were given", "Importance was not measured", "None: every input",
                  "No item is predicted wrong", "sources were not rec", "Not rec", "never been opened"):  # fmt: skip
        assert piece in words, piece


def test_goals_of_the_other_split_are_open(make_evaluation):
    goals = (Goal("accuracy", 0.1, split="val"), Goal("accuracy", 0.8, split="test"))
    val = make_evaluation(goals=goals, split="val")
    words = Page(render_report(val)).words
    assert "✓ reached cross-validated accuracy > 0.10: measured" in words
    assert "○ open holdout accuracy > 0.80: measured on the sealed test only" in words
    assert "0 of 1 goals are missed. Measured on the sealed test only: 1 goal." in words
    assert "- open: holdout accuracy > 0.80, measured on the sealed test only" in render_model_card(val)


def test_folds_show_their_spread(make_evaluation, page):
    evaluation = make_evaluation(split="val", folds=np.arange(60) % 5)
    low, high = min(evaluation.fold_scores["accuracy"]), max(evaluation.fold_scores["accuracy"])
    words = Page(render_report(evaluation)).words
    assert "lowest to highest fold" in words and f"{low:.3f} to {high:.3f} higher" in words
    assert "lowest to highest fold" not in page.words


def test_doubted_labels_have_a_section(make_evaluation):
    issue = LabelIssue("track_000", "/m/a & b.mp3", "YELLOW", "PURPLE", 0.91, 0.04, True, (0.04, 0.05, 0.91))
    fine = replace(issue, id="track_001", is_potential_issue=False)
    evaluation = make_evaluation(label_review=LabelReview(("YELLOW", "GREEN", "PURPLE"), (issue, fine)))
    page = Page(render_report(evaluation))
    assert "1 of 2 labels are potential issues (YELLOW 1 of 2, GREEN 0 of 0, PURPLE 0 of 0)." in page.words
    assert "a & b.mp3 YELLOW PURPLE 0.91 0.04" in page.words and "YELLOW 2 1 0.5" in page.words
    assert evaluation.to_json()["label_issues"]["to_review"][0]["track_id"] == "track_000"


def test_a_picture_that_is_no_png_is_refused():
    with pytest.raises(ValueError, match="expected a PNG"):
        data_uri(b"<svg onload=alert(1)>")


def test_a_colour_that_is_no_colour_is_refused(make_evaluation):
    from earmark.errors import UsageError

    with pytest.raises(UsageError, match="expected #RRGGBB"):
        make_evaluation(class_colours={"YELLOW": "red;background:url(x)"})
