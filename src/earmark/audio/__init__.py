"""Audio: decoding to a mono clip, and pure analysis functions on it.

``clip`` and ``decode`` make the clip; ``spectrum``, ``descriptors``, ``mel``, ``onset``, ``tempo``, ``hpss``,
``tonal`` and ``pitch`` analyse it. Call them as ``clip.memo(function, **parameters)``, so that each is
computed once per clip.
"""
