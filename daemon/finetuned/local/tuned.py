"""What lies in the folder of a tuned model: a whole model, or what is laid over another one, and who can run it."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Final

import msgspec

from finetuned.errors import Refused
from finetuned.local.trainers.publishing import read_tuned
from finetuned.model import Value
from finetuned.paths import escape

#: the weights that mlx-lm lays over a model, and those of PEFT, which TRL and most others write
MLX_ADAPTER: Final = "adapters.safetensors"
PEFT_ADAPTERS: Final = ("adapter_model.safetensors", "adapter_model.bin")
ADAPTER_CONFIG: Final = "adapter_config.json"
CONFIG: Final = "config.json"
_AGAIN: Final = "`finetuned retry` trains the job again"


class Tuned(Value, frozen=True):
    """A model as mlx-lm loads it: a folder, or a name at the hub, and the folder of what is laid over it, if any."""

    model: str
    adapter: str = ""


class _AdapterConfig(Value, frozen=True):
    model: str = ""
    base_model_name_or_path: str = ""


def tuned(path: str, name: str) -> Tuned:
    """Tell what lies at the path of the model that the job `name` tuned. Raises Refused: mlx-lm cannot run it."""
    try:
        found = set(os.listdir(path))
    except OSError as error:
        raise Refused(f"the model of {name} is not at {escape(path)}: {error.strerror}", remedy=_AGAIN) from error
    if MLX_ADAPTER in found:
        base = base_of(path)
        if not base:
            raise Refused(f"{escape(path)} does not tell which model it was laid over", remedy=_AGAIN)
        if os.path.isabs(base) and not os.path.isdir(base):
            raise Refused(f"the model that {name} was tuned from is not at {escape(base)}", remedy="put it back there")
        return Tuned(model=base, adapter=path)
    if found & set(PEFT_ADAPTERS):
        base = base_of(path) or "BASE"
        serve = f"vllm serve {escape(base)} --enable-lora --lora-modules {name}={escape(path)}"
        raise Refused(
            f"the model of {name} is an adapter for PEFT, which mlx-lm cannot run",
            remedy=f"serve it, for example with `{serve}`, and name that address in chat.url",
        )
    if CONFIG in found and any(one.endswith(".safetensors") for one in found):
        return Tuned(model=path)
    raise Refused(
        f"what lies in {escape(path)} is no model that mlx-lm can run",
        remedy="serve it with the program that it is made for, and name that address in chat.url",
    )


def base_of(path: str) -> str:
    """Tell which model the one at a path was tuned from, a folder or a name at the hub; empty: it does not say.

    Raises Refused.
    """
    told = None
    with suppress(OSError):  # what is read next tells
        told = read_tuned(path)
    if told is not None and told.base:
        return told.base
    try:
        with open(os.path.join(path, ADAPTER_CONFIG), "rb") as file:
            config = msgspec.json.decode(file.read(), type=_AdapterConfig)
    except FileNotFoundError:
        return ""
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refused(f"{escape(path)}/{ADAPTER_CONFIG} cannot be read: {error}", remedy=_AGAIN) from error
    return config.model or config.base_model_name_or_path
