"""Audio: decoding to a mono clip, and pure analysis functions on it.

``clip`` and ``decode`` make the clip; ``spectrum``, ``descriptors``, ``mel``, ``onset``, ``tempo``, ``hpss``,
``tonal`` and ``pitch`` analyse it. Call them as ``clip.memo(function, **parameters)``, so that each is
computed once per clip.

Modules named ``*_kernel`` and ``tile_fft``, ``running_median``, ``simd`` hold compiled loops. numba compiles
them at first use (about 12 s) and keeps the result beside the module, or in the user's cache folder where the
module's cannot be written to; ``NUMBA_CACHE_DIR`` names another place. All processes of a user share it.
Each runs in one thread.
"""
