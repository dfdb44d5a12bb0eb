"""An analysis in the form of JAMS, the JSON annotated music specification.

Namespaces: ``beat_position`` (time, position and signature of every beat that has one), ``beat`` (all beats), ``tempo``
(one value with its confidence) and ``segment_open`` (sections, the meter as their value).

Reference: E. Humphrey, J. Salamon, O. Nieto et al., JAMS: a JSON annotated music specification for reproducible MIR
research, ISMIR 2014; schema version 0.3.4.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import earmark
from earmark.tasks.meter.analysis.recording import Analysis

__all__ = ["jams"]

VERSION = "0.3.4"


def jams(analysis: Analysis) -> dict[str, Any]:
    """The JSON object of a ``.jams`` file."""
    return {
        "file_metadata": {
            "title": analysis.path,
            "artist": "",
            "release": "",
            "duration": analysis.duration_s,
            "identifiers": {},
            "jams_version": VERSION,
        },
        "annotations": [
            _annotation(analysis, "beat", _beats(analysis)),
            _annotation(analysis, "beat_position", _positions(analysis)),
            _annotation(analysis, "tempo", _tempo(analysis)),
            _annotation(analysis, "segment_open", _sections(analysis)),
        ],
        "sandbox": {},
    }


def _annotation(analysis: Analysis, namespace: str, data: Sequence[dict[str, Any]]) -> dict[str, Any]:
    tools = f"earmark {earmark.__version__}, {analysis.speaker.run or analysis.speaker.source}"
    return {
        "namespace": namespace,
        "annotation_metadata": {
            "curator": {"name": "", "email": ""},
            "annotator": {},
            "version": earmark.__version__,
            "corpus": "",
            "annotation_tools": tools,
            "annotation_rules": "",
            "validation": "",
            "data_source": "program",
        },
        "data": list(data),
        "sandbox": {},
        "time": 0.0,
        "duration": analysis.duration_s,
    }


def _event(time_s: float, duration_s: float, value: Any, confidence: float | None) -> dict[str, Any]:
    return {"time": float(time_s), "duration": float(duration_s), "value": value, "confidence": confidence}


def _beats(analysis: Analysis) -> list[dict[str, Any]]:
    beats = analysis.beats
    return [
        _event(time, 0.0, float(position), float(strength))
        for time, position, strength in zip(beats.times_s, beats.positions, beats.strengths, strict=True)
    ]


def _positions(analysis: Analysis) -> list[dict[str, Any]]:
    """Each beat in its bar; ``measure`` counts downbeats from 1, 0 in an upbeat."""
    ranked = analysis.hypotheses.ranked
    beats = analysis.beats
    if not ranked:
        return []
    first = ranked[0]
    measures = (beats.positions == 1).cumsum()
    return [
        _event(
            time,
            0.0,
            {
                "position": int(position),
                "measure": int(measure),
                "num_beats": first.numerator,
                "beat_units": first.denominator,
            },
            None,
        )
        for time, position, measure in zip(beats.times_s, beats.positions, measures, strict=True)
        if position > 0
    ]


def _tempo(analysis: Analysis) -> list[dict[str, Any]]:
    if analysis.tempo.bpm is None:
        return []
    return [_event(0.0, analysis.duration_s, analysis.tempo.bpm, analysis.tempo.confidence)]


def _sections(analysis: Analysis) -> list[dict[str, Any]]:
    return [_event(one.start_s, one.end_s - one.start_s, one.meter or "", None) for one in analysis.sections]
