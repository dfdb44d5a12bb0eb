"""A checkpoint in the published form of BEATs with random weights, and the network of another hand to compare with.

Gains and biases of the norms are random too, so that none can be left out unseen.
"""

from __future__ import annotations

import importlib.util
import sys
import tempfile
import types
import warnings
from pathlib import Path
from typing import Any
from unittest import mock

import torch

__all__ = [
    "PUBLISHED_CFG",
    "checkpoint",
    "independent",
    "independent_tokens",
    "small_cfg",
    "write_checkpoint",
]

_NAME = "speechbrain_lobes_models_beats"

PUBLISHED_CFG: dict[str, Any] = {
    "encoder_layers": 12, "encoder_embed_dim": 768, "encoder_ffn_embed_dim": 3072, "encoder_attention_heads": 12,
    "activation_fn": "gelu", "dropout": 0.0, "attention_dropout": 0.0, "activation_dropout": 0.0,
    "encoder_layerdrop": 0.05, "dropout_input": 0.0, "layer_norm_first": False, "conv_bias": False, "conv_pos": 128,
    "conv_pos_groups": 16, "relative_position_embedding": True, "num_buckets": 320, "max_distance": 800,
    "gru_rel_pos": True, "deep_norm": True, "input_patch_size": 16, "layer_wise_gradient_decay_ratio": 1.0,
    "embed_dim": 512, "finetuned_model": False,
}  # fmt: skip
"""The base size."""


def small_cfg(**changes: Any) -> dict[str, Any]:
    """A network of the same form that fits into a test."""
    small = {
        "encoder_layers": 3, "encoder_embed_dim": 48, "encoder_ffn_embed_dim": 64, "encoder_attention_heads": 4,
        "embed_dim": 32, "conv_pos": 8, "conv_pos_groups": 4, "num_buckets": 20, "max_distance": 40,
        "predictor_class": 5,
    }  # fmt: skip
    return {**PUBLISHED_CFG, **small, **changes}


def checkpoint(cfg: dict[str, Any], *, seed: int = 5, newer_names: bool = False) -> dict[str, Any]:
    """The dictionary that `torch.save` writes: cfg and model, named as published."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int, mean: float = 0.0, std: float | None = None) -> torch.Tensor:
        spread = (shape[-1] ** -0.5 if len(shape) > 1 else 0.3) if std is None else std
        return mean + spread * torch.randn(*shape, generator=generator)

    width, inner, heads = (
        cfg[f"encoder_{name}"] for name in ("embed_dim", "ffn_embed_dim", "attention_heads")
    )
    tensors: dict[str, torch.Tensor] = {}

    def linear(name: str, n_out: int, n_in: int) -> None:
        tensors.update({f"{name}.weight": draw(n_out, n_in), f"{name}.bias": draw(n_out)})

    def norm(name: str, n: int) -> None:
        tensors.update({f"{name}.weight": draw(n, mean=1.0), f"{name}.bias": draw(n)})

    side = cfg["input_patch_size"]
    tensors["patch_embedding.weight"] = draw(cfg["embed_dim"], 1, side, side, std=1 / side)
    if cfg["conv_bias"]:
        tensors["patch_embedding.bias"] = draw(cfg["embed_dim"])
    norm("layer_norm", cfg["embed_dim"])
    if cfg["embed_dim"] != width:
        linear("post_extract_proj", width, cfg["embed_dim"])
    gain, direction = (
        ("parametrizations.weight.original0", "parametrizations.weight.original1")
        if newer_names
        else ("weight_g", "weight_v")
    )
    kernel = cfg["conv_pos"]
    tensors[f"encoder.pos_conv.0.{gain}"] = draw(1, 1, kernel, mean=1.0)
    tensors[f"encoder.pos_conv.0.{direction}"] = draw(width, width // cfg["conv_pos_groups"], kernel)
    tensors["encoder.pos_conv.0.bias"] = draw(width)
    norm("encoder.layer_norm", width)
    distances = draw(cfg["num_buckets"], heads, std=1.0)
    for number in range(cfg["encoder_layers"]):
        layer = f"encoder.layers.{number}"
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            linear(f"{layer}.self_attn.{part}", width, width)
        if cfg["relative_position_embedding"]:
            tensors[f"{layer}.self_attn.relative_attention_bias.weight"] = distances.clone()
        if cfg["gru_rel_pos"]:
            linear(f"{layer}.self_attn.grep_linear", 8, width // heads)
            tensors[f"{layer}.self_attn.grep_a"] = draw(1, heads, 1, 1, mean=1.0, std=0.3)
        linear(f"{layer}.fc1", inner, width)
        linear(f"{layer}.fc2", width, inner)
        norm(f"{layer}.self_attn_layer_norm", width)
        norm(f"{layer}.final_layer_norm", width)
    if cfg["finetuned_model"]:
        linear("predictor", cfg["predictor_class"], width)
    return {"cfg": cfg, "model": tensors}


def write_checkpoint(path: Path, **changes: Any) -> Path:
    """A small checkpoint on disk."""
    torch.save(checkpoint(small_cfg(**changes)), path)
    return path


def independent(loaded: dict[str, Any]) -> Any:
    """The same weights in the network of speechbrain, in evaluation mode; None where it is not installed.

    Only that one module is loaded; what it imports besides serves waveforms, which it is never given here.
    """
    published = _speechbrain_beats()
    if published is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "published.pt")
        torch.save({"cfg": loaded["cfg"], "model": _newer(loaded["model"])}, path)
        return published.BEATs(str(path)).eval()


def independent_tokens(
    network: Any, fbank: torch.Tensor, padding: torch.Tensor | None = None
) -> torch.Tensor:
    """Its tokens of scaled filter banks; the padding is of frames."""
    with mock.patch.object(network, "preprocess", lambda source, mean, std: source):
        # Its own rule from relative lengths to samples is passed by: the mask of the frames is handed in.
        mask = torch.zeros(fbank.shape[:2], dtype=torch.bool) if padding is None else padding
        with mock.patch.object(sys.modules[_NAME], "length_to_mask", lambda *_, **__: (~mask).int()):
            tokens: torch.Tensor = network.extract_features(fbank, torch.ones(len(fbank)))[0]
    return tokens


def _newer(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Under the names of the newer weight norm, which are the only ones that network takes."""
    names = {"weight_g": "parametrizations.weight.original0", "weight_v": "parametrizations.weight.original1"}
    return {
        next((name.replace(old, new) for old, new in names.items() if name.endswith(old)), name): tensor
        for name, tensor in tensors.items()
    }


def _speechbrain_beats() -> Any:
    if _NAME in sys.modules:
        return sys.modules[_NAME]
    found = importlib.util.find_spec("speechbrain")
    if found is None or not found.submodule_search_locations:
        return None
    path = Path(next(iter(found.submodule_search_locations)), "lobes", "models", "beats.py")
    spec = importlib.util.spec_from_file_location(_NAME, path)
    if spec is None or spec.loader is None:
        return None
    module = importlib.util.module_from_spec(spec)
    empty = ("torchaudio", "torchaudio.compliance", "torchaudio.compliance.kaldi", "speechbrain")
    stand_ins = {
        name: types.ModuleType(name) for name in (*empty, "speechbrain.dataio", "speechbrain.dataio.dataio")
    }
    stand_ins["speechbrain.dataio.dataio"].length_to_mask = None  # type: ignore[attr-defined]
    with mock.patch.dict(sys.modules, stand_ins), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        spec.loader.exec_module(module)
    sys.modules[_NAME] = module
    return module
