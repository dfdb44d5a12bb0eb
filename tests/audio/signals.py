"""Signals and encoded files that the audio tests share; everything is generated and seeded."""

from __future__ import annotations

from pathlib import Path

import numpy as np

SAMPLE_RATE = 22_050
REPOSITORY = Path(__file__).resolve().parents[2]
REAL_MUSIC = REPOSITORY.parent / "shared" / "data" / "zones" / "audio"


def broadband(seconds: float = 12.0, seed: int = 3) -> np.ndarray:
    """Pulses, a bass line, chords and noise over the whole spectrum: music-like, no two frames alike."""
    rng = np.random.default_rng(seed)
    n = int(seconds * SAMPLE_RATE)
    t = np.arange(n) / SAMPLE_RATE
    beat = np.mod(t * (124 / 60), 1.0)
    loud = 0.35 + 0.65 * (np.sin(2 * np.pi * t / 7.3) > -0.4)
    kick = np.sin(2 * np.pi * 52 * beat + 30 * np.exp(-15 * beat)) * np.exp(-6 * beat)
    hats = rng.standard_normal(n) * np.exp(-25 * np.mod(beat + 0.5, 1.0)) * 0.25
    root_hz = 98.0 * 2.0 ** (np.array([0, 3, -4, 5])[(t / 2).astype(int) % 4] / 12 + 0.013)
    phase = 2 * np.pi * np.cumsum(root_hz) / SAMPLE_RATE
    chord = sum(np.sign(np.sin(phase * 2 ** (k / 12))) for k in (0, 7, 12, 16, 24)) * 0.06
    noise = rng.standard_normal(n) * 0.01
    return ((kick * loud + hats + chord + noise) * 0.5).astype(np.float32)


def tone(seconds: float = 3.0, rate: int = 44_100, frequency_hz: float = 440.0) -> np.ndarray:
    """A sine of amplitude 0.4, faded over 50 ms at both ends, shape (n,)."""
    t = np.arange(int(seconds * rate)) / rate
    fade = np.clip(np.minimum(t, t[-1] - t) / 0.05, 0.0, 1.0)
    return (0.4 * fade * np.sin(2 * np.pi * frequency_hz * t)).astype(np.float32)


def write_sound(path: Path, samples: np.ndarray, rate: int, **options: str) -> Path:
    """Write with libsndfile, in blocks: its encoders overflow the stack on long arrays."""
    import soundfile

    channels = 1 if samples.ndim == 1 else samples.shape[1]
    with soundfile.SoundFile(path, "w", rate, channels, **options) as file:
        for start in range(0, len(samples), 1 << 14):
            file.write(samples[start : start + (1 << 14)])
    return path


def write_av(
    path: Path, samples: np.ndarray, rate: int, codec: str = "aac", container: str | None = None
) -> Path:
    """Write stereo samples (n, 2) with FFmpeg's encoders."""
    import av

    with av.open(str(path), "w", format=container) as file:
        stream = file.add_stream(codec, rate=rate)
        stream.layout = "stereo"
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(samples.T, np.float32), format="fltp", layout="stereo"
        )
        frame.sample_rate = rate
        size = stream.codec_context.frame_size or 1024
        resampler = av.AudioResampler(format=stream.format.name, layout="stereo", rate=rate, frame_size=size)
        for piece in [*resampler.resample(frame), *resampler.resample(None)]:
            file.mux(stream.encode(piece))
        file.mux(stream.encode(None))
    return path


def write_silent_video(path: Path) -> Path:
    """A short film without an audio track."""
    import av

    with av.open(str(path), "w") as file:
        stream = file.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for shade in range(5):
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 40 * shade, np.uint8), format="rgb24")
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return path
