"""What an extraction already has and what it must compute.

The plan asks the cache first. When all keys are present no audio is opened: a warm run costs one ``stat`` per item
and one read per entry. Items with equal content share one computation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from earmark.cache.entries import FeatureCache
from earmark.cache.fingerprint import Fingerprint
from earmark.errors import UsageError
from earmark.features.compute import ItemError, describe
from earmark.features.group import FeatureGroup, fingerprints
from earmark.features.item import Item
from earmark.features.table import FeatureTable, ItemFailure
from earmark.features.worker import Job

__all__ = ["Plan"]


@dataclass(frozen=True, slots=True)
class _Block:
    """One group's results: a slice of the value matrix for vectors, a list of arrays otherwise; and what is found."""

    group: FeatureGroup
    found: np.ndarray
    values: np.ndarray | None
    arrays: list[np.ndarray | None]

    def fill(self, index: int, array: np.ndarray) -> None:
        if self.values is not None:
            self.values[index] = array
        else:
            self.arrays[index] = array
        self.found[index] = True


class Plan:
    """Results found and results missing for a list of items and groups.

    Use `make`; the extractor feeds outcomes back through `accept` and `reject`.
    """

    def __init__(
        self, groups: Sequence[FeatureGroup], items: Sequence[Item], cache: FeatureCache | None
    ) -> None:
        self.groups = tuple(groups)
        self.items = tuple(items)
        self.cache = cache
        self.fingerprints: dict[str, Fingerprint] = {}
        self.identities: list[bytes | None] = []
        self.failures: dict[int, ItemFailure] = {}
        widths = [len(group.columns) if group.kind == "vector" else 0 for group in self.groups]
        self.values = np.zeros((len(self.items), sum(widths)), dtype=np.float32)
        ends = np.cumsum(widths)
        self.blocks = {
            group.name: _Block(
                group,
                np.zeros(len(self.items), dtype=bool),
                self.values[:, end - width : end] if group.kind == "vector" else None,
                [] if group.kind == "vector" else [None] * len(self.items),
            )
            for group, width, end in zip(self.groups, widths, ends, strict=True)
        }

    @classmethod
    def make(
        cls,
        groups: Sequence[FeatureGroup],
        items: Iterable[Item],
        cache: FeatureCache | None,
        *,
        retry_failed: bool = False,
    ) -> Plan:
        """Identify the items, fingerprint the groups and read what the cache holds.

        Raises
        ------
        UsageError
            Two groups share a name, two items an id, or there is no group.
        FingerprintError
            A group's code cannot be followed.
        """
        plan = cls(groups, list(items), cache)
        _refuse_repeats(plan.groups, plan.items)
        plan._fingerprint()
        plan._identify()
        plan._read_cache(retry_failed)
        return plan

    def jobs(self) -> list[Job]:
        """Items to compute, one job per distinct content, in manifest order."""
        missing = {
            index: names for index in self._first_of_content().values() if (names := self.missing(index))
        }
        given = self._reusable(missing)
        return [Job(index, self.items[index].uri, names, given[index]) for index, names in missing.items()]

    def _reusable(self, missing: Mapping[int, tuple[str, ...]]) -> dict[int, dict[str, np.ndarray]]:
        """Per item to compute, rows of groups that the missing ones reuse, as far as they are known."""
        given: dict[int, dict[str, np.ndarray]] = {index: {} for index in missing}
        reused = {name: found for group in self.groups for name, found in group.all_reused.items()}
        if self.cache is None or not missing or not reused:
            return given
        others = [group for name, group in reused.items() if name not in self.fingerprints]
        known_prints = {**self.fingerprints, **(fingerprints(others, self.cache.reads()) if others else {})}
        for name in reused:
            users = {user.name for user in self.groups if name in user.all_reused}
            wanted = [
                index for index, names in missing.items() if name not in names and users.intersection(names)
            ]
            identities = [identity for index in wanted if (identity := self.identities[index]) is not None]
            known = self.cache.get_many(known_prints[name].digest, identities)
            for index, rows in zip(wanted, known, strict=True):
                if rows is not None:
                    given[index][name] = rows
        return given

    def missing(self, index: int) -> tuple[str, ...]:
        """Groups of item `index` that are neither found nor known to fail."""
        if index in self.failures:
            return ()
        return tuple(name for name, block in self.blocks.items() if not block.found[index])

    def accept(self, index: int, group: str, array: np.ndarray) -> None:
        """Take in a result; every item with the same content gets it."""
        for twin in self._twins(index):
            self.blocks[group].fill(twin, array)

    def reject(self, index: int, group: str | None, error: ItemError, *, remembered: bool = False) -> None:
        """Set an item, and every item with the same content, aside."""
        for twin in self._twins(index):
            item = self.items[twin]
            failure = ItemFailure(item.id, item.uri, error.message, error.kind, group, remembered)
            self.failures.setdefault(twin, failure)

    def table(self, computed: Mapping[str, int], seconds: Mapping[str, float]) -> FeatureTable:
        """Rows of the items that have every group, in manifest order."""
        kept = [
            index
            for index in range(len(self.items))
            if index not in self.failures and not self.missing(index)
        ]
        return FeatureTable(
            ids=tuple(self.items[index].id for index in kept),
            columns=tuple(
                name for group in self.groups if group.kind == "vector" for name in group.column_names
            ),
            values=self.values[kept],
            failures=tuple(self.failures[index] for index in sorted(self.failures)),
            computed={group.name: computed.get(group.name, 0) for group in self.groups},
            seconds=dict(seconds),
            arrays={
                name: [array for index in kept if (array := block.arrays[index]) is not None]
                for name, block in self.blocks.items()
                if block.values is None
            },
            fingerprints={name: fingerprint.digest for name, fingerprint in self.fingerprints.items()},
        )

    def refresh_fingerprints(self) -> dict[str, bytes]:
        """Fingerprint again, after a data file was seen to be read; returns the old digests of what changed."""
        before = {name: fingerprint.digest for name, fingerprint in self.fingerprints.items()}
        self._fingerprint()
        return {name: old for name, old in before.items() if self.fingerprints[name].digest != old}

    def _fingerprint(self) -> None:
        known_reads = self.cache.reads() if self.cache else {}
        self.fingerprints = fingerprints(self.groups, known_reads)

    def _identify(self) -> None:
        if self.cache is None:
            self.identities = [f"item {index}".encode() for index in range(len(self.items))]
            return
        answers = self.cache.identify_many([item.uri for item in self.items])
        self.identities = [None if isinstance(answer, Exception) else answer for answer in answers]
        for index, answer in enumerate(answers):
            if isinstance(answer, Exception):
                item, error = self.items[index], describe(answer)
                self.failures[index] = ItemFailure(item.id, item.uri, error.message, error.kind)

    def _read_cache(self, retry_failed: bool) -> None:
        if self.cache is None:
            return
        known = [index for index, identity in enumerate(self.identities) if identity is not None]
        identities = [identity for identity in self.identities if identity is not None]
        for name, block in self.blocks.items():
            digest = self.fingerprints[name].digest
            if block.values is not None:
                values, found = self.cache.stack(digest, identities, block.values.shape[1])
                block.values[known], block.found[known] = values, found
            else:
                for index, array in zip(known, self.cache.get_many(digest, identities), strict=True):
                    if array is not None:
                        block.fill(index, array)
            if not retry_failed:
                self._recall_failures(name, digest)

    def _recall_failures(self, group: str, digest: bytes) -> None:
        assert self.cache is not None
        missing = [
            (index, identity)
            for index, identity in enumerate(self.identities)
            if identity is not None and not self.blocks[group].found[index]
        ]
        known = self.cache.failures(digest, [identity for _, identity in missing])
        for (index, _), failure in zip(missing, known, strict=True):
            if failure is not None:
                error = ItemError(failure.error, failure.kind, lasting=True)
                self.reject(index, group, error, remembered=True)

    def _first_of_content(self) -> dict[bytes, int]:
        first: dict[bytes, int] = {}
        for index, identity in enumerate(self.identities):
            if identity is not None:
                first.setdefault(identity, index)
        return first

    def _twins(self, index: int) -> list[int]:
        if not hasattr(self, "_by_identity"):
            self._by_identity: dict[bytes | None, list[int]] = {}
            for position, identity in enumerate(self.identities):
                self._by_identity.setdefault(identity, []).append(position)
        identity = self.identities[index]
        return [index] if identity is None else self._by_identity[identity]


def _refuse_repeats(groups: Sequence[FeatureGroup], items: Sequence[Item]) -> None:
    if not groups:
        raise UsageError("no feature group was given; name at least one.")
    for what, names in (
        ("feature group", [group.name for group in groups]),
        ("item id", [item.id for item in items]),
    ):
        if len(set(names)) != len(names):
            repeated = sorted({name for name in names if names.count(name) > 1})
            raise UsageError(
                f"{what} {', '.join(map(repr, repeated[:5]))} occurs twice; each must be unique."
            )
