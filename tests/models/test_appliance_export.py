"""Networks as ONNX against the networks: any batch and length, audio with an offset, files that are refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from published_beats import checkpoint, small_cfg  # noqa: E402

from earmark.audio.kaldi_fbank import normalised_fbank  # noqa: E402
from earmark.errors import UsageError  # noqa: E402
from earmark.models.acoustic.export import OPSET, export_network  # noqa: E402
from earmark.models.acoustic.fitted import ENCODER, FittedHead  # noqa: E402
from earmark.models.acoustic.from_audio import FromAudio, KaldiFilterBank  # noqa: E402
from earmark.models.acoustic.networks import build, state  # noqa: E402
from earmark.models.acoustic.settings import HeadSettings  # noqa: E402
from earmark.models.beats.config import BeatsConfig  # noqa: E402
from earmark.models.beats.official import encoder_of  # noqa: E402
from earmark.models.onnx_files import session  # noqa: E402

WIDTH, DEVICES, SECOND = 48, ("ac", "fridge", "pump"), 16_000


@pytest.fixture(autouse=True)
def repeatable():
    torch.manual_seed(3)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def encoder():
    loaded = checkpoint(small_cfg())
    return encoder_of(BeatsConfig.of(loaded["cfg"]), loaded["model"])


def fitted(network, width=WIDTH, **more):
    settings = HeadSettings(network=network, **more)
    with torch.random.fork_rng():
        torch.manual_seed(7)
        tensors = {name: t.numpy() for name, t in state(build(settings, width, len(DEVICES))).items()}
    return FittedHead(DEVICES, width, settings, tensors, best_epoch=0)


def audio(n_rows, seconds, seed=1):
    rows = np.random.default_rng(seed).normal(0.1, 0.03, (n_rows, int(seconds * SECOND)))
    return rows.astype(np.float32)


@pytest.mark.parametrize("offset", [0.0, 0.3])
def test_the_filter_bank_in_the_graph_is_the_one_of_the_features(offset):
    rows = audio(2, 6.0) * np.array([[1.0], [1e-3]], np.float32) + np.float32(offset)
    graph = KaldiFilterBank()(torch.from_numpy(rows)).numpy()
    assert graph.shape == (2, 598, 128)
    np.testing.assert_allclose(graph, normalised_fbank(rows, SECOND), atol=1e-4 if not offset else 5e-4)
    silence = np.zeros((1, SECOND), np.float32)
    np.testing.assert_allclose(
        KaldiFilterBank()(torch.from_numpy(silence)).numpy(), normalised_fbank(silence, SECOND), atol=1e-6
    )


@pytest.mark.parametrize(
    "head", [("attention", "attention"), ("attention", "mean+max"), ("gru", "attention")], ids=str
)
def test_a_head_answers_for_tokens_of_any_number(head, tmp_path):
    network, pool = head
    made = fitted(network, pool=pool)
    exported = export_network(made, tmp_path / "head.onnx", mode="head", n=296)
    assert (exported.opset, exported.n_bytes) == (OPSET, (tmp_path / "head.onnx").stat().st_size)
    answering = session(tmp_path / "head.onnx")
    for n_rows, n_tokens in ((1, 296), (5, 48)):
        tokens = np.random.default_rng(n_tokens).normal(size=(n_rows, n_tokens, WIDTH)).astype(np.float32)
        logits = answering.run(["logits"], {"tokens": tokens})[0]
        np.testing.assert_allclose(logits, made.logits(list(tokens)), atol=1e-4)


def test_all_of_it_answers_for_audio_with_an_offset_as_predict_does(encoder, tmp_path):
    head = fitted("attention")
    path = tmp_path / "full.onnx"
    exported = export_network(
        head, path, mode="full", n=SECOND, encoder=encoder, metadata={"hop_s": 1.5, "window_s": 6.0}
    )
    assert exported.difference <= 1e-4
    model = onnx.load(path)
    facts = {entry.key: json.loads(entry.value) for entry in model.metadata_props}
    assert facts["devices"] == list(DEVICES)
    assert (facts["mode"], facts["sample_rate"], facts["hop_s"]) == ("full", SECOND, 1.5)
    assert model.opset_import[0].version == OPSET
    for rows in (audio(4, 1.0), audio(1, 6.0), audio(2, 2.5)):
        tokens = [
            encoder.encode(torch.from_numpy(normalised_fbank(row, SECOND))[None])[0].detach().half().numpy()
            for row in rows
        ]
        logits = session(path).run(["logits"], {"audio": rows})[0]
        np.testing.assert_allclose(logits, head.logits(tokens), atol=1e-4)


def test_a_network_on_filter_banks_and_one_that_trained_its_encoder(encoder, tmp_path):
    cnn = fitted("cnn", 128)
    rows = audio(2, 3.0)
    for mode, given in (("full", rows), ("head", normalised_fbank(rows, SECOND))):
        path = tmp_path / f"cnn_{mode}.onnx"
        export_network(cnn, path, mode=mode, n=given.shape[1])
        name = session(path).get_inputs()[0].name
        assert name == {"full": "audio", "head": "fbank"}[mode]
        logits = session(path).run(["logits"], {name: given})[0]
        np.testing.assert_allclose(logits, cnn.logits(list(normalised_fbank(rows, SECOND))), atol=1e-4)

    head = fitted("attention")
    last = f"layers.{encoder.n_blocks - 1}.final_norm.bias"
    moved = {ENCODER + last: state(encoder)[last].numpy() + 0.5}
    tuned = FittedHead(DEVICES, WIDTH, head.settings.stage_2(1), head.tensors | moved, 0, encoder=encoder)
    exported = export_network(tuned, tmp_path / "tuned.onnx", mode="full", n=SECOND)
    assert exported.difference <= 1e-4
    with pytest.raises(UsageError, match="trained blocks of its encoder.*mode `full`"):
        export_network(tuned, tmp_path / "head.onnx", mode="head", n=48)


def test_lengths_can_be_fixed(encoder, tmp_path):
    export_network(
        fitted("attention"),
        tmp_path / "f.onnx",
        mode="full",
        n=SECOND,
        encoder=encoder,
        batch=2,
        dynamic=False,
    )
    assert session(tmp_path / "f.onnx").get_inputs()[0].shape == [2, SECOND]


def test_what_differs_is_not_written(encoder, tmp_path, monkeypatch):
    def louder(self, samples):
        return self.network(self.encoder(self.front_end(samples * 1.01)))

    monkeypatch.setattr(FromAudio, "forward", louder)
    with pytest.raises(
        UsageError, match="differs by .* from the model, expected at most 0.0001.*nothing was written"
    ):
        export_network(fitted("attention"), tmp_path / "x.onnx", mode="full", n=SECOND, encoder=encoder)
    assert not list(tmp_path.iterdir())
    with pytest.raises(UsageError, match="needs its encoder"):
        export_network(fitted("attention"), tmp_path / "x.onnx", mode="full", n=SECOND)
    with pytest.raises(UsageError, match="mode 'half' is unknown; expected head or full"):
        export_network(fitted("attention"), tmp_path / "x.onnx", mode="half", n=SECOND)
