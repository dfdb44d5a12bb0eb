"""Plain sentences about a hypothesis: what it means to a listener, and how to tell it from its rival."""

from __future__ import annotations

from collections.abc import Sequence

from earmark.tasks.meter.analysis.hypotheses import Hypothesis

__all__ = ["describe", "hint"]

_NUMBERS = (
    "no",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
)
_NAMED = {
    "2/4": "Two beats in a bar, as in a march or a polka",
    "3/4": "Three beats in a bar, as in a waltz",
    "4/4": "Four beats in a bar, the commonest meter",
    "6/8": "Two beats in a bar, each of three eighths, as in a jig",
    "12/8": "Four beats in a bar, each of three eighths, as in a slow blues",
}
_COMPOUND_PAIRS = ({"3/4", "6/8"}, {"4/4", "12/8"})


def describe(one: Hypothesis) -> str:
    """One sentence about the bar, and how its groups are known."""
    beats = _NUMBERS[one.numerator]
    words = _NAMED.get(one.meter, f"{beats.capitalize()} {_unit(one)} in a bar")
    if len(one.grouping) < 2 or one.meter in _NAMED:
        return f"{words}."
    known = "heard in the accents" if one.grouping_measured else "the usual order, not measured"
    return f"{words}, grouped {'+'.join(map(str, one.grouping))} ({known})."


def hint(one: Hypothesis, others: Sequence[Hypothesis]) -> str:
    """How a listener can tell a hypothesis from the most probable other one; empty without another."""
    rival = next((other for other in others if other.meter != one.meter), None)
    if rival is None:
        return ""
    if {one.meter, rival.meter} in _COMPOUND_PAIRS:
        return (
            f"Listen between the beats: three even notes to a beat speak for {_compound(one, rival)}, two or four for "
            f"{_simple(one, rival)}."
        )
    return (
        f"Count from one strong beat to the next: {_count(one)} makes it {one.meter}, {_count(rival)} makes it "
        f"{rival.meter}."
    )


def _unit(one: Hypothesis) -> str:
    return "eighths" if one.denominator == 8 else "beats"


def _count(one: Hypothesis) -> str:
    return _NUMBERS[one.numerator]


def _compound(*pair: Hypothesis) -> str:
    return next(one.meter for one in pair if one.denominator == 8)


def _simple(*pair: Hypothesis) -> str:
    return next(one.meter for one in pair if one.denominator == 4)
