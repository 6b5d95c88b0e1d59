"""The longest a function may run before RabbitMQ takes its delivery back."""

from runtime.errors import ConfigurationError


def check_timeout(name: str, timeout: float, consumer_timeout: float) -> None:
    """ConfigurationError for a function that may still run when its delivery is taken back.

    Both in seconds.  RabbitMQ's `consumer_timeout` (30 minutes unless set) closes the channel of
    whoever holds a delivery longer, and the function would run a second time beside the first.
    """
    if timeout < consumer_timeout:
        return
    wanted = int(timeout * 1.1) + 60
    raise ConfigurationError(
        f"function {name} may run for {timeout:g} s (its timeout), but RabbitMQ takes back what is"
        f" not acknowledged within {consumer_timeout:g} s. Lower the function's timeout; or set"
        f" consumer_timeout = {wanted * 1000} in rabbitmq.conf (milliseconds) and"
        f" LUMBRE_CONSUMER_TIMEOUT={wanted} here (seconds)"
    )
