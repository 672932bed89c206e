"""A detector for the moment from which two queues agree no longer.

After long success the wealth of a bet on parity is slow to fall, so turning back needs a statistic of its
own: the CUSUM e-detector M = max(M, 1) L, with L = p1 / p_ok on a mismatch and (1 - p1) / (1 - p_ok)
otherwise.
As long as mismatches come at p_ok or less it takes ``alarm_at`` pairs or more, on average, until M reaches
``alarm_at`` (J. Shin, A. Ramdas, A. Rinaldo, "E-detectors: a nonparametric framework for sequential change
detection", New England Journal of Statistics in Data Science, 2023; the statistic is E. S. Page's of 1954).
"""

import math
from dataclasses import dataclass

from crucible.errors import InputError


@dataclass(frozen=True, slots=True)
class DetectorSettings:
    """Mismatch rates to live with (``p_ok``) and to flee (``p1``), and pairs between false alarms."""

    p_ok: float = 1e-4
    p1: float = 1e-2
    alarm_at: float = 1e6

    def __post_init__(self) -> None:
        """Raise ``InputError`` unless 0 < p_ok < p1 < 1 and alarm_at > 1."""
        if not 0 < self.p_ok < self.p1 < 1:
            raise InputError(f"p_ok is {self.p_ok} and p1 {self.p1}; it takes 0 < p_ok < p1 < 1")
        if self.alarm_at <= 1:
            raise InputError(f"alarm_at is {self.alarm_at}; it must be above 1")


@dataclass(frozen=True, slots=True)
class Detector:
    """The state after some pairs. ``log_m`` is ln M; frozen, so that a state can be kept and gone back to."""

    settings: DetectorSettings = DetectorSettings()
    log_m: float = 0.0

    @property
    def alarmed(self) -> bool:
        """Whether it is time to go back. It stays so only as long as the state does: act on the first."""
        return self.exceeds(0.0)

    def exceeds(self, log_detectors: float) -> bool:
        """As ``alarmed``, where exp(``log_detectors``) detectors share the budget of false alarms."""
        return self.log_m >= math.log(self.settings.alarm_at) + log_detectors

    def after(self, *, mismatch: bool) -> "Detector":
        """The state after one more pair."""
        p_ok, p1 = self.settings.p_ok, self.settings.p1
        step = math.log(p1 / p_ok) if mismatch else math.log1p(-p1) - math.log1p(-p_ok)
        return Detector(self.settings, max(self.log_m, 0.0) + step)

    def after_matches(self, pairs: int) -> "Detector":
        """The state after ``pairs`` that matched, as if each had been told."""
        if pairs <= 0:
            return self
        step = math.log1p(-self.settings.p1) - math.log1p(-self.settings.p_ok)
        # From 0 on each match leaves one step below 0, from which the next begins at 0 again.
        return Detector(self.settings, max(max(self.log_m, 0.0) + pairs * step, step))


def excess_e_value(only_celery: int, only_legacy: int) -> float:
    """Evidence that Celery's own differences are more than noise; 20 and above is excess at 5 %.

    Of legacy evaluations re-run at random, ``only_celery`` counts those where Celery's answer alone
    differed and ``only_legacy`` those where legacy's re-run alone did. Were Celery a legacy re-run like any
    other, both would be equally likely (the sign test). Against that bets a uniform mixture over all chances
    above one half: 2^(b+c+1) B(b+1, c+1) (1 - I_1/2(b+1, c+1)), an e-process, so it too may be looked at any
    time.
    Raises ``InputError`` for negative counts.
    """
    b, c = only_celery, only_legacy
    if b < 0 or c < 0:
        raise InputError(f"{b} and {c} cannot be counts; count from 0 up")
    n = b + c + 1
    # I_1/2(b+1, c+1) is the chance of b+1 heads or more among n tosses (DLMF 8.17.5).
    fewer_heads = sum(math.comb(n, heads) for heads in range(b + 1))
    return fewer_heads / (n * math.comb(n - 1, b))
