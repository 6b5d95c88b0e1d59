"""What queueing theory says of a fixed number of replicas: the ground a simulation is held to.

Arrivals are a Poisson process of `rate` a second; `run` is the mean run time in seconds.  Sources:
Erlang, Solution of some Problems in the Theory of Probabilities (1917), and Kleinrock, Queueing
Systems 1 (1975), sections 3.5 (M/M/m) and 5.7 (Pollaczek and Khinchine's mean of M/G/1).
"""

from math import exp, inf

from runtime.errors import ConfigurationError


def load(rate: float, run: float, replicas: int) -> float:
    """The share of their time that replicas run something: below 1, or the queue has no end."""
    if replicas < 1 or rate < 0 or run <= 0:
        raise ConfigurationError(
            f"rate {rate:g}, run {run:g}, replicas {replicas}: give at least one replica, a rate"
            " of at least 0, and a run time above 0"
        )
    return rate * run / replicas


def waiting_probability(rate: float, run: float, replicas: int) -> float:
    """Erlang's C: the share of invocations that find every replica busy (M/M/c)."""
    share = load(rate, run, replicas)
    if share >= 1:
        return 1.0
    blocked = 1.0  # Erlang's B by its recursion over the number of replicas
    for number in range(1, replicas + 1):
        blocked = rate * run * blocked / (number + rate * run * blocked)
    return blocked / (1 - share * (1 - blocked))


def mean_wait(rate: float, run: float, replicas: int) -> float:
    """Seconds that an invocation waits in the mean, with exponential run times (M/M/c)."""
    share = load(rate, run, replicas)
    if share >= 1:
        return inf
    return waiting_probability(rate, run, replicas) * run / (replicas * (1 - share))


def share_waiting_longer(seconds: float, rate: float, run: float, replicas: int) -> float:
    """The share of invocations that wait longer than so many seconds (M/M/c)."""
    share = load(rate, run, replicas)
    if share >= 1:
        return 1.0
    return waiting_probability(rate, run, replicas) * exp(-replicas * (1 - share) * seconds / run)


def mean_wait_of_one(rate: float, run: float, variation: float) -> float:
    """Seconds that an invocation waits in the mean for one replica (M/G/1).

    `variation` is the deviation of run times over their mean: 0 where they are constant (M/D/1), 1
    where they are exponential.
    """
    share = load(rate, run, 1)
    return inf if share >= 1 else share * run * (1 + variation**2) / (2 * (1 - share))


def replicas_for(rate: float, run: float, wait: float, most: int = 1_000_000) -> int:
    """The fewest replicas with which the mean wait is at most so many seconds (M/M/c)."""
    least = int(rate * run) + 1
    blocked, offered = 1.0, rate * run
    for number in range(1, most + 1):
        blocked = offered * blocked / (number + offered * blocked)
        if number < least:
            continue
        share = offered / number
        waits = blocked / (1 - share * (1 - blocked))
        if waits * run / (number * (1 - share)) <= wait:
            return number
    raise ConfigurationError(f"over {most:,} replicas would be needed: allow a longer wait")
