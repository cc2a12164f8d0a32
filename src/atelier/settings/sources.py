"""Where settings come from, and how an operator spells them there.

Knows no setting.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from pydantic_settings import BaseSettings, YamlConfigSettingsSource

PREFIX = "ATELIER_"
CONFIG_VARIABLE = "ATELIER_CONFIG"
NO_FILE = os.devnull  # as CONFIG_VARIABLE: no file is read, the environment has everything
EMBEDDED = "atelier up"  # the source of settings that it makes itself for its roles
EMBEDDED_VARIABLE = "ATELIER_EMBEDDED"  # the names of those
# Set where root has started it: what it runs as now, in a sentence.
ROOT_VARIABLE = "ATELIER_STARTED_AS_ROOT"
TEST_PREFIX = "ATELIER_TEST_"


def config_file() -> Path:
    """The YAML file that is read when it exists."""
    return Path(os.environ.get(CONFIG_VARIABLE, "atelier.yaml"))


def environment() -> dict[str, str]:
    """Variables of ours that are set, and the field each one means."""
    return {
        variable: variable[len(PREFIX) :].lower()
        for variable, value in os.environ.items()
        if variable.upper().startswith(PREFIX)
        and not variable.upper().startswith(TEST_PREFIX)
        and variable.upper() not in {CONFIG_VARIABLE, EMBEDDED_VARIABLE, ROOT_VARIABLE}
        and value
    }


def file_keys(settings: type[BaseSettings]) -> set[str]:
    """The keys that the file sets."""
    return set(YamlConfigSettingsSource(settings, yaml_file=config_file())())


def origins(settings: type[BaseSettings], chosen: Collection[str]) -> dict[str, str]:
    """Where the value of each setting came from; `chosen` are of the command line.

    `command line`, `environment (NAME)`, `file (PATH)`, `default`, or `atelier up` where that has
    started what the value names.
    """
    ours, file = set(environment().values()), file_keys(settings)
    embedded = os.environ.get(EMBEDDED_VARIABLE, "").split(",")

    def origin(name: str) -> str:
        if name in chosen:
            return "command line"
        if name in embedded:
            return EMBEDDED
        if name in ours:
            return f"environment ({PREFIX}{name.upper()})"
        return f"file ({config_file()})" if name in file else "default"

    return {name: origin(name) for name in settings.model_fields}


def spelled(name: str, chosen: Collection[str]) -> str:
    """The setting as the operator wrote it."""
    if name in chosen:
        return f"--{name.replace('_', '-')}"
    variables = {field: variable for variable, field in environment().items()}
    return variables.get(name) or f"{name} in {config_file()}"
