"""All settings, read once at the start and handed down; nobody else looks at the environment.

Flags win over `LUMBRE_*` variables, these over `lumbre.toml`, and that over the defaults.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from runtime.errors import ConfigurationError

PREFIX = "LUMBRE_"
API_KEY = "LUMBRE_API_KEY"  # no setting of a node's: what commands that talk to one send


class Settings(BaseSettings):
    """Everything that can be set, with defaults that work on a laptop."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        toml_file="lumbre.toml",
        frozen=True,
        extra="forbid",
        str_strip_whitespace=True,
    )

    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8080, ge=0, le=65535, description="port to listen on; 0 takes a free one")
    insecure: bool = Field(False, description="listen on other addresses without API keys")
    keys: Literal["auto", "on", "off"] = Field(
        "auto", description="whether API keys are asked for: on, off, or auto: once there is one"
    )
    console: bool = Field(True, description="serve the console beside the API")
    read_only: bool = Field(False, description="the console shows, and changes nothing")
    state: Path = Field(Path(".lumbre"), description="ledger, blobs and caches of this machine")
    functions: str = Field("functions", description="folders of function files, colon-separated")
    broker_url: str = Field(
        "memory://", description="memory://, which is in this process, or amqp[s]://USER@HOST/VHOST"
    )
    broker_username: str = Field("", description="user of the broker; empty is the URL's")
    broker_password: SecretStr = Field(
        SecretStr(""), description="password of the broker; empty is the URL's"
    )
    broker_ca: str = Field("", description="certificates that amqps:// trusts, PEM")
    broker_certificate: str = Field("", description="own certificate for amqps://, PEM")
    broker_key: str = Field("", description="the key of that certificate, PEM")
    broker_patience: float = Field(
        60, ge=0, description="seconds a start waits for RabbitMQ and PostgreSQL to be there"
    )
    management_url: str = Field("", description="RabbitMQ's management API, for exact backlogs")
    consumer_timeout: float = Field(
        1800, gt=0, description="seconds, RabbitMQ's consumer_timeout; functions must end before"
    )
    ledger_url: str = Field(
        "", description="sqlite:///PATH or postgresql://…; empty is a file in the state folder"
    )
    catalog: str = Field(
        "", description="a baked catalog (lumbre bake), served without importing the functions"
    )
    blobs_url: str = Field("", description="fsspec URL; empty is a folder in the state folder")
    retention_age: float = Field(
        7 * 86_400, ge=0, description="seconds that finished invocations are kept; 0 is for ever"
    )
    retention_count: int = Field(
        1_000_000, ge=0, description="finished invocations that are kept; 0 is any number"
    )
    retention_bytes: int = Field(
        10 * 2**30, ge=0, description="bytes of blobs that are kept; 0 is any number"
    )
    callback_hosts: str = Field("", description="hosts that outcomes may be POSTed to, by comma")
    callback_secret: SecretStr = Field(
        SecretStr(""), description="secret that callbacks are signed with"
    )
    public_url: str = Field("", description="this gateway's URL in callbacks; empty is its address")
    devices: str = Field("auto", description="auto, or those that may be asked for: cpu,gpu")
    gpus: int = Field(0, ge=0, description="replicas that share one GPU; 0 is one")
    cores: int = Field(
        0, ge=0, description="cores that replicas share; 0 is the machine's, or its control group's"
    )
    simulate_gpu: bool = Field(False, description="a GPU pool that computes on the CPU, labelled")
    max_body: int = Field(64 * 2**20, ge=1024, description="bytes one input may have")
    max_result: int = Field(64 * 2**20, ge=1024, description="bytes one result may have")
    queue_limit: int = Field(10_000, ge=1, description="waiting invocations per function, device")
    max_wait: float = Field(300, gt=0, description="seconds a caller waits before its 200 is a 202")
    grace: float = Field(30, ge=0, description="seconds a drain waits for what is running")
    health_port: int = Field(
        0, ge=0, le=65535, description="port of a worker's or recorder's probes, metrics; 0: none"
    )
    scaler_port: int = Field(
        0, ge=0, le=65535, description="port of KEDA's external scaler on a gateway; 0: none"
    )
    reload: bool = Field(False, description="take changed function files without losing work")
    debug: bool = Field(False, description="tracebacks in answers to callers")
    log_format: Literal["text", "json"] = Field("text", description="text or json")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="the least that is logged"
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)

    @property
    def folders(self) -> list[Path]:
        """Where functions are looked for."""
        return [
            Path(folder).expanduser().resolve() for folder in self.functions.split(":") if folder
        ]

    @property
    def own_url(self) -> str:
        """Where callers reach this gateway."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return self.public_url or f"http://{host}:{self.port}"

    @property
    def embedded(self) -> bool:
        """Whether the queues are in this process, which then is gateway, worker and all."""
        return self.broker_url.startswith("memory:")

    @property
    def ledger(self) -> str:
        return self.ledger_url or f"sqlite+aiosqlite:///{self.state.resolve()}/ledger.db"

    @property
    def blobs(self) -> str:
        return self.blobs_url or f"{self.state.resolve().as_uri()}/blobs"


def read_settings(flags: Mapping[str, Any] | None = None) -> Settings:
    """Read the settings; ConfigurationError names the setting, its value and what it takes."""
    given = {name: value for name, value in (flags or {}).items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        faults = [
            _fault("_".join(map(str, e["loc"])), e["input"], e["msg"]) for e in error.errors()
        ]
        raise ConfigurationError("; ".join(faults)) from None
    except (ValueError, OSError) as error:
        raise ConfigurationError(f"lumbre.toml cannot be read: {error}") from None


def _fault(name: str, value: Any, what: str) -> str:
    """What is wrong with a setting, with its value where that is known to be no secret."""
    field = Settings.model_fields.get(name)  # None for a name that does not exist, such as a typo
    shown = without_password(value) if field and field.annotation is not SecretStr else "***"
    return f"{PREFIX}{name.upper()}={shown!r}: {what}"


def origin(name: str, flags: Mapping[str, Any]) -> str:
    """Where a setting's value came from: flag, variable, file or default."""
    if flags.get(name) is not None:
        return "flag"
    if any(key.upper() == f"{PREFIX}{name.upper()}" for key in os.environ):
        return f"{PREFIX}{name.upper()}"
    file = TomlConfigSettingsSource(Settings)
    return "lumbre.toml" if name in file() else "default"


def api_key() -> str | None:
    """The API key that commands send to a node; ConfigurationError for what cannot be one."""
    key = os.environ.get(API_KEY, "").strip()
    if not all("!" <= character <= "~" for character in key):
        raise ConfigurationError(f"{API_KEY} holds no API key: it has spaces, or is not ASCII")
    return key or None


def without_password(value: Any) -> Any:
    """A value that may be shown: a URL loses its password."""
    return re.sub(r"(?<=://)([^/@:]*):.*@", r"\1:***@", value) if isinstance(value, str) else value
