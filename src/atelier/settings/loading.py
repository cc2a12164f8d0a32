"""Settings for a command, or one sentence about what is wrong with them."""

from __future__ import annotations

import os
from collections.abc import Collection
from typing import Any

from pydantic import ValidationError
from yaml import YAMLError

from atelier.errors import AtelierError
from atelier.settings.complaints import complaint, flaw
from atelier.settings.model import Settings
from atelier.settings.sources import CONFIG_VARIABLE, NO_FILE, config_file, environment, spelled


class SettingsError(AtelierError):
    """The settings cannot be used."""

    slug = "settings"


def load(**chosen: Any) -> Settings:
    """The settings, `chosen` (from the command line) first.

    Raises SettingsError, which names keys and never values.
    """
    unknown = sorted(
        variable for variable, name in environment().items() if name not in Settings.model_fields
    )
    if unknown:
        raise SettingsError(
            f"unknown environment variable {', '.join(unknown)}: see docs/reference/settings.md"
        )
    named = os.environ.get(CONFIG_VARIABLE)
    if named not in {None, NO_FILE} and not config_file().is_file():
        raise SettingsError(f"{CONFIG_VARIABLE} names {config_file()}, which is not a file")
    try:
        settings = Settings(**chosen)
    except ValidationError as error:
        raise SettingsError("; ".join(_complaints(error, chosen))) from None
    except (YAMLError, TypeError, ValueError, OSError) as error:
        raise SettingsError(
            f"{config_file()} cannot be read as YAML settings: {flaw(error)}"
        ) from None
    settings._chosen = frozenset(chosen)
    return settings


def _complaints(error: ValidationError, chosen: Collection[str]) -> list[str]:
    """One sentence for each bad value, naming it as the operator wrote it."""
    sentences = []
    for problem in error.errors(include_input=False, include_url=False):
        name = str(problem["loc"][0]) if problem["loc"] else "settings"
        sentences.append(f"{spelled(name, chosen)}: {complaint(name, problem)}")
    return list(dict.fromkeys(sentences))
