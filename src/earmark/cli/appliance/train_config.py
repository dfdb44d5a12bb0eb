"""`train appliance --config FILE`: options of a training as a YAML file of the earlier tool had them.

::

    model: {type: cnn}
    training: {epochs: 12, batch_size: 16, lr: 0.001, seed: 13, augment: true}
    splits: {mode: ranges, train_s: 100, val_s: 30, test_s: 30, gap_s: 10, test_at_end: true}

An option on the command line wins over the file. The tables ``audio``, ``inference``, ``smoothing`` and ``hysteresis``
of such a file are passed over, and it is said: windows are cut by `prepare`, and how answers are smoothed is chosen by
`thresholds`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

__all__ = ["with_config"]

_OTHERS = {
    "audio": "prepare appliance",
    "inference": "live appliance",
    "smoothing": "thresholds appliance",
    "hysteresis": "thresholds appliance",
}
"""Table -> the command that decides what it holds."""

_OPTIONS = {
    "model": {"type": "model", "name": "model", "pool": "pool", "checkpoint_path": "beats_checkpoint"},
    "training": {
        name: name
        for name in (
            "epochs",
            "batch_size",
            "weight_decay",
            "warmup_steps",
            "patience",
            "seed",
            "augment",
            "c",
            "device",
        )
    }
    | {"lr": "lr_head", "lr_head": "lr_head", "lr_beats": "lr_beats", "C": "c"},
    "splits": {"mode": "protocol", "split_mode": "protocol", "train_split": "train_split", "gap_s": "gap_s"},
}
"""Table -> its names as options."""

_RANGES = ("train_s", "val_s", "test_s", "test_at_end")
"""Names of ``splits`` that are settings of protocol `ranges` alone."""


def with_config(given: Mapping[str, Any], path: Path, tell: Callable[[str], None]) -> dict[str, Any]:
    """The options of the command line, and what the file says of those that were not given.

    Raises
    ------
    UsageError
        The file is no such file, or holds a name or value that no option has; all are told.
    """
    from earmark.errors import UsageError

    document = _read(path)
    problems = list(_problems(document))
    if problems:
        raise UsageError(
            f"`{path}` cannot be used: {'; '.join(problems)}. Correct it, or give options instead."
        )
    for table in (table for table in document if table in _OTHERS):
        tell(f"Note: `{table}` of {path} was passed over; it is of earmark {_OTHERS[table]}.")
    found = dict(_named(document))
    ranges = {
        name: document.get("splits", {})[name] for name in _RANGES if name in document.get("splits", {})
    }
    chosen = {name: value for name, value in found.items() if given[name] is None}
    return {**given, **_checked(chosen, path), "protocol_settings": ranges}


def _read(path: Path) -> dict[str, Any]:
    import yaml

    from earmark.errors import UsageError

    try:
        document = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"`{path}` cannot be read ({error}); expected YAML. Correct it.") from error
    if not isinstance(document, dict) or not all(isinstance(table, dict) for table in document.values()):
        raise UsageError(f"`{path}` holds no tables; expected {', '.join(_OPTIONS)}. Correct it.")
    return document


def _problems(document: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    for table, values in document.items():
        if table not in _OPTIONS and table not in _OTHERS:
            yield f"there is no table `{table}`; known are {', '.join((*_OPTIONS, *_OTHERS))}"
        elif table in _OPTIONS:
            known = (*_OPTIONS[table], *(_RANGES if table == "splits" else ()))
            unknown = [name for name in values if name not in known]
            if unknown:
                yield f"`{table}` has no {', '.join(map(str, unknown))}; known are {', '.join(known)}"


def _named(document: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, Any]]:
    """Option and value; ``augment`` may be yes or no, which stands for the earlier tool's own preset."""
    for table, values in document.items():
        for name, value in values.items():
            if name in _OPTIONS.get(table, ()):
                option = _OPTIONS[table][name]
                is_switch = option == "augment" and isinstance(value, bool)
                yield option, ("g2" if value else "none") if is_switch else value


def _checked(values: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The values as the options of the command line would have them."""
    import click

    from earmark.cli.appliance.train import train
    from earmark.errors import UsageError

    options = {option.name: option for option in train.params}
    found, problems = {}, []
    for name, value in values.items():
        try:
            found[name] = options[name].type.convert(value, options[name], None)
        except click.UsageError as error:
            problems.append(f"{name} is {value!r}: {error.format_message()}")
    if problems:
        raise UsageError(f"`{path}` cannot be used: {'; '.join(problems)} Correct it.")
    return found
