"""mistral-common and Together's check: `python read_files.py EXPORTS`, as `told` tells."""

import json
import sys
from pathlib import Path

from mistral_common.protocol.instruct.messages import (
    FinetuningAssistantMessage,
    SystemMessage,
    UserMessage,
)
from mistral_common.protocol.instruct.request import ChatCompletionRequest
from mistral_common.protocol.instruct.validator import MistralRequestValidatorV3, ValidationMode
from together.lib.utils import check_file
from told import talk, tell

ROOT = Path(sys.argv[1])
MESSAGES = {"system": SystemMessage, "user": UserMessage, "assistant": FinetuningAssistantMessage}


def mistral(name):
    """The talks, each of which its validator takes."""
    validator = MistralRequestValidatorV3(mode=ValidationMode.finetuning)
    read = []
    with open(ROOT / name, encoding="utf-8") as lines:
        for line in lines:
            messages = [MESSAGES[one["role"]](**one) for one in json.loads(line)["messages"]]
            validator.validate_request(ChatCompletionRequest(messages=messages))
            read.append(talk([{"role": one.role, "content": one.content} for one in messages]))
    return read


def together(name):
    """The talks of a file that its check takes."""
    report = check_file(ROOT / name)
    if not report["is_check_passed"]:
        raise ValueError(report["message"])
    with open(ROOT / name, encoding="utf-8") as lines:
        return [talk(json.loads(line)["messages"]) for line in lines]


tell(
    {
        ("openai.jsonl", "mistral-common: validator V3, finetuning"): lambda: mistral("openai.jsonl"),
        ("openai.jsonl", "together: check_file"): lambda: together("openai.jsonl"),
        ("pairs.csv", "together: check_file"): lambda: together("pairs.csv"),
    }
)
