"""Feature groups: a function from a clip to named columns, with what the engine must know to run and key it.

A group is declared once, at the function::

    @feature_group("mine.loudness", columns=("mean", "peak"), sample_rate=16_000)
    def loudness(clip):
        return [abs(clip.samples).mean(), abs(clip.samples).max()]

Kinds
-----
``vector``
    one row per item: the function returns ``n_columns`` numbers.
``frames``
    one row per ``frame_s`` seconds: the function returns shape ``(n_frames, n_columns)``.
``embedding``
    one row per window of a model: shape ``(n_windows, n_columns)``.
``events``
    one row per event, such as a beat: shape ``(n_events, n_columns)``, none included; a column tells when.

A column's full name is ``group.column``; equal bare names in two groups are different columns. Neither the group's
name nor its column names are part of the cache key: renaming recomputes nothing.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from earmark.audio.clip import Clip
from earmark.audio.decode import decode
from earmark.cache.fingerprint import Fingerprint, Request, fingerprint_many
from earmark.errors import InputError, SchemaError, TooShortError, UsageError

__all__ = ["KINDS", "FeatureGroup", "feature_group", "fingerprints"]

KINDS = ("vector", "frames", "embedding", "events")
DTYPES = ("float32", "float16")

Feature = Callable[..., Any]


@dataclass(frozen=True, eq=False)
class FeatureGroup:
    """A feature function with its declaration; call it on a `Clip` to get its rows.

    Parameters
    ----------
    name : str
        Dotted name, ``task.group``.
    columns : tuple of str
        Names of the columns, in the order the function returns them.
    function : callable
        ``function(clip, **parameters)``.
    sample_rate : int
        Rate in Hz at which the engine decodes for this group.
    kind : {"vector", "frames", "embedding", "events"}
        Shape of the result, see the module.
    parameters : mapping
        Keyword arguments of the function; part of the cache key.
    frame_s : float or None
        Length of a frame in seconds, for ``frames``.
    lookahead_s : float or mapping of column to float
        How far beyond the end of a frame its value may depend on the signal; ``inf`` for the whole item.
    depends_on : tuple
        Code, values and files that the walk over the code cannot see.
    min_duration_s : float
        Shorter items are set aside with `TooShortError`.
    allow_nan : bool
        Whether NaN stands for "missing" in this group; otherwise a value that is not finite is an error.
    reuses : tuple of FeatureGroup
        Groups whose rows the function asks for by `on`; where the cache has them, they are not computed again.
    dtype : {"float32", "float16"}
        What rows are kept as; float16 halves what the rows of a large network take. Vectors are float32.
    """

    name: str
    columns: tuple[str, ...]
    function: Feature
    sample_rate: int
    kind: str = "vector"
    parameters: Mapping[str, Any] = field(default_factory=dict)
    frame_s: float | None = None
    lookahead_s: float | Mapping[str, float] = float("inf")
    depends_on: tuple[Any, ...] = ()
    min_duration_s: float = 0.0
    allow_nan: bool = False
    reuses: tuple[FeatureGroup, ...] = ()
    dtype: str = "float32"

    def __post_init__(self) -> None:
        problems = list(_declaration_problems(self))
        if problems:
            raise UsageError(
                f"feature group `{self.name}`: " + "; ".join(problems) + ". Correct its declaration."
            )

    def __call__(self, clip: Clip) -> np.ndarray:
        """Compute the group on a clip.

        Returns
        -------
        ndarray of `dtype`
            Shape ``(n_columns,)`` for vectors, else ``(n_rows, n_columns)``.

        Raises
        ------
        TooShortError
            The clip is shorter than ``min_duration_s``.
        SchemaError
            The function returned another shape than declared.
        InputError
            The function returned NaN or infinity and the group does not allow it.
        """
        if clip.duration_s < self.min_duration_s:
            raise TooShortError(
                f"{clip.uri or 'clip'} has {clip.duration_s:.1f} s of audio; {self.name} needs at least "
                f"{self.min_duration_s:g} s. Remove it from the manifest or give a longer recording."
            )
        rows = self.function(clip, **self.parameters)
        with np.errstate(over="ignore"):  # what a dtype cannot hold becomes infinity, which is checked
            return self._checked(np.asarray(rows, dtype=self.dtype), clip)

    def on(self, clip: Clip) -> np.ndarray:
        """The group's rows on a clip, as calling it gives them: computed once per clip, or handed in from the cache.

        A feature function that builds on another group asks for it this way and names it in `reuses`.
        """
        rows = clip.memo(_rows_of)
        if self._key not in rows:
            rows[self._key] = self(clip)
        return rows[self._key]

    def hand_in(self, clip: Clip, rows: np.ndarray) -> None:
        """Say what the group gives on a clip; `on` then returns it."""
        clip.memo(_rows_of)[self._key] = rows

    @property
    def all_reused(self) -> dict[str, FeatureGroup]:
        """By name, the groups in `reuses` and those that they reuse in turn."""
        found: dict[str, FeatureGroup] = {}
        for group in self.reuses:
            found |= {group.name: group, **group.all_reused}
        return found

    @property
    def _key(self) -> tuple[Feature, str]:
        return self.function, repr(self.signature)

    @property
    def column_names(self) -> tuple[str, ...]:
        """Full names, ``group.column``."""
        return tuple(f"{self.name}.{column}" for column in self.columns)

    @property
    def signature(self) -> dict[str, Any]:
        """The part of the declaration that changes values, and so joins the cache key."""
        return {
            "kind": self.kind,
            "sample_rate": self.sample_rate,
            "frame_s": self.frame_s,
            "min_duration_s": self.min_duration_s,
            "allow_nan": self.allow_nan,
            **({} if self.dtype == DTYPES[0] else {"dtype": self.dtype}),
            **{f"parameter {key}": value for key, value in self.parameters.items()},
        }

    def fingerprint(self, known_reads: Mapping[str, Sequence[str | Path]] | None = None) -> Fingerprint:
        """Hash of all code, parameters, libraries and data files that this group's values depend on.

        The decoder and `Clip` are roots too: what they do to the samples is part of every feature.
        """
        return fingerprints([self], known_reads)[self.name]

    def with_parameters(self, name: str | None = None, **parameters: Any) -> FeatureGroup:
        """The same function with other parameters, under a name of its own."""
        return replace(self, name=name or self.name, parameters={**self.parameters, **parameters})

    def _checked(self, values: np.ndarray, clip: Clip) -> np.ndarray:
        n_columns = len(self.columns)
        expected = f"({n_columns},)" if self.kind == "vector" else f"(n, {n_columns})"
        right = values.shape == (n_columns,) if self.kind == "vector" else values.shape[1:] == (n_columns,)
        if not right or values.ndim != (1 if self.kind == "vector" else 2):
            raise SchemaError(
                f"`{self.name}` returned shape {values.shape}; its {n_columns} columns promise {expected}. "
                "Correct the function or its columns."
            )
        if not self.allow_nan and not np.isfinite(values).all():
            bad = ~np.isfinite(values).reshape(-1, n_columns).all(axis=0)
            names = ", ".join(name for name, is_bad in zip(self.columns, bad, strict=True) if is_bad)
            raise InputError(
                f"`{self.name}` gave NaN or infinity in {names} for {clip.uri or 'clip'}; a feature is a finite "
                "number. Decide the value of the degenerate case, or declare allow_nan=True."
            )
        return values

    def __fingerprint__(self) -> object:
        """What of a group counts where another group's code reaches it; its name and its columns' names do not."""
        return (self.function, self.signature)

    def __reduce__(self) -> tuple[Any, ...]:
        # A decorated function's name leads to the group, not to the function, so pickling the function by name
        # would fail or copy its code. Send the group's own name where a worker can import it.
        module, qualname = self.function.__module__, self.function.__qualname__
        declared = None if module == "__main__" else _lookup(module, qualname)
        if declared is self:
            return (_lookup, (module, qualname))
        fields = {key: getattr(self, key) for key in self.__dataclass_fields__}
        if isinstance(declared, FeatureGroup) and declared.function is self.function:
            del fields["function"]
            return (_variant, (module, qualname, fields))
        # The code of another group may name this one; the worker must then have the same object, not an equal one.
        return (_rebuild, (fields, module, _name_of(self, module)))


def feature_group(
    name: str,
    *,
    columns: Sequence[str],
    sample_rate: int,
    kind: str = "vector",
    parameters: Mapping[str, Any] | None = None,
    frame_s: float | None = None,
    lookahead_s: float | Mapping[str, float] = float("inf"),
    depends_on: Sequence[Any] = (),
    min_duration_s: float = 0.0,
    allow_nan: bool = False,
    reuses: Sequence[FeatureGroup] = (),
    dtype: str = "float32",
) -> Callable[[Feature], FeatureGroup]:
    """Declare the decorated function a feature group; parameters as in `FeatureGroup`."""

    def declare(function: Feature) -> FeatureGroup:
        return FeatureGroup(
            name=name,
            columns=tuple(columns),
            function=function,
            sample_rate=sample_rate,
            kind=kind,
            parameters=dict(parameters or {}),
            frame_s=frame_s,
            lookahead_s=lookahead_s,
            depends_on=tuple(depends_on),
            min_duration_s=min_duration_s,
            allow_nan=allow_nan,
            reuses=tuple(reuses),
            dtype=dtype,
        )

    return declare


def fingerprints(
    groups: Sequence[FeatureGroup], known_reads: Mapping[str, Sequence[str | Path]] | None = None
) -> dict[str, Fingerprint]:
    """Fingerprint of each group by its name; code that groups share is walked once."""
    requests = [
        Request(
            (group.function, decode, Clip),
            group.signature,
            (*group.depends_on, *group.reuses),
            known_reads or {},
        )
        for group in groups
    ]
    return dict(zip([group.name for group in groups], fingerprint_many(requests), strict=True))


def _rows_of(clip: Clip) -> dict[tuple[Feature, str], np.ndarray]:
    """Rows of groups on this clip, filled as they are asked for; called through ``clip.memo``."""
    return {}


def _declaration_problems(group: FeatureGroup) -> list[str]:
    problems = []
    if not group.name or not all(part.replace("_", "a").isalnum() for part in group.name.split(".")):
        problems.append(f"name {group.name!r} must be dotted words of letters, digits and _")
    if not group.columns:
        problems.append("no columns")
    repeated = sorted({column for column in group.columns if group.columns.count(column) > 1})
    if repeated:
        problems.append(f"columns named twice: {', '.join(repeated)}")
    if group.kind not in KINDS:
        problems.append(f"kind {group.kind!r} must be one of {', '.join(KINDS)}")
    if group.kind == "frames" and not group.frame_s:
        problems.append("frames need frame_s, the length of a frame in seconds")
    if group.dtype not in DTYPES or (group.kind == "vector" and group.dtype != DTYPES[0]):
        problems.append(f"dtype {group.dtype!r} must be {' or '.join(DTYPES)}, and {DTYPES[0]} for vectors")
    if group.sample_rate <= 0:
        problems.append(f"sample_rate {group.sample_rate} must be a rate in Hz")
    if isinstance(group.lookahead_s, Mapping) and set(group.lookahead_s) - set(group.columns):
        problems.append(
            f"lookahead_s names unknown columns {sorted(set(group.lookahead_s) - set(group.columns))}"
        )
    return problems


def _lookup(module: str, qualname: str) -> Any:
    owner: Any = sys.modules.get(module)
    if owner is None:
        try:
            owner = importlib.import_module(module)
        except ImportError:
            return None
    for part in qualname.split("."):
        owner = vars(owner).get(part) if hasattr(owner, "__dict__") else None
        if owner is None:
            return None
    return owner


def _name_of(group: FeatureGroup, module: str) -> str | None:
    """The name under which a module that can be imported holds the group itself, where that is not its function's."""
    if module == "__main__" or module not in sys.modules:
        return None
    return next((name for name, value in vars(sys.modules[module]).items() if value is group), None)


def _variant(module: str, qualname: str, fields: dict[str, Any]) -> FeatureGroup:
    declared: FeatureGroup = _lookup(module, qualname)
    return replace(declared, **fields)


def _rebuild(fields: dict[str, Any], module: str, name: str | None) -> FeatureGroup:
    known = None if name is None else _lookup(module, name)
    return known if isinstance(known, FeatureGroup) else FeatureGroup(**fields)
