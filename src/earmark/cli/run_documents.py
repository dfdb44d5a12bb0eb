"""Runs as JSON: what `earmark runs --format json` prints, and what the JSON API answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from earmark.tasks.verbs.promote import Promotion
    from earmark.training.runs import Comparison, Run

__all__ = ["comparison_document", "promotion_document", "run_row"]


def run_row(run: Run, stage: str | None) -> dict[str, Any]:
    """One run of a list: what it is, its stage, and the value of each score."""
    return {
        "name": run.name,
        "task": run.task,
        "algorithm": run.algorithm,
        "strategy": run.strategy,
        "stage": stage,
        "created": run.config["created"],
        "seconds": run.config.get("seconds"),
        "path": str(run.path),
        "metrics": {name: score["value"] for name, score in run.metrics.items()},
    }


def comparison_document(comparison: Comparison) -> dict[str, Any]:
    """Two runs: their scores, every setting in which they differ, and whether the scores are comparable at all."""
    return {
        "first": comparison.first.name,
        "second": comparison.second.name,
        "comparable": comparison.comparable,
        "metrics": comparison.metrics,
        "config": {key: {"first": a, "second": b} for key, (a, b) in comparison.config.items()},
    }


def promotion_document(promotion: Promotion, stage: str) -> dict[str, Any]:
    """The run that was given a stage, the one before it, and how they differ with a 95 % interval."""
    gap = promotion.difference
    return {
        "task": promotion.run.task,
        "run": promotion.run.name,
        "stage": stage,
        "before": None if promotion.before is None else promotion.before.name,
        "metric": promotion.metric,
        "difference": None if gap is None else gap.value,
        "low": None if gap is None else gap.low,
        "high": None if gap is None else gap.high,
        "losses": list(promotion.losses),
    }
