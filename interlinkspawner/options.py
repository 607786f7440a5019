"""Server options as a user gives them: what each field may look like. Pure.

The same :class:`OffloadOptions` is read from the form, the query of ``/hub/spawn``
and the REST API's ``user_options``; an empty document means the defaults. Fields,
under the same names in all three:

============= ====================================================================
image         name of one of the spawner's ``images``
cpus          whole number of cores
memory        quantity (``512Mi``, ``8Gi``); a bare number is GiB
accelerator   ``<resource type>/<model>`` (``xilinx.com/fpga/u55c``), empty for none
count         whole number of devices of that model
backend       name of a virtual node, or ``auto``
walltime      ``30m``, ``2h``, ``1d``; a bare number is minutes
language      ``en`` or ``it``, of the sentences shown during the start
============= ====================================================================

It must not know what a hub or a site offers; that is checked in ``plan``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError
from pydantic_core import PydanticCustomError

from interlink_sidecars.api import quantity
from interlink_sidecars.api.errors import InvalidRequestError
from interlink_sidecars.api.kubernetes import JSON

from .language import LANGUAGES, Language, Message

AUTO = "auto"
_MINUTES = {"": 1, "m": 1, "h": 60, "d": 24 * 60}


class OptionsError(ValueError):
    """A refused option; ``message`` is "<field>: <why>." """

    def __init__(self, field: str, why: Message) -> None:
        self.field = field
        self.why = why
        self.message = Message("refused", field=field, why=why)
        super().__init__(self.message.say("en"))


# --- reading -----------------------------------------------------------------------


def _refuse(key: str, value: object) -> PydanticCustomError:
    shown = repr(value)
    return PydanticCustomError(
        key,
        "{value}",
        {"value": shown if len(shown) <= 60 else shown[:59] + "…"},
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise _refuse("not_a_string", value)
    return value.strip()


def _whole(value: object) -> int | None:
    if value in (None, ""):
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        number = value
    elif isinstance(value, str) and re.fullmatch(r"\s*[0-9]{1,9}\s*", value):
        number = int(value)
    else:
        raise _refuse("not_whole", value)
    if not 1 <= number < 10**9:
        raise _refuse("not_whole", value)
    return number


def memory_size(value: object) -> int | None:
    """Bytes of an amount of memory as a person writes it; None when absent."""
    if value in (None, ""):
        return None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise _refuse("not_memory", value)
    text = str(value).strip()
    try:
        size = quantity.ceil(f"{text}Gi" if re.fullmatch(r"[0-9.]+", text) else text)
    except InvalidRequestError as error:
        raise _refuse("not_memory", value) from error
    if not 2**20 <= size < 2**60:
        raise _refuse("not_memory", value)
    return size


def walltime_minutes(value: object) -> int | None:
    """Minutes of a time limit as a person writes it; None when absent."""
    if value in (None, ""):
        return None
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise _refuse("not_walltime", value)
    match = re.fullmatch(r"\s*([0-9]{1,7})\s*([mhd]?)\s*", str(value))
    minutes = int(match[1]) * _MINUTES[match[2]] if match else 0
    if not 1 <= minutes < 10**7:
        raise _refuse("not_walltime", value)
    return minutes


def walltime_text(minutes: int) -> str:
    """Minutes as :func:`walltime_minutes` reads them, in the largest whole unit."""
    for unit in ("d", "h"):
        if minutes % _MINUTES[unit] == 0:
            return f"{minutes // _MINUTES[unit]}{unit}"
    return f"{minutes}m"


def _memory(value: object) -> str | None:
    size = memory_size(value)
    if size is None:
        return None
    for unit, factor in (("Gi", 2**30), ("Mi", 2**20)):
        if size % factor == 0:
            return f"{size // factor}{unit}"
    return f"{-(-size // 2**20)}Mi"


def _language(value: object) -> object:
    if value not in LANGUAGES:
        raise _refuse("unknown_language", value)
    return value


Text: TypeAlias = Annotated[str, BeforeValidator(_text)]
Whole: TypeAlias = Annotated[int | None, BeforeValidator(_whole)]


class OffloadOptions(BaseModel):
    """What a user asked for; None or empty where the default shall hold.

    ``memory`` is a canonical quantity, ``walltime`` is in minutes.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    image: Text = ""
    cpus: Whole = None
    memory: Annotated[str | None, BeforeValidator(_memory)] = None
    accelerator: Text = ""
    count: Whole = None
    backend: Text = AUTO
    walltime: Annotated[int | None, BeforeValidator(walltime_minutes)] = None
    language: Annotated[Language, BeforeValidator(_language)] = "en"

    def to_json(self) -> JSON:
        """The document as JupyterHub stores it in ``user_options``."""
        return self.model_dump(mode="json", exclude_defaults=True)


def parse(document: Mapping[str, Any]) -> OffloadOptions:
    """Read ``user_options``, whoever wrote them.

    Raises:
        OptionsError: a field is unknown or of the wrong shape.
    """
    try:
        return OffloadOptions.model_validate(dict(document))
    except ValidationError as invalid:
        first = invalid.errors()[0]
        field = ".".join(str(part) for part in first["loc"])[:60]
        if first["type"] == "extra_forbidden":
            known = ", ".join(OffloadOptions.model_fields)
            raise OptionsError(field, Message("unknown_field", known=known)) from None
        raise OptionsError(
            field, Message(first["type"], **first.get("ctx", {}))
        ) from None


def parse_form(data: Mapping[str, Sequence[str]]) -> OffloadOptions:
    """Read a form post or a query: lists of strings, empty where not filled in.

    Raises:
        OptionsError: as :func:`parse`, and a field that was given twice.
    """
    document = {}
    for field, values in data.items():
        if field == "_xsrf":
            continue
        if len(values) > 1:
            raise OptionsError(field[:60], Message("given_twice"))
        if values and values[0] != "":
            document[field] = values[0]
    return parse(document)
