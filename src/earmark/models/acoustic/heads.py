"""Networks from an encoder's tokens to one logit per device.

Conventions: tokens (batch, n_tokens, width), time-major; a mask (batch, n_tokens) is True where a token is real.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from earmark.models.acoustic.pooling import TokenPooling, masked_mean

__all__ = ["AttentionHead", "GruHead"]

HIDDEN, DROPOUT = 256, 0.2
CONVOLVED, GRU_UNITS, GRU_DROPOUT = 128, 256, 0.1


class AttentionHead(nn.Module):
    """Pooling, then dropout, linear, GELU, dropout, linear."""

    def __init__(self, width: int, n_devices: int, pool: str) -> None:
        super().__init__()
        self.pooling = TokenPooling(width, pool)
        self.head = nn.Sequential(
            nn.Dropout(DROPOUT),
            nn.Linear(self.pooling.width_out, HIDDEN),
            nn.GELU(),
            nn.Dropout(DROPOUT),
            nn.Linear(HIDDEN, n_devices),
        )

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Logits, shape (batch, n_devices)."""
        logits: Tensor = self.head(self.pooling(tokens, mask))
        return logits


class GruHead(nn.Module):
    """Convolution over tokens, ReLU, dropout, bidirectional GRU, mean over tokens, linear."""

    def __init__(self, width: int, n_devices: int) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(width, CONVOLVED, kernel_size=3, padding=1)
        self.dropout = nn.Dropout(GRU_DROPOUT)
        self.gru = nn.GRU(CONVOLVED, GRU_UNITS, batch_first=True, bidirectional=True)
        self.head = nn.Linear(2 * GRU_UNITS, n_devices)

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Logits, shape (batch, n_devices). Padding is zeros at the end, as `earmark.models.acoustic.inputs` pads."""
        convolved = self.convolution(tokens.transpose(1, 2)).relu().transpose(1, 2)
        states = self._states(self.dropout(convolved), mask)
        logits: Tensor = self.head(masked_mean(states, mask))
        return logits

    def _states(self, convolved: Tensor, mask: Tensor | None) -> Tensor:
        if mask is None:
            states: Tensor = self.gru(convolved)[0]
            return states
        # Packed, so that the backward direction starts at the last real token.
        lengths = mask.sum(dim=1).cpu()
        packed = pack_padded_sequence(convolved, lengths, batch_first=True, enforce_sorted=False)
        states = pad_packed_sequence(self.gru(packed)[0], batch_first=True, total_length=mask.shape[1])[0]
        return states.contiguous()
