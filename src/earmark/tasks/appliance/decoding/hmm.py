"""The rule `hmm`: a sticky Markov filter over all joint states of the devices.

Each device is a chain of its own that stays as it is over one hop with probability ``exp(-hop/dwell)``; a joint state
says of every device whether it is on (four of them for two devices). The log-likelihood of a joint state is a sum over
its on devices of ``g * (logit(p) - logit(prior))``, p clipped to [1e-4, 1 - 1e-4]:

* ``g = evidence * hop / window``: windows overlap, and each second of sound counts once (`evidence` 1);
* `prior` is the share of windows with the device on that the model learnt from: what p says without evidence;
* the term of a device that another one hides is multiplied by `masked_weight` in joint states where the other is on;
* a p of NaN, of a device whose longer window is not yet full, says nothing.

The filter starts at the priors [1]_. The settled state becomes the public state whose posterior, the sum over its joint
states, reaches `confidence`; a device settles on the side whose posterior does. `most_likely_path` looks back over a
whole recording instead (Viterbi), for evaluation.

References
----------
.. [1] Rabiner. A tutorial on hidden Markov models and selected applications in speech recognition. Proceedings of the
   IEEE 77(2), 1989.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from earmark.errors import UsageError
from earmark.tasks.appliance.decoding.decided import Decided, Doubles, Event, Facts, row_of
from earmark.tasks.appliance.schema import Devices, hidden_by, state_of, states

__all__ = ["CLIP", "MAX_DEVICES", "HmmDecoder", "HmmSettings", "JointStates", "most_likely_path"]

CLIP = 1e-4
MAX_DEVICES = 6
"""64 joint states: more devices than that are not told apart by one microphone."""


@dataclass(frozen=True)
class HmmSettings:
    """How sticky, how trusting, how sure.

    Parameters
    ----------
    evidence : float
        Factor on the evidence of a window, above 0.
    dwell_s : float
        Mean time that a device stays on, and off, in seconds.
    confidence : float
        Posterior at which the settled state changes, above 0.5.
    prior : mapping of device to float
        0.5 for a device not named.
    masked_weight : float
        Of the evidence of a hidden device, 0 to 1; that of the loss it was trained with.
    """

    evidence: float = 1.0
    dwell_s: float = 600.0
    confidence: float = 0.90
    prior: Mapping[str, float] = field(default_factory=dict)
    masked_weight: float = 0.25

    def __post_init__(self) -> None:
        problems = [
            text
            for is_wrong, text in (
                (not 0 < self.evidence < math.inf, f"evidence is {self.evidence:g}, not above 0"),
                (not 0 < self.dwell_s < math.inf, f"dwell_s is {self.dwell_s:g}, not above 0 s"),
                (not 0.5 < self.confidence < 1, f"confidence is {self.confidence:g}, not between 0.5 and 1"),
                (not 0 <= self.masked_weight <= 1, f"masked_weight is {self.masked_weight:g}, not 0 to 1"),
                *((not 0 < p < 1, f"the prior of {name} is {p:g}, not 0 to 1") for name, p in self.prior.items()),
            )
            if is_wrong
        ]  # fmt: skip
        if problems:
            raise UsageError(f"the settings of `hmm` cannot be used: {'; '.join(problems)}. Correct them.")


class JointStates:
    """The states of all devices at once: what each window says of them, and how they follow one another.

    Parameters
    ----------
    devices : Devices
        At most `MAX_DEVICES`.
    settings : HmmSettings
    hop_s : float
    windows_s : mapping of device to float
        Seconds of the windows that its p is of.

    Attributes
    ----------
    is_on : ndarray of bool, shape (n_joint, n_devices)
        Joint states in binary order, the first device the highest digit.
    prior, transition : ndarray, float64, shapes (n_joint,) and (n_joint, n_joint)
        Sum 1, and rows sum to 1.
    public : ndarray of int, shape (n_joint,)
        Position of the public state in ``states(devices)``.
    """

    def __init__(
        self, devices: Devices, settings: HmmSettings, hop_s: float, windows_s: Mapping[str, float]
    ) -> None:
        n = len(devices)
        if n > MAX_DEVICES:
            raise UsageError(
                f"`hmm` was asked to follow {n} devices; expected at most {MAX_DEVICES}. Use --decoder median."
            )
        self.is_on = (np.arange(2**n)[:, None] >> np.arange(n)[::-1]) % 2 == 1
        priors = np.array([settings.prior.get(name, 0.5) for name in devices.names])
        self.prior = np.where(self.is_on, priors, 1 - priors).prod(axis=1)
        stay = math.exp(-hop_s / settings.dwell_s)
        n_changed = (self.is_on[:, None, :] != self.is_on[None, :, :]).sum(axis=2)
        self.transition = (1 - stay) ** n_changed * stay ** (n - n_changed)
        names = states(devices)
        self.public = np.array(
            [names.index(state_of(dict(zip(devices.names, row, strict=True)), devices)) for row in self.is_on]
        )
        trust = np.array([settings.evidence * hop_s / windows_s[name] for name in devices.names])
        self._weights = self.is_on * self._audible(devices, settings.masked_weight) * trust
        self._base = _logit(priors)

    def log_likelihood(self, p: Doubles) -> Doubles:
        """Of every joint state, shape (..., n_joint), for p of shape (..., n_devices); 0 is that of all off."""
        said = _logit(np.clip(p, CLIP, 1 - CLIP)) - self._base
        result: Doubles = np.where(np.isnan(said), 0.0, said) @ self._weights.T
        return result

    def point(self, facts: Facts, devices: Devices) -> Doubles:
        """All probability on the joint state of these facts."""
        at = np.array([bool(facts[name]) for name in devices.names])
        found: Doubles = (self.is_on == at).all(axis=1).astype(np.float64)
        return found

    def _audible(self, devices: Devices, masked_weight: float) -> Doubles:
        weights = np.ones(self.is_on.shape)
        for by, hides in devices.masks:
            hidden = self.is_on[:, devices.names.index(by)]
            weights[hidden, devices.names.index(hides)] = masked_weight
        return weights


class HmmDecoder:
    """See the module; a `Decoder` whose instant state is known from the first window on.

    The instant facts are the devices with a posterior of 0.5 or more. Shown are the posteriors of the devices.
    """

    def __init__(
        self, devices: Devices, settings: HmmSettings, hop_s: float, windows_s: Mapping[str, float]
    ) -> None:
        self._devices, self._settings = devices, settings
        self._joint = JointStates(devices, settings, hop_s, windows_s)
        self._states = states(devices)
        self.reset()

    @property
    def posterior(self) -> Doubles:
        """Of every joint state after the last window, shape (n_joint,)."""
        return np.array(self._posterior)

    def reset(self, initial: Facts | None = None) -> None:
        """See `Decoder.reset`; known facts hold just before the first window."""
        joint = self._joint
        if initial is None:
            self._predicted, self._stable = joint.prior, None
        else:
            self._predicted = joint.point(initial, self._devices) @ joint.transition
            self._stable = state_of(initial, self._devices)
        self._posterior = self._predicted
        self._settled = dict(initial) if initial is not None else {}

    def step(self, p: npt.ArrayLike, index: int) -> Decided:
        """See `Decoder.step`; NaN says nothing of a device."""
        said = self._joint.log_likelihood(row_of(p, self._devices, gaps=True))
        weighted = self._predicted * np.exp(said - said.max())
        self._posterior = weighted / weighted.sum()
        self._predicted = self._posterior @ self._joint.transition
        shown = (self._posterior @ self._joint.is_on).clip(0, 1).tolist()
        return self._decided(dict(zip(self._devices.names, shown, strict=True)), index)

    def _decided(self, p_on: Mapping[str, float], index: int) -> Decided:
        public = np.bincount(self._joint.public, self._posterior, len(self._states))
        before, best = self._stable, int(public.argmax())
        if public[best] >= self._settings.confidence:
            self._stable = self._states[best]
        facts = {name: p >= 0.5 for name, p in p_on.items()}
        status = state_of(facts, self._devices)
        events = self._settle(p_on, index)
        return Decided(
            index=index,
            facts=facts,
            status=status,
            stable=self._stable,
            settled=dict(self._settled),
            changed=self._stable != before,
            p_shown=tuple(p_on.values()),
            events=events,
            confidence=float(public[self._states.index(status)]),
        )

    def _settle(self, p_on: Mapping[str, float], index: int) -> tuple[Event, ...]:
        """Devices that are sure of their side; of those that another hides, none."""
        was, limit = dict(self._settled), self._settings.confidence
        sure = {name: p >= 0.5 for name, p in p_on.items() if max(p, 1 - p) >= limit}
        runs = {name: p >= 0.5 or {**was, **sure}.get(name, False) for name, p in p_on.items()}
        heard = sure.keys() - hidden_by(runs, self._devices)
        self._settled |= {name: sure[name] for name in heard}
        return tuple(
            Event(name, "on" if is_on else "off", p_on[name], index)
            for name, is_on in sure.items()
            if name in heard and was.get(name, is_on) != is_on
        )


def most_likely_path(
    p: npt.ArrayLike,
    devices: Devices,
    settings: HmmSettings,
    *,
    hop_s: float,
    windows_s: Mapping[str, float],
) -> npt.NDArray[np.bool_]:
    """Which devices are on in each window of a whole recording, by the most likely sequence of joint states.

    Parameters
    ----------
    p : array, shape (n_windows, n_devices)

    Returns
    -------
    ndarray of bool, shape (n_windows, n_devices)
        Of two equally likely sequences, the one with fewer devices on at the end.
    """
    joint = JointStates(devices, settings, hop_s, windows_s)
    rows = [row_of(row, devices, gaps=True) for row in np.asarray(p, dtype=np.float64)]
    if not rows:
        return np.empty((0, len(devices)), dtype=bool)
    said = joint.log_likelihood(np.stack(rows))
    move = np.log(joint.transition)
    score, came_from = np.log(joint.prior) + said[0], []
    for row in said[1:]:
        through = score[:, None] + move
        came_from.append(through.argmax(axis=0))
        score = through.max(axis=0) + row
    path = [int(score.argmax())]
    for back in reversed(came_from):
        path.append(int(back[path[-1]]))
    is_on: npt.NDArray[np.bool_] = joint.is_on[path[::-1]]
    return is_on


def _logit(p: Doubles) -> Doubles:
    odds: Doubles = np.log(p) - np.log1p(-p)
    return odds
