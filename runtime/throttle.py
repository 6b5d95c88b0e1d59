"""A limit on how often something may happen, with room for a burst."""


class Throttle:
    """A token bucket: it holds `burst` tokens at most, and gains `rate` of them a second.

    Instants are arguments, in seconds on any one clock; one that goes back counts as standing
    still.
    """

    __slots__ = ("_at", "_tokens", "burst", "rate")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self.rate = rate  # tokens a second
        self.burst = burst
        self._tokens = burst
        self._at = now

    def wait(self, now: float) -> float:
        """Seconds until there is a token; 0 where there is one."""
        gained = max(0.0, now - self._at) * self.rate
        self._at = now
        self._tokens = min(self.burst, self._tokens + gained)
        return 0.0 if self._tokens >= 1 else (1 - self._tokens) / self.rate

    def take(self, now: float) -> float:
        """Take a token; 0, or, where there is none, the seconds until there will be."""
        wait = self.wait(now)
        if not wait:
            self._tokens -= 1
        return wait

    def owe(self, tokens: float) -> None:
        """Take more than there may be: whoever comes next waits until that is made up for."""
        self._tokens -= tokens
