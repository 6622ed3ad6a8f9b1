"""What the scripts beside this one tell: by case the talks that a library read, and the answers that it would train."""

import json
import re
import sys
import traceback

_TURN = re.compile(r"<\|im_start\|>(\w+)\n(.*?)<\|im_end\|>", re.DOTALL)
ROLES = {"human": "user", "gpt": "assistant"}


def tell(cases):
    """Print what each case gives; a case is (export, how) with a function that returns talks, or (talks, trained)."""
    for (export, how), read in cases.items():
        try:
            given = read()
            talks, trained = given if isinstance(given, tuple) else (given, None)
            told = {"talks": talks, "trained": trained}
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the outcome
            traceback.print_exc(file=sys.stderr)
            told = {"error": f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"}
        print("told " + json.dumps({"export": export, "how": how} | told, default=repr), flush=True)


def pairs(questions, answers):
    """Talks of one turn."""
    return [[["user", asked], ["assistant", said]] for asked, said in zip(questions, answers, strict=True)]


def talk(messages, role="role", content="content"):
    """A talk of messages; roles as openai has them."""
    return [[ROLES.get(one[role], one[role]), one[content]] for one in messages]


def talk_in(text):
    """The talk that ChatML's marks make of a text."""
    return [list(turn) for turn in _TURN.findall(text)]


def answers_in(text):
    """What stands before each end token of a text that is trained."""
    return [said.removeprefix("\n") for said in text.split("<|im_end|>")[:-1]]
