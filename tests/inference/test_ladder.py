"""The ladder on real files, cache, extractor and classifier: order, failures, columns, thresholds."""

from __future__ import annotations

import json

import numpy as np
import pytest
import soundfile
from tone_groups import level, shape

from earmark.cache.entries import FeatureCache
from earmark.errors import SchemaError, UsageError
from earmark.features import Extractor, Item
from earmark.inference.ladder import (
    Abstention,
    Failed,
    ModelMethod,
    Prediction,
    Predictor,
    RuleMethod,
    RulesFirst,
)
from earmark.inference.rules import RuleSet, above, below
from earmark.models.calibration import Temperature
from earmark.models.classifier import Classifier
from earmark.models.decision import Decision

CLASSES = ("calm", "loud")


@pytest.fixture
def tones(tmp_path):
    """Twelve tones of rising level, 0.02 to 0.9; the first half is calm."""
    folder = tmp_path / "tones"
    folder.mkdir()
    time_s = np.arange(4000) / 8000
    paths = []
    for i, peak in enumerate(np.geomspace(0.02, 0.9, 12)):
        path = folder / f"tone {i:02d}.wav"
        soundfile.write(path, peak * np.sin(2 * np.pi * 330 * time_s), 8000, subtype="FLOAT")
        paths.append(str(path))
    return paths


@pytest.fixture
def cache(tmp_path):
    return FeatureCache(tmp_path / "cache")


