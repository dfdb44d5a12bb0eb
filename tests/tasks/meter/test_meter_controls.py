"""Controls and pictures of an evaluation: timbre alone, a source left out, figures without a screen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from meter_projects import make_project

from earmark.audio.clip import Clip
from earmark.errors import UsageError
from earmark.evaluation.attention import ANSWER, answer_attention, token_names
from earmark.models.classifier import Classifier
from earmark.tasks.meter.evaluation.controls import _answers
from earmark.tasks.meter.evaluation.evaluate import MeterOptions, evaluate_meter
from earmark.tasks.meter.evaluation.figures import draw, redundancy
from earmark.tasks.meter.evaluation.left_out_sources import leave_sources_out
from earmark.tasks.meter.groups.mfcc_pieces import MFCC_PIECES, N_MFCC, N_PIECES
from earmark.tasks.verbs.ensembles import join_runs
from earmark.tasks.verbs.train import TrainOptions, train
from earmark.training.crossval import cross_validate
from earmark.training.recipe import Recipe

RATE = 22_050


def _noise(seconds, seed=0):
    return np.random.default_rng(seed).normal(0, 0.1, round(seconds * RATE)).astype(np.float32)


def test_pieces_hold_the_cepstrum_of_their_own_three_seconds():
    librosa = pytest.importorskip("librosa")
    x = np.concatenate([_noise(15), np.sin(np.arange(15 * RATE) * 0.1).astype(np.float32)])
    pieces = MFCC_PIECES(Clip(x, RATE)).reshape(N_PIECES, N_MFCC)
    whole = librosa.feature.mfcc(y=x, sr=RATE, n_mfcc=14)[1:]
    np.testing.assert_allclose(pieces[0], whole[:, :129].mean(axis=1), rtol=1e-3, atol=1e-2)
    np.testing.assert_allclose(pieces[-1], whole[:, -129:].mean(axis=1), rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize(("seconds", "n"), [(0.5, 1), (2.9, 1), (7, 2), (30, 10), (60, 10)])
def test_a_short_clip_has_fewer_pieces(seconds, n):
    pieces = MFCC_PIECES(Clip(_noise(seconds), RATE)).reshape(N_PIECES, N_MFCC)
    assert np.isfinite(pieces).all(axis=1).sum() == n and np.isfinite(pieces[0]).all()


def test_the_machine_votes_over_pieces_and_says_the_commonest_of_silence():
    rng = np.random.default_rng(0)
    y = np.arange(90) % 3
    pieces = (rng.normal(0, 1, (90, 10, 4)) + y[:, None, None]).astype(np.float32)
    pieces[::2, 5:] = np.nan
    assert (_answers(pieces[:60], y[:60], pieces[60:]) == y[60:]).mean() > 0.85
    empty = np.full((2, 10, 4), np.nan, dtype=np.float32)
    assert _answers(pieces, np.where(y == 2, 1, y), empty).tolist() == [1, 1]
    assert _answers(pieces[y == 1], y[y == 1], pieces[:3]).tolist() == [1, 1, 1]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    project = make_project(tmp_path_factory.mktemp("meter"))
    return project, train(project, TrainOptions(algorithms=("logistic",))).best


def test_every_source_is_left_out_once(trained):
    project, run = trained
    found = evaluate_meter(project, run, MeterOptions(controls=False, leave_sources_out=True)).left_out
    assert sorted(one.source for one in found) == ["S0", "S1"]
    assert sum(one.n for one in found) == len(project.splits.train_ids)
    assert all(one.unknown is not None and one.unknown.value > 0.6 for one in found)
    other = train(project, TrainOptions(algorithms=("logistic",), features="noise")).best
    joined = join_runs(project, [run, other]).run
    found = evaluate_meter(project, joined, MeterOptions(controls=False, leave_sources_out=True)).left_out
    assert len(found) == 2
    with pytest.raises(UsageError, match="expected tuning or val"):
        evaluate_meter(project, run, MeterOptions(split="test", leave_sources_out=True))


def test_a_source_that_tells_the_class_is_found_out(trained):
    """Columns that know the source alone: right wherever it was heard, of no use where it was not."""
    project, run = trained
    data = project.training_data(project.task.features("both"))[0]
    source = np.arange(len(data)) % 4
    told = replace(
        data,
        X=np.eye(5, dtype=np.float32)[source],
        y=source % 2,
        sources=source.astype(str),
        soft=np.empty((0, 0)),
        groups=np.array(data.ids),
        folds=np.arange(len(data)) // 4 % 3,
    )
    out = cross_validate(lambda: Recipe("logistic").make(told.classes), told)
    rows = leave_sources_out(project, run, told, out.probabilities)
    assert all(row.known.value == 1 for row in rows)
    assert sum(row.unknown.value for row in rows) <= 2


def test_figures_are_drawn_without_a_screen(trained, tmp_path):
    project, run = trained
    paths = draw(project, run, tmp_path / "figures", n_samples=10)
    assert [path.name for path in paths] == ["activations_3.png", "activations_4.png", "redundancy.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)
    names, alike, ranks = redundancy(project.training_data(project.task.features("both"))[0])
    assert names == ["meter.plain", "meter.noise"] and alike[0, 0] > alike[0, 1] and ranks[0] <= 2


def test_attention_is_that_of_the_network():
    torch = pytest.importorskip("torch")
    from earmark.models.column_modules import FTTransformerNetwork

    rng = np.random.default_rng(0)
    X = rng.normal(0, 1, (40, 6)).astype(np.float32)
    columns = ("a.x_1", "a.x_2", "b.y_1", "b.y_2", "c.z", "c.w")
    settings = {"blocks": (("a.",), ("b.",), ("c.",)), "epochs": 2, "width": 8, "n_heads": 2}
    classifier = Classifier.make("ft_transformer", classes=("3", "4"), **settings)
    classifier.fit(X, (X[:, 0] > 0).astype(np.int64), columns)
    shares = answer_attention(classifier, X, columns)
    assert shares.shape == (2, 2, 4) and token_names(classifier) == [ANSWER, "a.x", "b.y", "c"]

    model = classifier.estimator
    network = FTTransformerNetwork(6, 2, model.block, model.params)
    network.load_state_dict(
        {name: torch.from_numpy(value) for name, value in model.tensors.items()}, strict=False
    )
    mixed = []
    for layer in network.encoder.layers:
        layer.mix.register_forward_hook(lambda _module, _given, result: mixed.append(result.detach()))
    with torch.no_grad():
        network.eval()(torch.from_numpy(classifier.preprocess.transform(X)))
    for number, result in enumerate(mixed):
        query, key, _ = result.reshape(40, 4, 3, 2, 4).permute(2, 0, 3, 1, 4)
        expected = torch.softmax(query @ key.transpose(-1, -2) / 2, dim=-1)[:, :, 0].mean(dim=0)
        np.testing.assert_allclose(shares[number], expected.numpy(), rtol=1e-4)
