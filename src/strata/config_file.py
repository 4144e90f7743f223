"""How settings are read, whosever they are: TOML, then the environment, then flags; what is wrong
with them is one line that repeats no value."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from strata.errors import BadArguments


class Section(BaseModel):
    """One table of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Settings(BaseSettings):
    """The whole of a file. Who derives from it gives the prefix of the environment."""

    model_config = SettingsConfigDict(
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        nested_model_default_partial_update=True,
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
        return (
            init_settings,
            env_settings,
            TomlConfigSettingsSource(settings_cls, _config_file),
        )


_config_file: Path | None = None

Some = TypeVar("Some", bound=Settings)


def load(kind: type[Some], config: Path | None, flags: dict[str, Any], form: str) -> Some:
    """Reads file and environment; ``flags`` (nested dicts) override.

    Args:
        form: how a variable of a section is written, for who writes it wrong.

    Raises:
        BadArguments: an unknown key or a value that cannot be; names each of them.
    """
    global _config_file
    if config is not None and not config.is_file():
        raise BadArguments(f"the settings file {config} does not exist")
    _config_file = config
    try:
        return kind(**flags)
    except ValidationError as error:
        lines = [
            ": ".join(filter(None, (".".join(map(str, item["loc"])), item["msg"])))
            for item in error.errors(include_input=False, include_url=False)
        ]
        raise BadArguments("these settings cannot be used: " + "; ".join(lines)) from None
    except SettingsError as error:  # a section that is no section: STRATA_HOST=name
        raise BadArguments(
            f"these settings cannot be used: {error}; write {form}, with two underscores"
        ) from None
    except ValueError as error:  # the TOML itself
        raise BadArguments(f"the settings file {config} cannot be read: {error}") from None
    except OSError as error:
        raise BadArguments(
            f"the settings file {config} cannot be read: {error.strerror}; see whose it is"
        ) from None
    finally:
        _config_file = None


def given(flags: dict[str, Any]) -> dict[str, Any]:
    """Flags that were given; a section of which none was is left out."""
    kept = {
        key: given(item) if isinstance(item, dict) else item
        for key, item in flags.items()
        if item is not None
    }
    return {key: item for key, item in kept.items() if item != {}}