@pytest.fixture
def classifier(tones, cache):
    table = Extractor([level], cache, workers=0).run([Item(path, path) for path in tones])
    model = Classifier.make("xgboost", classes=CLASSES, n_trees=40, max_depth=2, min_child_weight=0)
    return model.fit(table.values, np.arange(12) // 6, table.columns)


def test_a_prediction_is_what_the_classifier_says_of_the_same_features(tones, cache, classifier):
    predictor = Predictor(classifier, [level], cache, workers=0)
    found = predictor.predict(tones)
    table = Extractor([level], cache, workers=0).run([Item(path, path) for path in tones])
    p = classifier.predict_proba(table.values, table.columns)
    assert [one.path for one in found] == tones
    assert [one.label for one in found] == ["calm"] * 6 + ["loud"] * 6
    for one, row in zip(found, p, strict=True):
        assert list(one.probabilities) == list(CLASSES)
        assert list(one.probabilities.values()) == pytest.approx(row)
        assert one.confidence == pytest.approx(row.max())


def test_known_files_are_not_computed_again(tones, cache, classifier):
    assert sum(Extractor([level], cache).run([Item(p, p) for p in tones]).computed.values()) == 0
    events = []
    Predictor(classifier, [level], cache, workers=0).predict(tones, progress=events.append)
    assert all(event.total == 0 for event in events)


def test_answers_come_in_input_order_with_failures_in_their_place(tones, cache, classifier, tmp_path):
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF but not really")
    sources = [tones[9], str(broken), tones[0], str(tmp_path / "absent.wav"), tones[0], tones[7]]
    found = Predictor(classifier, [level], cache, workers=0).predict_sources(sources)
    assert [one.path for one in found] == [
        tones[9],
        str(broken),
        tones[0],
        str(tmp_path / "absent.wav"),
        tones[7],
    ]
    assert [type(one) for one in found] == [Prediction, Failed, Prediction, Failed, Prediction]
    assert found[1].error and "does not exist" in found[3].error


def test_the_same_input_given_twice_is_answered_twice(tones, cache, classifier):
    found = Predictor(classifier, [level], cache, workers=0).predict([tones[3], tones[3]])
    assert found[0] == found[1] and found[0].path == tones[3]


def test_a_folder_is_predicted_whole(tones, cache, classifier, tmp_path):
    assert len(Predictor(classifier, [level], cache, workers=0).predict_sources([tmp_path / "tones"])) == 12


def test_nothing_to_predict_is_no_answers(cache, classifier):
    assert Predictor(classifier, [level], cache, workers=0).predict([]) == []


def test_worker_processes_give_the_same_answers(tones, tmp_path, cache, classifier):
    here = Predictor(classifier, [level], cache, workers=0).predict(tones)
    there = Predictor(classifier, [level], FeatureCache(tmp_path / "other"), workers=2).predict(tones)
    assert here == there


def test_groups_that_do_not_make_a_needed_column_are_refused_before_any_file_is_opened(cache, classifier):
    with pytest.raises(SchemaError, match=r"2 columns .* missing: test\.level\.rms, test\.level\.peak"):
        Predictor(classifier, [shape], cache)
    with pytest.raises(SchemaError, match=r"missing: nope\.x"):
        Predictor(classifier, [level], cache, extras={"tempo": "nope.x"})


def test_a_table_with_a_missing_column_is_never_filled_with_zeros(tones, cache, classifier):
    table = Extractor([level], cache, workers=0).run([Item(tones[0], tones[0])])
    predictor = Predictor(classifier, [level], cache)
    with pytest.raises(SchemaError, match=r"test\.level\.peak"):
        predictor.predict_table(table.select(["test.level.rms"]))


def test_columns_in_another_order_give_the_same_answer(tones, cache, classifier):
    table = Extractor([shape, level], cache, workers=0).run([Item(path, path) for path in tones])
    predictor = Predictor(classifier, [level], cache, workers=0)
    for one, other in zip(predictor.predict_table(table), predictor.predict(tones), strict=True):
        assert one.probabilities == other.probabilities


def test_extras_run_and_features_are_fields(tones, cache, classifier):
    predictor = Predictor(
        classifier,
        [level, shape],
        cache,
        workers=0,
        extras={"zcr": "test.shape.crossings"},
        run="20260101-000000-x",
        with_features=True,
    )
    [one] = predictor.predict(tones[4:5])
    document = json.loads(json.dumps(one.to_json()))
    assert list(document) == [
        "path",
        "label",
        "confidence",
        "probabilities",
        "zcr",
        "method",
        "run",
        "features",
    ]
    assert document["method"] == "model" and document["run"] == "20260101-000000-x"
    assert document["zcr"] == pytest.approx(2 * 330 / 8000, rel=0.05)
    assert list(document["features"]) == ["test.level.rms", "test.level.peak"]


def test_a_value_that_is_missing_is_null(tones, cache, classifier):
    table = Extractor([level, shape], cache, workers=0).run([Item(tones[0], tones[0])])
    table.values[0, table.columns.index("test.shape.crossings")] = np.nan
    predictor = Predictor(classifier, [level, shape], cache, extras={"zcr": "test.shape.crossings"})
    assert predictor.predict_table(table)[0].extras["zcr"] is None


def test_below_the_threshold_there_is_no_decision(tones, cache, classifier):
    sure = Predictor(ModelMethod(classifier, threshold=0.0), [level], cache, workers=0).predict(tones)
    cut = float(np.median([one.confidence for one in sure]))
    method = ModelMethod(classifier, threshold=cut)
    some = Predictor(method, [level], cache, workers=0, uncertain="DUNNO").predict(tones)
    for one, other in zip(sure, some, strict=True):
        assert other.label == (one.label if one.confidence >= cut else "DUNNO")
        assert (one.probabilities, one.confidence) == (other.probabilities, other.confidence)
    with pytest.raises(UsageError, match="threshold is 55"):
        ModelMethod(classifier, threshold=55)


def test_a_decision_chooses_the_label_and_its_probabilities_are_given(tones, cache, classifier):
    """Everything is boosted to loud; the confidence is that of loud, without the boost, and may be too low."""
    plain = Predictor(classifier, [level], cache, workers=0).predict(tones)
    decision = Decision(CLASSES, Temperature(2.0, (True, True)), boost=(1.0, 1e6), threshold=0.3)
    decided = Predictor(ModelMethod(classifier, decision), [level], cache, workers=0).predict(tones)
    always = ModelMethod(classifier, decision, threshold=0.0)
    for one, before, loud in zip(
        decided, plain, Predictor(always, [level], cache, workers=0).predict(tones), strict=True
    ):
        softened = np.sqrt(list(before.probabilities.values()))
        assert list(one.probabilities.values()) == pytest.approx(softened / softened.sum())
        assert one.confidence == one.probabilities["loud"]
        assert one.label == ("loud" if one.confidence >= 0.3 else "UNCERTAIN")
        assert (loud.label, loud.probabilities) == ("loud", one.probabilities)
    assert {one.label for one in decided} == {"loud", "UNCERTAIN"}
    rules_first = RulesFirst(RuleMethod(RULES), always, enough=1.0)
    found = Predictor(rules_first, [level], cache, workers=0).predict(tones)
    assert found[0].label == "calm" and {one.label for one in found[1:]} <= {"loud", "calm"}
    assert all(one.label == "loud" for one in found if one.extras["method"] == "model")


def test_a_decision_about_other_classes_is_refused(classifier):
    with pytest.raises(UsageError, match="decision is about quiet, loud, the model answers calm, loud"):
        ModelMethod(classifier, Decision(("quiet", "loud")))


RULES = RuleSet(
    {"calm": (below("test.level.rms", 0.05),), "loud": (above("test.level.rms", 0.3),)}, threshold=0.6
)


def test_rules_answer_with_their_score_and_scaled_probabilities(tones, cache):
    found = Predictor(RuleMethod(RULES), [level], cache, workers=0).predict(tones)
    assert found[0].label == "calm" and found[0].confidence == 1.0
    assert found[-1].label == "loud" and found[-1].extras["method"] == "rules"
    assert sum(found[5].probabilities.values()) == pytest.approx(1)
    assert "UNCERTAIN" in {one.label for one in found}
    nothing = RuleSet({"calm": (above("test.level.rms", 1e9),), "loud": (above("test.level.rms", 1e9),)})
    equal = Predictor(RuleMethod(nothing), [level], cache, workers=0).predict(tones[:1])[0]
    assert equal.probabilities == pytest.approx({"calm": 0.5, "loud": 0.5}, abs=1e-6)


def test_rules_first_ask_the_model_only_where_the_rules_are_unsure(tones, cache, classifier):
    rules = Predictor(RuleMethod(RULES), [level], cache, workers=0).predict(tones)
    model = Predictor(classifier, [level], cache, workers=0).predict(tones)
    method = RulesFirst(RuleMethod(RULES), ModelMethod(classifier), enough=0.7)
    both = Predictor(method, [level], cache, workers=0).predict(tones)
    for by_rules, by_model, one in zip(rules, model, both, strict=True):
        assert one == (by_rules if by_rules.confidence >= 0.7 else by_model)
    assert {one.extras["method"] for one in both} == {"rules", "model"}


def test_rules_and_model_of_other_classes_are_refused(classifier):
    other = RuleSet({"quiet": (below("a", 1),), "loud": (above("a", 1),)})
    with pytest.raises(UsageError, match="rules answer quiet, loud, the model calm, loud"):
        RulesFirst(RuleMethod(other), ModelMethod(classifier), 0.7)


def test_an_input_that_the_model_was_not_made_for_gets_no_decision(tones, cache, classifier, tmp_path):
    silence = tmp_path / "silence.wav"
    soundfile.write(silence, np.zeros(4000), 8000)
    quiet = Abstention("levels", ("test.level.rms",), lambda of: of["test.level.rms"] < 1e-4, "it is silent")
    plain, guarded = (
        Predictor(classifier, [level], cache, workers=0, uncertain="NONE", abstention=one)
        for one in (None, quiet)
    )
    assert [one.label for one in plain.predict([tones[0], str(silence)])] == ["calm", "calm"]
    heard, silent = guarded.predict([tones[0], str(silence)])
    assert (heard.label, silent.label) == ("calm", "NONE")
    assert silent.confidence == 0 and set(silent.probabilities.values()) == {0.5}
    assert silent.extras["undecided"] == "it is silent" and "undecided" not in heard.extras
    with pytest.raises(SchemaError, match=r"test\.shape\.crossings"):
        Predictor(
            classifier, [level], abstention=Abstention("s", ("test.shape.crossings",), lambda of: of, "")
        )
