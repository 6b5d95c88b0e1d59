"""Which checks there are for these settings, in the order in which they are told."""

from functools import partial

from runtime.doctor.examination import Check
from runtime.doctor.functions import IMPORTS, examine_functions
from runtime.doctor.machine import TORCH, examine_gpus, examine_port, examine_versions
from runtime.doctor.stores import examine_blobs, examine_ledger, examine_state
from runtime.finding import Finding, ok
from runtime.settings import Settings, without_password


def checks(settings: Settings) -> list[Check]:
    """All there are; those of RabbitMQ only where it is used."""
    return [
        Check("versions", "Python's packages", partial(examine_versions)),
        *_broker_checks(settings),
        Check("ledger", without_password(settings.ledger), partial(examine_ledger, settings)),
        Check("blobs", without_password(settings.blobs), partial(examine_blobs, settings)),
        Check("state", f"{settings.state}", partial(examine_state, settings)),
        Check("functions", settings.functions, partial(examine_functions, settings), IMPORTS),
        Check("gpu", "nvidia-smi and torch", partial(examine_gpus, settings), TORCH),
        Check("port", settings.own_url, partial(examine_port, settings)),
    ]


def _broker_checks(settings: Settings) -> list[Check]:
    broker = partial(_broker, settings)
    shown = without_password(settings.broker_url)
    if settings.embedded or not settings.management_url:
        return [Check("broker", shown, broker)]
    management = without_password(settings.management_url)
    return [
        Check("broker", shown, broker),
        Check("management", management, partial(_management, settings)),
    ]


async def _broker(settings: Settings) -> list[Finding]:
    if settings.embedded:
        return [ok("broker", "in the process of `lumbre up`: nothing to reach")]
    from runtime.brokers.rabbitmq import Address, examine_server

    return await examine_server(Address.of(settings))


async def _management(settings: Settings) -> list[Finding]:
    from runtime.brokers.rabbitmq import Address, examine_management

    return await examine_management(settings.management_url, Address.of(settings))
