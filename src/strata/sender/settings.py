"""Every setting of the field agent, its default and its unit, from TOML and environment.

``STRATA_SENDER_`` + key, or section + ``__`` + key, in the environment
(``STRATA_SENDER_ENCODER__CEILING_KBPS``) goes before the same key in the file that ``--config``
names.
"""

from __future__ import annotations

import ipaddress
import os
import re
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from strata import config_file
from strata.config_file import Section
from strata.errors import BadArguments

PREFIX: Final = "STRATA_SENDER_"
SCHEMES: Final = {"https": "wss", "http": "ws", "wss": "wss", "ws": "ws"}
WAY: Final = "/agent/ws"
SOURCE_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


class Encoder(Section):
    """Between which bitrates the encoder is kept while links change."""

    floor_kbps: int = Field(default=300, ge=100, description="below it links are left to choke")
    ceiling_kbps: int = Field(default=20_000, ge=100, description="whatever control asks for")

    @model_validator(mode="after")
    def _are_in_order(self) -> Encoder:
        if self.floor_kbps > self.ceiling_kbps:
            raise ValueError("floor_kbps is above ceiling_kbps")
        return self


class Link(Section):
    """One way to the receiver, by the network interface, the address of its own, or both."""

    id: str = Field(default="", max_length=32, pattern=r"^[A-Za-z0-9._-]*$")
    interface: str | None = Field(default=None, min_length=1, max_length=15)
    address: str | None = Field(default=None, description="of this machine, to send from")

    @field_validator("address")
    @classmethod
    def _is_address(cls, value: str | None) -> str | None:
        return value if value is None else str(ipaddress.ip_address(value))

    @model_validator(mode="after")
    def _is_named(self) -> Link:
        if self.interface is None and self.address is None:
            raise ValueError("a link needs an interface, such as wwan0, or an address")
        return self

    @property
    def name(self) -> str:
        """What it is called in reports."""
        return self.id or self.interface or self.address or ""


class Source(Section):
    """A picture in the network, such as a camera. What is in ``uri`` stays on this machine."""

    name: str = Field(description="what control calls it: source://NAME")
    uri: SecretStr

    @field_validator("name")
    @classmethod
    def _is_word(cls, value: str) -> str:
        if not SOURCE_NAME.fullmatch(value):
            raise ValueError("write a name in small letters, digits, - and _")
        return value


class SenderSettings(config_file.Settings):
    model_config = SettingsConfigDict(env_prefix=PREFIX)

    control: str = Field(default="", description="https://control.example, where agents dial in")
    enrollment_token: SecretStr | None = Field(
        default=None, description="made by an operator; works once, and is not looked at again"
    )
    ca_file: Path | None = Field(
        default=None, description="certificates to trust, beside those of the system"
    )
    allow_plain: bool = Field(
        default=False, description="ws:// to another machine: keys travel in the clear"
    )
    state_dir: Path = Field(default_factory=lambda: default_state_dir(), validate_default=True)
    media_folders: tuple[Path, ...] = Field(
        default=(), description="files in them are offered, and no other may be sent"
    )
    receiver_silence_s: float = Field(
        default=90.0,
        ge=10.0,
        description="without a word of the receiver, before a broadcast ends by itself",
    )
    encoder: Encoder = Encoder()
    links: tuple[Link, ...] = Field(default=(), max_length=8, description="empty: they are found")
    sources: tuple[Source, ...] = Field(default=(), max_length=32)

    @field_validator("control")
    @classmethod
    def _is_server(cls, value: str) -> str:
        if value:
            agent_url(value)
        return value

    @field_validator("media_folders")
    @classmethod
    def _are_absolute(cls, value: tuple[Path, ...]) -> tuple[Path, ...]:
        if not all(folder.is_absolute() for folder in value):
            raise ValueError("write whole paths, from / on")
        return value

    @field_validator("links")
    @classmethod
    def _are_told_apart(cls, value: tuple[Link, ...]) -> tuple[Link, ...]:
        if len({link.name for link in value}) < len(value):
            raise ValueError("two links have the same id; give each its own")
        return value

    @field_validator("sources")
    @classmethod
    def _have_names(cls, value: tuple[Source, ...]) -> tuple[Source, ...]:
        if len({source.name for source in value}) < len(value):
            raise ValueError("two sources have the same name; give each its own")
        return value

    @model_validator(mode="after")
    def _keeps_secrets(self) -> SenderSettings:
        if self.control and not self.allow_plain and _is_exposed(agent_url(self.control)):
            raise ValueError(
                "control: keys travel there, and this way is not encrypted; write https://..., or "
                "set allow_plain = true where the network itself is trusted"
            )
        return self

    @property
    def url(self) -> str:
        """Where the agent dials.

        Raises:
            BadArguments: it was not told.
        """
        if not self.control:
            raise BadArguments(
                "control is not set, so nobody can tell this machine to send; write control = "
                '"https://your.server" into the settings (--config), or send by hand with --to'
            )
        return agent_url(self.control)


def agent_url(control: str) -> str:
    """The address of the WebSocket, of that of the control plane.

    Raises:
        ValueError: it is none.
    """
    parts = urlsplit(control)
    try:
        port = parts.port
    except ValueError:
        port = 0
    if parts.scheme not in SCHEMES or not parts.hostname or port == 0:
        raise ValueError("write the address of the control plane like https://control.example")
    if parts.query or parts.fragment or parts.username is not None:
        raise ValueError("the address of the control plane has no user, no ? and no #")
    return f"{SCHEMES[parts.scheme]}://{parts.netloc}{parts.path.rstrip('/')}{WAY}"


def is_loopback(host: str) -> bool:
    """Whether it is this machine, by name or address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _is_exposed(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme == "ws" and not is_loopback(parts.hostname or "")


def default_state_dir() -> Path:
    """Where systemd says, else where services keep such things, else where people do."""
    if told := os.environ.get("STATE_DIRECTORY"):
        return Path(told.partition(":")[0])
    if os.geteuid() == 0:
        return Path("/var/lib/strata-sender")
    home = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(home).expanduser() / "strata-sender"


def load(config: Path | None = None, **flags: Any) -> SenderSettings:
    """Reads file and environment. The token is taken out of the latter: what this process
    starts need not have it.

    Raises:
        BadArguments: an unknown key or a value that cannot be; names each of them.
    """
    form = f"{PREFIX}SECTION__KEY"
    settings = config_file.load(SenderSettings, config, config_file.given(flags), form)
    os.environ.pop(f"{PREFIX}ENROLLMENT_TOKEN", None)
    token = settings.enrollment_token
    if token is not None:
        token = SecretStr(token.get_secret_value().strip())
    state_dir = settings.state_dir.expanduser().absolute()
    return settings.model_copy(update={"state_dir": state_dir, "enrollment_token": token or None})


def exposure(config: Path | None, settings: SenderSettings) -> str | None:
    """What is wrong with who may read the file of settings; None: nothing.

    A group may read it that this process is in: that is how a service gets at it.
    """
    holds_secrets = settings.enrollment_token is not None or settings.sources
    if config is None or not holds_secrets:
        return None
    info = config.stat()
    others = info.st_mode & 0o007
    strangers = info.st_mode & 0o070 and info.st_gid not in {os.getegid(), *os.getgroups()}
    if not others and not strangers:
        return None
    return (
        f"{config} holds secrets and can be read by other users of this machine; "
        f"take that away: chmod 600 {config}"
    )
