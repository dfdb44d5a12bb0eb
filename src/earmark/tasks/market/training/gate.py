"""The gate of promotion: what a run must show on the test part before predictions may use it.

Accuracy of at least `min_accuracy`, and a macro-F1 whose lower 95 % bound (bootstrap over blocks of time) lies above
the macro-F1 of the best baseline on the same windows. So a model that gives one answer never passes, whatever share of
the windows that answer fits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from earmark.evaluation.result import Evaluation

__all__ = ["GateOutcome", "judge"]


@dataclass(frozen=True)
class GateOutcome:
    """What was asked of a run and what was measured.

    ``constant`` is the class that the model answers to every window, None where it answers more than one.
    """

    min_accuracy: float
    accuracy: float
    macro_f1: float
    macro_f1_low: float
    baseline: str
    baseline_macro_f1: float
    constant: str | None = None

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it is refused, as sentences; a bound that is not defined does not pass."""
        found = []
        if not self.accuracy >= self.min_accuracy:
            found.append(f"accuracy is {self.accuracy:.3f}, expected at least {self.min_accuracy:g}")
        if not self.macro_f1_low > self.baseline_macro_f1:
            found.append(
                f"the lower bound of macro-F1 is {self.macro_f1_low:.3f}, expected more than the "
                f"{self.baseline_macro_f1:.3f} of the baseline {self.baseline}"
            )
        if self.constant is not None:
            found.append(f"it answers {self.constant} to everything")
        return tuple(found)

    @property
    def passed(self) -> bool:
        """Whether nothing speaks against it."""
        return not self.reasons

    def to_json(self) -> dict[str, Any]:
        """For run.toml, the command and the page; bounds that are not defined stay NaN."""
        return asdict(self) | {"passed": self.passed, "reasons": list(self.reasons)}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> GateOutcome:
        """What `to_json` gave."""
        known: dict[str, Any] = {
            field.name: record[field.name] for field in fields(cls) if field.name in record
        }
        return cls(**known)

    def sentence(self) -> str:
        """Whether it passed, and why not."""
        if not self.passed:
            return f"The gate is not passed: {'; '.join(self.reasons)}."
        return (
            f"The gate is passed: accuracy {self.accuracy:.3f} (asked {self.min_accuracy:g}), macro-F1 at least "
            f"{self.macro_f1_low:.3f} against {self.baseline_macro_f1:.3f} of the baseline {self.baseline}."
        )


def judge(evaluation: Evaluation, min_accuracy: float) -> GateOutcome:
    """The outcome of an evaluation of the test part, with its baselines."""
    from earmark.evaluation.metrics import METRICS

    scores = {
        baseline.name: float(METRICS["macro_f1"].function(evaluation.y, baseline.probabilities))
        for baseline in evaluation.baselines
    }
    best = max(scores, key=lambda name: scores[name])
    macro_f1, answers = evaluation.metrics["macro_f1"], set(evaluation.p.argmax(axis=1).tolist())
    return GateOutcome(
        min_accuracy=min_accuracy,
        accuracy=evaluation.metrics["accuracy"].value,
        macro_f1=macro_f1.value,
        macro_f1_low=macro_f1.low,
        baseline=best,
        baseline_macro_f1=scores[best],
        constant=evaluation.classes[answers.pop()] if len(answers) == 1 else None,
    )
