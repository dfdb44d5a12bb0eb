"""One graph from audio to logits; imports torch.

`KaldiFilterBank` is `earmark.audio.kaldi_fbank` as one convolution: removing a frame's mean, pre-emphasis, window and
Fourier transform are all linear, so their product is the kernel; then power, bands and logarithm. The mean of the whole
recording is taken off first, which changes nothing but spares float32 a large constant.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from earmark.audio import kaldi_fbank as kaldi

__all__ = ["FromAudio", "KaldiFilterBank"]


class KaldiFilterBank(nn.Module):
    """Waveforms (batch, n_samples) at 16 kHz to scaled filter banks (batch, n_frames, 128).

    Parameters
    ----------
    mean, std : float
        Of the encoder that listens.
    """

    kernel: Tensor
    filters: Tensor

    def __init__(self, mean: float = kaldi.FBANK_MEAN, std: float = kaldi.FBANK_STD) -> None:
        super().__init__()
        self.mean, self.std = mean, std
        self.register_buffer("kernel", torch.from_numpy(_transform()).float()[:, None])
        self.register_buffer("filters", torch.from_numpy(kaldi.mel_filters().toarray()).float())

    def forward(self, samples: Tensor) -> Tensor:
        steady = samples - samples.mean(dim=1, keepdim=True)
        spectrum = functional.conv1d(steady[:, None], self.kernel, stride=kaldi.FRAME_SHIFT)
        real, imaginary = spectrum.chunk(2, dim=1)
        power = (real.square() + imaginary.square()).transpose(1, 2)
        energies = functional.linear(power, self.filters).clamp(min=kaldi.ENERGY_FLOOR)
        return (energies.log() - self.mean) / (2.0 * self.std)


class FromAudio(nn.Module):
    """Filter bank, encoder if there is one, network.

    Parameters
    ----------
    network : Module
        From filter banks, or from the encoder's tokens, to logits.
    encoder : Module, optional
        With ``encode``; its tokens pass through float16, as the cache holds them.
    """

    def __init__(self, network: nn.Module, encoder: nn.Module | None = None) -> None:
        super().__init__()
        self.front_end, self.encoder, self.network = KaldiFilterBank(), encoder, network

    def forward(self, samples: Tensor) -> Tensor:
        """Logits, shape (batch, n_devices)."""
        heard = self.front_end(samples)
        if self.encoder is not None:
            heard = self.encoder(heard).half().float()
        logits: Tensor = self.network(heard)
        return logits


def _transform() -> npt.NDArray[np.float64]:
    """What turns the samples of a frame into real, then imaginary parts of its spectrum, shape (514, 400)."""
    n = kaldi.FRAME_LENGTH
    centring = np.eye(n) - 1.0 / n
    emphasis = np.eye(n) - kaldi.PRE_EMPHASIS * np.eye(n, k=-1)
    emphasis[0, 0] -= kaldi.PRE_EMPHASIS  # the first sample of a frame is its own predecessor
    frame = kaldi.FULL_SCALE * kaldi.povey_window()[:, None] * (emphasis @ centring)
    spectrum = np.fft.rfft(frame, kaldi.N_FFT, axis=0)
    return np.concatenate([spectrum.real, spectrum.imag])
