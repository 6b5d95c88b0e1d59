"""What the demonstration sends: the plan `demo`, made to last as long as is wanted."""

from collections.abc import Collection
from pathlib import Path

from loadtest.plan import Plan, read_plan
from runtime.errors import ConfigurationError

PLAN = Path(__file__).parents[1] / "plans" / "demo.yaml"
SHORTEST = 5.0  # seconds; below, no replica has time to come and go


def program(seconds: float, served: Collection[str]) -> Plan:
    """The plan, lasting `seconds`, for the functions that a node serves.

    Rates stay as they are and times shrink or grow, so a short demonstration is as busy as a long
    one.  ConfigurationError where it is too short, or the node serves nothing of it.
    """
    if seconds < SHORTEST:
        raise ConfigurationError(
            f"--seconds {seconds:g} is too short to see anything: give at least {SHORTEST:g}"
        )
    plan = read_plan(PLAN)
    mix = tuple(share for share in plan.mix if share.function in served)
    if not mix:
        raise ConfigurationError("the node serves none of the demonstration's functions")
    factor = seconds / (plan.length or seconds)
    stages = tuple(
        stage.model_copy(
            update={
                name: getattr(stage, name) * factor
                for name in ("seconds", "every")
                if hasattr(stage, name)
            }
        )
        for stage in plan.stages
    )
    return plan.model_copy(update={"stages": stages, "mix": mix})
