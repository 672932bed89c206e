"""Whether Celery differs from legacy more often than legacy differs from itself."""

import math

from crucible.errors import InputError


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
