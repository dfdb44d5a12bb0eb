"""`/api/analyze` and `/api/ws/live`: tempo, meter, beats and sections of a recording that is sent, or of what is heard.

A recording
-----------
``POST /api/analyze`` with the file in the multipart field ``file`` answers the object that
``earmark predict meter FILE --format json`` prints for it, with the upload's own name as ``path``. With
``?peaks=800`` it has one more key, ``peaks``: ``{"min": [...], "max": [...]}``, the lowest and the highest sample of 800
equal parts. Refusals are ``{"detail": sentence}``: 400 no file came, 413 too large, 415 no kind of audio, 422 cannot be
decoded, is too short or silent, 409 nothing can answer, 503 the worker died.

``GET /api/analyze`` tells who will answer, and opens that model, so that a page that asks finds it warm:
``{"source", "run", "view", "threshold", "max_upload_bytes", "suffixes", "sample_rate", "warmup_seconds"}``.

``POST /api/analyze?job=ID`` (ID: 8 to 64 letters, digits, ``-``, ``_``, made by the client) also tells how far it is,
to ``GET /api/analyze/progress/ID`` (server-sent events, which may be listened to before the file is sent). Events come
when the step is done:

============  ==========================================================================================
event         fields besides ``type``
============  ==========================================================================================
``received``  ``name``, ``n_bytes``
``decoded``   ``duration`` in seconds, ``windows``
``tracked``   ``done`` of ``total`` windows, once per window; the step is done where both are equal
``answered``  none; the answer is that of the POST. The last event
``failed``    ``detail``: the sentence of the POST. The last event
============  ==========================================================================================

Live
----
``WS /api/ws/live``: the client sends mono float32 samples, little endian, at 22 050 Hz, in binary messages of any size up
to 1 MiB, about 100 ms each. The server sends JSON texts, the messages of ``earmark live meter``
(`earmark.tasks.meter.serving.live`)::

    {"type": "warmup_progress", "seconds": 2.5, "total": 8.0, "onset_count": 6}
    {"type": "onset", "time": 3.1416, "strength": 0.82}
    {"type": "analysis", "t": 8.0, "window": [2.0, 8.0], "data": {...}}
    {"type": "analysis", "t": 8.0, "window": [2.0, 8.0], "data": null, "error": sentence, "code": "silent"}
    {"type": "error", "detail": sentence}                                      # the last; the socket is then closed

Close codes: 1003 a text was sent, 1007 a sample is not finite, 1008 nothing came for a minute, 1009 a message is too
large, 1011 the listener died, 1013 as many listen as can. A sender that is faster than the analysis is held back by the
socket's own flow control.
"""

from __future__ import annotations

from fastapi import APIRouter

__all__ = ["router"]

router = APIRouter(tags=["meter"])
