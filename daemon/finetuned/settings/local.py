"""The tables of the backend that learns here: who makes pairs, who trains, where, and how its models are asked.

1. Which of them count depends on `kind`: that is checked in `relations`, and only if a folder goes by this backend.
"""

from typing import Annotated, Final

from finetuned.model import Value
from finetuned.settings.readers import (
    a_choice,
    a_command,
    a_key_file,
    a_model,
    a_name,
    a_number,
    a_path,
    a_program,
    a_size,
    a_time,
    an_endpoint,
    no_endpoint,
    some_words,
)

#: the name by which the ledger knows the backend that learns here: it has no address
LOCAL_URL: Final = "local"
#: how many more jobs than trainings may be under way: pairs are made for the next ones meanwhile
AHEAD: Final = 2
#: the longest wait between two tries while it cannot be used, in seconds
LONGEST_PAUSE: Final = 120.0


class MakerSettings(Value, frozen=True):
    """Who makes pairs of texts, for the local backend."""

    kind: Annotated[
        str,
        a_choice("chat", "rules", "command"),
        "chat: a model behind an OpenAI-compatible endpoint; rules: simple ones, offline; command: a program of yours.",
    ] = "chat"
    url: Annotated[str, an_endpoint, "Where the endpoint answers, without /chat/completions."] = (
        "http://127.0.0.1:11434/v1"
    )
    model: Annotated[str, a_name, "The model's name there; chat needs one."] = ""
    api_key_file: Annotated[str, a_key_file, 'A file that holds the key of the endpoint; "": it needs none.'] = ""
    command: Annotated[
        tuple[str, ...],
        a_command,
        "The program and its words: it reads chunks as JSON Lines, and writes pairs as JSON Lines.",
    ] = ()
    prompt_file: Annotated[str, a_path, 'A file with instructions in the place of ours; "": ours.'] = ""
    chunk_bytes: Annotated[
        int,
        a_size("1MiB", least=256),
        "The most bytes of text in a chunk, which one request asks about; a job that is under way keeps its chunks.",
    ] = 4 * 1024
    max_requests: Annotated[int, a_number(1, 1000), "Requests at a time."] = 4
    timeout: Annotated[float, a_time("1s", "1d"), "How long an answer may take."] = 120.0
    max_tokens_a_day: Annotated[
        int, a_number(0, 10**12), "A budget: once it is met, no more is asked until tomorrow; 0: none."
    ] = 0
    max_tokens_a_job: Annotated[int, a_number(0, 10**12), "The same for each job, which a person lets go on."] = 0
    judge_url: Annotated[
        str, no_endpoint, 'The endpoint of a model that judges each pair; "": that of `url`, if `judge_model` is set.'
    ] = ""
    judge_model: Annotated[str, a_name, 'The name of the model that judges; "": no pair is judged.'] = ""
    judge_api_key_file: Annotated[str, a_key_file, "A file that holds the key of the judge's endpoint."] = ""


class TrainerSettings(Value, frozen=True):
    """Who trains a model with the pairs, for the local backend."""

    kind: Annotated[
        str,
        a_choice("none", "mlx", "trl", "llamafactory", "axolotl", "unsloth", "command"),
        "The program that trains: one that is known by its name, command for another, or none: pairs only.",
    ] = "mlx"
    model: Annotated[
        str, a_model, 'The model to start with: a folder, or its name at the hub; "": a toy one that is made here.'
    ] = ""
    command: Annotated[
        tuple[str, ...], a_command, "The program and its words, in which {model} {data} {out} {name} are filled in."
    ] = ()
    program: Annotated[
        str, a_program, 'The program of a trainer that is known; "": as it is found beside this Python, or on PATH.'
    ] = ""
    options: Annotated[tuple[str, ...], some_words, "Further words for it."] = ()
    run_on: Annotated[str, a_choice("here", "slurm"), "here, or slurm: on a cluster, see [slurm]."] = "here"
    time_limit: Annotated[float, a_time("1s", "90d"), "How long a training may take."] = 43200.0
    max_in_flight: Annotated[int, a_number(1, 1000), "Trainings at a time."] = 1
    lock_file: Annotated[
        str, a_path, 'A file that is locked while it trains here, for programs that share the GPU; "": none.'
    ] = ""
    nice: Annotated[int, a_number(0, 19), "How much it makes way for other programs, from 0 to 19."] = 10
    publish: Annotated[
        str, a_path, 'A folder in which the tuned model is laid under its job\'s name; "": it stays beside the ledger.'
    ] = ""


class SlurmSettings(Value, frozen=True):
    """What is asked of the cluster, with `run_on = "slurm"`."""

    partition: Annotated[str, a_name, 'The partition; "": that of the cluster.'] = ""
    gres: Annotated[str, a_name, 'The resources, such as "gpu:1".'] = ""
    account: Annotated[str, a_name, 'The account; "": your own.'] = ""
    options: Annotated[tuple[str, ...], some_words, 'Further options of sbatch, such as ["--mem=32G"].'] = ()


class ChatSettings(Value, frozen=True):
    """How models that were tuned here are talked to."""

    url: Annotated[
        str, no_endpoint, 'An endpoint that serves them; "": the server of mlx-lm, started when it is needed.'
    ] = ""
    model: Annotated[str, a_name, 'The name of the model there; "": the job\'s.'] = ""
    api_key_file: Annotated[str, a_key_file, 'A file that holds the key of the endpoint; "": it needs none.'] = ""
    idle: Annotated[float, a_time("1s", "30d"), "The server of ours ends when it was not asked for this long."] = 600.0


class LocalService(Value, frozen=True):
    """What the daemon goes by of these tables."""

    max_in_flight: int
    url: str = LOCAL_URL
    longest_pause: float = LONGEST_PAUSE
