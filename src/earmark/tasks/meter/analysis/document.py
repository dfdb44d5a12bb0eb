"""An analysis as JSON: the form that `predict`, `stream`, `live` and the page share, and its JSON schema.

Conventions: times in seconds to 0.1 ms, BPM to 0.01, shares to 0.0001; null where nothing was heard.
"""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

from earmark.tasks.meter.analysis.curve import VARIABLE_ABOVE, category
from earmark.tasks.meter.analysis.hypotheses import Hypotheses, Hypothesis
from earmark.tasks.meter.analysis.recording import Analysis, Window
from earmark.tasks.meter.analysis.tempo import Tempo
from earmark.tasks.meter.analysis.wording import describe, hint
from earmark.tasks.meter.trackers.rows import Beats

__all__ = ["document", "document_schema"]

TASK = "meter"
SCHEMA_FILE = "document.schema.json"


def document(analysis: Analysis) -> dict[str, Any]:
    """The JSON object of an analysis; `document_schema` describes it."""
    ranked = analysis.hypotheses.ranked
    return {
        "task": TASK,
        "path": analysis.path,
        "duration": _seconds(analysis.duration_s),
        "source_type": analysis.source_type,
        "source": analysis.speaker.source,
        "run": analysis.speaker.run,
        "view": analysis.speaker.view,
        "tempo": _tempo(analysis),
        "meter_hypotheses": [_hypothesis(one, ranked) for one in ranked],
        "meter_ambiguity": _share(analysis.hypotheses.ambiguity),
        "meter_stability": _share(analysis.stability),
        "beats": _beats(analysis.beats),
        "tempo_curve": [
            {"time": _seconds(time), "bpm": _bpm(bpm)}
            for time, bpm in zip(analysis.curve.times_s, analysis.curve.bpm, strict=True)
        ],
        "sections": [
            {
                "start": _seconds(one.start_s),
                "end": _seconds(one.end_s),
                "meter": one.meter,
                "tempo": _bpm(one.bpm),
            }
            for one in analysis.sections
        ],
        "converged": analysis.converged,
        "abstained": analysis.abstained,
        "warnings": list(analysis.warnings),
        "meter_map": [_map_entry(window, found) for window, found in analysis.meter_map],
    }


def document_schema() -> dict[str, Any]:
    """JSON schema of `document`, draft 2020-12."""
    text = files("earmark.tasks.meter.analysis").joinpath(SCHEMA_FILE).read_text("utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def _tempo(analysis: Analysis) -> dict[str, Any]:
    tempo: Tempo = analysis.tempo
    heard = analysis.curve.range_bpm
    variation = analysis.curve.variation
    return {
        "bpm": _bpm(tempo.bpm),
        "confidence": _share(tempo.confidence),
        "is_variable": variation > VARIABLE_ABOVE,
        "bpm_range": None if heard is None else [_bpm(edge) for edge in heard],
        "tempo_category": None if heard is None else category(variation),
    }


def _hypothesis(one: Hypothesis, ranked: tuple[Hypothesis, ...]) -> dict[str, Any]:
    return {
        "numerator": one.numerator,
        "denominator": one.denominator,
        "confidence": _share(one.confidence),
        "grouping": list(one.grouping),
        "grouping_measured": one.grouping_measured,
        "division": one.division,
        "description": describe(one),
        "disambiguation_hint": hint(one, ranked),
    }


def _beats(beats: Beats) -> list[dict[str, Any]]:
    return [
        {"time": _seconds(time), "is_downbeat": bool(position == 1), "strength": _share(strength)}
        for time, position, strength in zip(beats.times_s, beats.positions, beats.strengths, strict=True)
    ]


def _map_entry(window: Window, found: Hypotheses) -> dict[str, Any]:
    return {
        "start": _seconds(window.start_s),
        "end": _seconds(window.end_s),
        "meter": found.meter,
        "confidence": _share(found.confidence),
    }


def _seconds(value: float) -> float:
    return round(float(value), 4)


def _bpm(value: float | None) -> float | None:
    return None if value is None else round(float(value), 2)


def _share(value: float) -> float:
    return round(float(value), 4)
