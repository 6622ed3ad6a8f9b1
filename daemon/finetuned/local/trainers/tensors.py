"""Files of tensors (safetensors): whether one is whole, and an adapter of mlx-lm in the shape of PEFT.

1. A file is the length of its head (8 bytes), the head (JSON: type, shape and place of each tensor), and the bytes.
2. mlx-lm computes `y + scale * (x @ a @ b)`, PEFT `y + alpha / r * (x @ A.T @ B.T)`: so A is a, and B is b, turned, and
   alpha is scale * r. Turning moves bytes, and rounds nothing.
3. Only what is named alike in both is turned: the layers of a decoder whose parts are called as in models at the hub.
   DoRA, experts and embeddings are not.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple

#: how many bytes a number has, and as what they are moved
_TYPES: Final[Mapping[str, Literal["I", "H"]]] = {"F32": "I", "F16": "H", "BF16": "H"}
_LONGEST_HEAD: Final = 100 * 1024 * 1024
_ALIKE: Final = re.compile(r"(model\.layers\.(\d+)\.(?:self_attn|mlp)\.((?:q|k|v|o|gate|up|down)_proj))\.lora_([ab])")


class _Tensor(NamedTuple):
    kind: str
    shape: list[int]
    data: memoryview


def is_whole(path: str) -> bool:
    """Tell whether a file of tensors is there from its first to its last byte. Raises OSError."""
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        head = _head(file.read(8), size)
        if head is None:
            return False
        try:
            told = json.loads(file.read(head))
            ends = [one["data_offsets"][1] for name, one in told.items() if name != "__metadata__"]
        except (ValueError, KeyError, TypeError, IndexError, AttributeError):
            return False
    return bool(ends) and 8 + head + max(ends) == size


def _head(first: bytes, size: int) -> int | None:
    length = int.from_bytes(first, "little")
    return length if len(first) == 8 and 0 < length <= min(size - 8, _LONGEST_HEAD) else None


def to_peft(folder: str, base: str, target: str) -> bool:
    """Write an adapter of mlx-lm in the shape of PEFT into the folder `target`, beside its own; tell if it can be.

    The one `adapter_config.json` is for both: neither reads the other's keys. Raises OSError.
    """
    with open(os.path.join(folder, "adapter_config.json"), "rb") as file:
        config = json.load(file)
    parameters = config.get("lora_parameters") or {}
    if config.get("fine_tune_type") != "lora" or not {"rank", "scale"} <= parameters.keys():
        return False
    tensors = _read(os.path.join(folder, "adapters.safetensors"))
    found = {name: _ALIKE.fullmatch(name) for name in tensors}
    alpha = parameters["scale"] * parameters["rank"]
    if not all(found.values()) or alpha != int(alpha):
        return False
    matches = [one for one in found.values() if one]
    turned = {f"base_model.model.{one[1]}.lora_{one[4].upper()}.weight": _turned(tensors[one[0]]) for one in matches}
    peft = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "inference_mode": True,
        "r": parameters["rank"],
        "lora_alpha": int(alpha),
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": sorted({one[3] for one in matches}),
        "layers_to_transform": sorted({int(one[2]) for one in matches}),
    }
    _write(os.path.join(target, "adapter_model.safetensors"), turned)
    with open(os.path.join(target, "adapter_config.json"), "w", encoding="utf-8") as file:
        json.dump({**config, **peft}, file, indent=2)
    return True


def _read(path: str) -> dict[str, _Tensor]:
    with open(path, "rb") as file:
        whole = memoryview(file.read())
    head = int.from_bytes(whole[:8], "little")
    told: Mapping[str, Any] = json.loads(bytes(whole[8 : 8 + head]))
    data = whole[8 + head :]
    return {
        name: _Tensor(one["dtype"], one["shape"], data[slice(*one["data_offsets"])])
        for name, one in told.items()
        if name != "__metadata__"
    }


def _turned(tensor: _Tensor) -> _Tensor:
    """Swap rows and columns."""
    rows, columns = tensor.shape
    numbers = tensor.data.cast(_TYPES[tensor.kind])
    turned = memoryview(bytearray(len(tensor.data))).cast(_TYPES[tensor.kind])
    for column in range(columns) if columns <= rows else ():
        turned[column * rows : (column + 1) * rows] = numbers[column::columns]
    for row in range(rows) if columns > rows else ():
        turned[row::rows] = numbers[row * columns : (row + 1) * columns]
    return _Tensor(tensor.kind, [columns, rows], turned.cast("B"))


def _write(path: str, tensors: Mapping[str, _Tensor]) -> None:
    told: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    place = 0
    for name, tensor in tensors.items():
        ends = place + len(tensor.data)
        told[name] = {"dtype": tensor.kind, "shape": tensor.shape, "data_offsets": [place, ends]}
        place = ends
    head = json.dumps(told, separators=(",", ":")).encode()
    head = head.ljust(8 * math.ceil(len(head) / 8))
    with open(path, "wb") as file:
        file.write(len(head).to_bytes(8, "little") + head)
        file.writelines(tensor.data for tensor in tensors.values())
