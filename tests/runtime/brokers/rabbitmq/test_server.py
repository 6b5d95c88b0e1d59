import pytest

from runtime.brokers.rabbitmq import ServerInfo
from runtime.errors import ConfigurationError


def told(version: str, product: str = "RabbitMQ") -> ServerInfo:
    return ServerInfo.of({"product": product, "version": version, "cluster_name": "rabbit@here"})


@pytest.mark.parametrize(
    ("text", "version"),
    [("3.10.8", (3, 10, 8)), ("4.0.0-beta.1", (4, 0, 0)), ("3.13.7+1.g12ab", (3, 13, 7))],
)
def test_a_version_is_read_from_what_the_server_says(text: str, version: tuple[int, ...]) -> None:
    info = told(text)
    assert (info.product, info.version, info.cluster) == ("RabbitMQ", version, "rabbit@here")
    assert str(info) == f"RabbitMQ {'.'.join(map(str, version))}"


@pytest.mark.parametrize(("version", "heeds"), [("3.13.7", False), ("4.0.1", True), ("4.3", True)])
def test_priorities_begin_with_4_0(version: str, heeds: bool) -> None:
    assert told(version).priorities is heeds


@pytest.mark.parametrize(("version", "most"), [("3.13.7", 128), ("4.1.0", 16)])
def test_messages_are_as_large_as_the_server_takes_by_default(version: str, most: int) -> None:
    assert told(version).largest_message == most * 2**20


@pytest.mark.parametrize("version", ["3.9.29", "3.8", ""])
def test_a_server_that_is_too_old_is_refused_by_name(version: str) -> None:
    with pytest.raises(
        ConfigurationError, match=r"too old: .* needs? .*RabbitMQ 3\.10|3\.10 or newer"
    ):
        told(version)


def test_another_product_is_given_a_try() -> None:
    assert not told("2.0", product="LavinMQ").priorities
