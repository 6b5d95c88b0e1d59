"""What a RabbitMQ says of itself, and what follows from it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from runtime.errors import ConfigurationError

OLDEST = (3, 10)  # dead-lettering that loses nothing; streams


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """A server's product, version and cluster, and the rules that changed with its version."""

    product: str
    version: tuple[int, ...]
    cluster: str

    @classmethod
    def of(cls, properties: Mapping[str, Any]) -> "ServerInfo":
        """From the properties of connection.start; ConfigurationError where it is too old."""
        text = _text(properties.get("version"))
        match = re.match(r"\d+(?:\.\d+)*", text)
        version = tuple(map(int, match[0].split("."))) if match else ()
        info = cls(_text(properties.get("product")), version, _text(properties.get("cluster_name")))
        if info.product == "RabbitMQ" and version < OLDEST:
            raise ConfigurationError(
                f"{info} is too old: quorum queues that lose nothing need RabbitMQ"
                f" {'.'.join(map(str, OLDEST))} or newer"
            )
        return info

    @property
    def priorities(self) -> bool:
        """Whether quorum queues heed priorities: 4.0 has two, 4.3 has 32."""
        return self.version >= (4, 0)

    @property
    def largest_message(self) -> int:
        """Bytes a message may have, by the server's default (`max_message_size`)."""
        return (16 if self.version >= (4, 0) else 128) * 2**20

    def __str__(self) -> str:
        return f"{self.product or 'a server'} {'.'.join(map(str, self.version)) or '?'}"


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value or "")
