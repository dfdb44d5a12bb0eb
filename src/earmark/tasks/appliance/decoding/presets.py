"""Rules by name: a decoder with its settings, and the windows it was made for.

A `Rule` is all that stream and live need to know of decoding; ``rule.decoder(devices)`` makes the machine. `PRESETS`
are the rules of earlier systems as they were, and `fast`. `default_rule` gives the plain form of a decoder for the
windows of a run. Limits that a run's ``thresholds.yaml`` holds replace the built-in ones (`Rule.with_limits`), unless a
preset was asked for, which brings its own.

======================== ================ ==================================================================
preset                   window / hop, s  decoder
======================== ================ ==================================================================
``g3``                   6.0 / 1.5        median of 7, state repeats 2 times
``snappier``             4.0 / 1.0        median of 8
``less-flapping``        6.0 / 1.5        median of 9, 3 times, ac .85/.55
``g2``, ``g2-fast``      4.0, 2.0 / 0.5   events, with hold times and rest per device
``fast``                 2.0 ac, 6.0 / .5 hmm, windows of a length per device
======================== ================ ==================================================================
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from earmark.errors import UsageError
from earmark.tasks.appliance.decoding.decided import Decoder
from earmark.tasks.appliance.decoding.events import EventDecoder, EventSettings
from earmark.tasks.appliance.decoding.hmm import HmmDecoder, HmmSettings
from earmark.tasks.appliance.decoding.limits import DEFAULT_LIMITS, OTHER_LIMITS, Limits
from earmark.tasks.appliance.decoding.medians import MedianDecoder, MedianSettings
from earmark.tasks.appliance.decoding.votes import VoteDecoder, VoteSettings
from earmark.tasks.appliance.schema import HOP_S, WINDOW_S, Devices

__all__ = ["DECODERS", "DEFAULT_DECODER", "FAST", "PRESETS", "Rule", "Settings", "default_rule", "preset"]

Settings = HmmSettings | MedianSettings | EventSettings | VoteSettings

DECODERS: Mapping[str, type[Settings]] = {
    "hmm": HmmSettings,
    "median": MedianSettings,
    "events": EventSettings,
    "votes": VoteSettings,
}
DEFAULT_DECODER = "hmm"
FAST = "fast"
"""The preset for windows of a length per device."""


@dataclass(frozen=True)
class Rule:
    """A decoder, its settings, and the windows it reads.

    Parameters
    ----------
    settings : Settings
        Their class says which decoder.
    window_s, hop_s : float
        Seconds; `windows_s` names devices with windows of another length, which end at the same time.
    limits : mapping of device to Limits
        `others` holds for devices not named.
    ring_s, chunk_s : float or None
        How much sound a stream kept and took at a time in the earlier system; None: a window, and a hop.
    """

    settings: Settings = field(default_factory=HmmSettings)
    window_s: float = WINDOW_S
    hop_s: float = HOP_S
    windows_s: Mapping[str, float] = field(default_factory=dict)
    limits: Mapping[str, Limits] = field(default_factory=lambda: DEFAULT_LIMITS)
    others: Limits = OTHER_LIMITS
    ring_s: float | None = None
    chunk_s: float | None = None

    @property
    def name(self) -> str:
        """The decoder's name, as ``--decoder`` takes it."""
        return next(name for name, kind in DECODERS.items() if isinstance(self.settings, kind))

    def windows_of(self, devices: Devices) -> dict[str, float]:
        """Device -> seconds of its windows."""
        return {name: self.windows_s.get(name, self.window_s) for name in devices.names}

    def limits_of(self, devices: Devices) -> dict[str, Limits]:
        """Device -> limits."""
        return {name: self.limits.get(name, self.others) for name in devices.names}

    def shown_limits(self, devices: Devices) -> dict[str, tuple[float, float]]:
        """Device -> what ``p_shown`` must reach to come on, and to go off: where a chart of it draws its lines."""
        if isinstance(self.settings, HmmSettings):
            return dict.fromkeys(devices.names, (self.settings.confidence, 1 - self.settings.confidence))
        if isinstance(self.settings, VoteSettings):
            return dict.fromkeys(devices.names, (self.settings.on, self.settings.off))
        return {name: (one.t_on, one.t_off) for name, one in self.limits_of(devices).items()}

    def with_limits(self, limits: Mapping[str, Limits]) -> Rule:
        """The same rule with other limits for the devices named."""
        return replace(self, limits={**self.limits, **limits})

    def decoder(self, devices: Devices) -> Decoder:
        """The machine, in its first state."""
        settings, limits = self.settings, self.limits_of(devices)
        if isinstance(settings, HmmSettings):
            return HmmDecoder(devices, settings, self.hop_s, self.windows_of(devices))
        if isinstance(settings, MedianSettings):
            return MedianDecoder(devices, limits, settings)
        if isinstance(settings, EventSettings):
            return EventDecoder(devices, limits, settings, self.hop_s)
        return VoteDecoder(devices, settings)


PRESETS: Mapping[str, Rule] = {
    "g3": Rule(MedianSettings(7, 2)),
    "snappier": Rule(MedianSettings(8, 2), window_s=4.0, hop_s=1.0),
    "less-flapping": Rule(MedianSettings(9, 3), limits={"ac": Limits(0.85, 0.55)}),
    "g2": Rule(
        EventSettings(9, 6.0),
        window_s=4.0,
        hop_s=0.5,
        limits={"ac": Limits(0.75, 0.35, 4, 8, 20)},
        others=Limits(0.65, 0.30, 6, 12, 20),
        ring_s=6.0,
        chunk_s=1.0,
    ),
    "g2-fast": Rule(
        EventSettings(7, 4.0),
        window_s=2.0,
        hop_s=0.5,
        limits={"ac": Limits(0.78, 0.42, 2, 6, 15)},
        others=Limits(0.70, 0.38, 3, 10, 20),
        ring_s=4.0,
    ),
    FAST: Rule(HmmSettings(), hop_s=0.5, windows_s={"ac": 2.0}),
}


def preset(name: str) -> Rule:
    """The preset called `name`; UsageError with the likely one for a mistake."""
    if name not in PRESETS:
        near = difflib.get_close_matches(name, PRESETS, 1)
        hint = f", perhaps `{near[0]}`" if near else ""
        raise UsageError(f"there is no preset `{name}`{hint}. Expected one of {', '.join(PRESETS)}.")
    return PRESETS[name]


def default_rule(decoder: str = DEFAULT_DECODER, *, window_s: float = WINDOW_S, hop_s: float = HOP_S) -> Rule:
    """A decoder with its own settings for windows of a run; UsageError for a name that is none."""
    if decoder not in DECODERS:
        raise UsageError(f"there is no decoder `{decoder}`. Expected one of {', '.join(DECODERS)}.")
    return Rule(DECODERS[decoder](), window_s=window_s, hop_s=hop_s)
