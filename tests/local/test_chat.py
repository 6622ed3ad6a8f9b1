"""What comes of a question to an endpoint: each way in which it can end, over real sockets, under asyncio and trio."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import anyio
import pytest

from finetuned.backend import CallEnd
from finetuned.errors import Busy, KeyRefused, NotTheServer, Refused, ReplyLost, ServerError, Unreachable
from finetuned.local.chat import ANSWER_BYTES, Chat, new_way
from finetuned.local.chat import Endpoint as Where
from finetuned.local.said import Ending
from finetuned.runtime import SystemRuntime
from support.endpoint import PAGE, Answer, Endpoint, complains, said, streamed
from support.ports import free_port

ASKED = [{"role": "system", "content": "Make pairs."}, {"role": "user", "content": "The otter sleeps on its back."}]
SCHEMA = {"type": "object", "properties": {"answer": {"type": "string"}}}
KEY = "sk-very-secret"


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    """An endpoint that answers."""
    with Endpoint(lambda _: '{"answer": "yes"}') as one:
        yield one


@asynccontextmanager
async def a_chat(url: str, *, patience: float = 20.0, key: Path | None = None, **more: Any) -> AsyncIterator[Chat]:
    """Who asks it."""
    where = Where(url=url, model="tiny", timeout=patience, api_key_file=str(key or ""))
    async with new_way(url) as way:
        yield Chat(way, where, SystemRuntime(), **more)


async def asked(endpoint: Endpoint, **more: Any) -> ServerError:
    """The outcome of a question that is not answered."""
    async with a_chat(endpoint.url, **more) as one:
        with pytest.raises(ServerError) as caught:
            await one.ask(ASKED, SCHEMA)
    assert caught.value.remedy
    assert KEY not in caught.value.with_remedy()
    return caught.value


async def test_a_question_is_answered(endpoint: Endpoint):
    """The text comes back, with what it cost, as the endpoint counts."""
    async with a_chat(endpoint.url) as one:
        reply = await one.ask(ASKED, SCHEMA)
    assert (reply.text, reply.tokens, reply.estimated, reply.ending) == ('{"answer": "yes"}', 100, False, Ending.WHOLE)
    (question,) = endpoint.questions
    assert question.path == "/v1/chat/completions"
    assert question.body["messages"] == ASKED
    assert question.body["model"] == "tiny"
    assert question.body["stream"] is False
    assert question.body["response_format"]["json_schema"]["schema"] == SCHEMA
    assert "authorization" not in question.headers


async def test_without_a_schema_none_is_sent(endpoint: Endpoint):
    """A question in prose may be answered in prose."""
    async with a_chat(endpoint.url + "/chat/completions/") as one:
        await one.ask(ASKED)
    assert "response_format" not in endpoint.questions[0].body


@pytest.mark.parametrize(
    "answer",
    [
        said("words", tokens=None),
        streamed("words", tokens=None),
        Answer(
            body=json.dumps({"choices": [{"message": {"content": "words"}}], "usage": {"total_tokens": "?"}}).encode()
        ),
        Answer(body=json.dumps({"choices": [{"message": {"content": "words"}}], "usage": None}).encode()),
        Answer(body=json.dumps({"choices": [{"text": "words"}]}).encode()),
    ],
)
async def test_tokens_that_are_not_told_are_estimated(endpoint: Endpoint, answer: Answer):
    """Rather too many than too few, and it is said."""
    endpoint.always(answer)
    async with a_chat(endpoint.url) as one:
        reply = await one.ask(ASKED)
    assert (reply.text, reply.estimated) == ("words", True)
    assert reply.tokens == 14 + 2


async def test_no_answer_costs_more_than_a_ledger_can_add_up(endpoint: Endpoint):
    """Some say -1, as a number without a sign."""
    endpoint.always(said("words", tokens=2**64 - 1))
    async with a_chat(endpoint.url) as one:
        reply = await one.ask(ASKED)
    assert (reply.text, reply.tokens) == ("words", 2 * (2**31 - 1))


@pytest.mark.parametrize("status", [200, 400, 500])
async def test_an_answer_without_a_bottom_is_none(endpoint: Endpoint, status: int):
    """Nor is an error that is nested for ever."""
    endpoint.always(Answer(status=status, body=b"[" * 100_000))
    async with a_chat(endpoint.url) as one:
        with pytest.raises(ServerError):
            await one.ask(ASKED)


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
async def test_a_stream_that_nobody_asked_for_is_read(endpoint: Endpoint, newline: str):
    """Its pieces are joined, and its tokens found in its last event."""
    endpoint.always(streamed("žluťoučký kůň " * 20, newline=newline))
    async with a_chat(endpoint.url) as one:
        reply = await one.ask(ASKED)
    assert (reply.text, reply.tokens, reply.estimated) == ("žluťoučký kůň " * 20, 100, False)


async def test_an_answer_in_parts_is_joined(endpoint: Endpoint):
    """Some endpoints give a text as a list of its parts."""
    parts = [{"type": "text", "text": "one "}, "two", {"type": "image"}]
    body = {"choices": [{"message": {"content": parts}, "finish_reason": "stop"}]}
    endpoint.always(Answer(body=json.dumps(body).encode()))
    async with a_chat(endpoint.url) as one:
        assert (await one.ask(ASKED)).text == "one two"


@pytest.mark.parametrize(
    ("answer", "ending", "text"),
    [
        (said('{"pairs": [{"q', reason="length"), Ending.CUT, '{"pairs": [{"q'),
        (said(None, reason="content_filter"), Ending.REFUSED, ""),
        (said(None, refusal="I will not."), Ending.REFUSED, "I will not."),
        (said("", reason="stop"), Ending.WHOLE, ""),
    ],
)
async def test_how_an_answer_ended_is_told(endpoint: Endpoint, answer: Answer, ending: Ending, text: str):
    """Cut, refused or empty: it was paid, and is an answer."""
    endpoint.always(answer)
    async with a_chat(endpoint.url) as one:
        reply = await one.ask(ASKED)
    assert (reply.ending, reply.text, reply.tokens) == (ending, text, 100)


@pytest.mark.parametrize(
    "complaint",
    [
        complains(400, "Invalid parameter: 'response_format' of type 'json_schema' is not supported with this model."),
        complains(400, "This response_format type is unavailable now"),
        complains(422, "json_schema: extra fields not permitted"),
        complains(500, "failed to parse grammar"),
        Answer(status=400, body=b"""{"error":"'response_format.type' must be 'text'"}"""),
        Answer(body=json.dumps({"error": {"message": "structured output is not supported", "code": 400}}).encode()),
    ],
)
async def test_an_endpoint_that_takes_no_schema_is_asked_without(endpoint: Endpoint, complaint: Answer):
    """It is asked once more, without the schema, and never with one again."""
    endpoint.then(complaint)
    async with a_chat(endpoint.url) as one:
        for _ in range(2):
            assert (await one.ask(ASKED, SCHEMA)).text == '{"answer": "yes"}'
    assert ["response_format" in question.body for question in endpoint.questions] == [True, False, False]
    assert len(endpoint.paid) == 2


@pytest.mark.parametrize(
    "refusal",
    [
        "Invalid schema for response_format 'answer': In context=('properties', 'pairs'), 'maxItems' is not permitted",
        "property 'maxItems' is not supported",
    ],
)
async def test_an_endpoint_that_takes_no_counts_in_a_schema_is_sent_one_without(endpoint: Endpoint, refusal: str):
    """What bounds the lists is left out first, and the schema only if it is not taken then, either."""
    bounded = {"type": "object", "properties": {"pairs": {"type": "array", "maxItems": 4, "items": {"type": "string"}}}}
    plain = {"type": "object", "properties": {"pairs": {"type": "array", "items": {"type": "string"}}}}
    endpoint.then(complains(400, refusal))
    async with a_chat(endpoint.url) as one:
        for _ in range(2):
            await one.ask(ASKED, bounded)
        endpoint.then(complains(400, "response_format is not supported"))
        await one.ask(ASKED, bounded)
    sent = [question.body.get("response_format") for question in endpoint.questions]
    assert [shape and shape["json_schema"]["schema"] for shape in sent] == [bounded, plain, plain, plain, None]


async def test_a_limit_that_does_not_fit_is_lowered_before_it_is_left_out(endpoint: Endpoint):
    """A context that has no room for a long answer has room for a shorter one, from then on."""
    full = "This model's maximum context length is 8192 tokens. However, you requested 9000 (8000 in the completion)."
    endpoint.then(said("yes"), complains(400, full), said("yes"), said("yes"), complains(400, full))
    async with a_chat(endpoint.url) as one:
        for tokens in (5000, 8000, 8000, 1000):
            await one.ask(ASKED, tokens=tokens)
    assert [question.body.get("max_tokens") for question in endpoint.questions] == [5000, 8000, 4096, 4096, 1000, None]


async def test_fields_that_an_endpoint_does_not_take_are_left_out(endpoint: Endpoint):
    """A newer model wants another name for the limit, and no temperature."""

    def picky(question: Any) -> Answer:
        if "max_tokens" in question.body:
            return complains(400, "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.")
        if "temperature" in question.body:
            return complains(400, "Unsupported value: 'temperature' does not support 0.2 with this model.")
        return said("yes")

    endpoint.always(picky)
    async with a_chat(endpoint.url) as one:
        assert (await one.ask(ASKED)).text == "yes"
        await one.ask(ASKED)
    assert len(endpoint.questions) == 4
    assert endpoint.questions[-1].body.keys() == {"model", "messages", "stream", "max_completion_tokens"}


async def test_a_limit_that_leaves_the_question_no_room_is_left_out(endpoint: Endpoint):
    """Where question and answer share a small context, the answer is as long as it can be."""

    def small(question: Any) -> Answer:
        if "max_tokens" in question.body:
            return complains(400, "maximum context length is 4096 tokens. However, you requested 5000 tokens "
                                  "(904 in the messages, 4096 in the completion).")  # fmt: skip
        return said("yes")

    endpoint.always(small)
    async with a_chat(endpoint.url) as one:
        assert (await one.ask(ASKED)).text == "yes"


async def test_an_endpoint_that_complains_for_ever_is_not_asked_for_ever(endpoint: Endpoint):
    """Each field is left out once."""
    endpoint.always(complains(400, "response_format, max_tokens, max_completion_tokens and temperature: bad"))
    assert type(await asked(endpoint)) is Refused
    assert len(endpoint.questions) <= 5


def in_seconds(seconds: float) -> str:
    """A date as HTTP has it."""
    return format_datetime(datetime(2026, 11, 29, 12, tzinfo=UTC) + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize(
    ("answer", "after"),
    [
        (complains(429, "slow down", retry_after="7"), 7.0),
        (complains(503, "busy", retry_after="0.5"), 0.5),
        (complains(429, "slow down", retry_after=in_seconds(90), date=in_seconds(0)), 90.0),
        (complains(503, "busy", retry_after=in_seconds(-90), date=in_seconds(0)), 0.1),
        (complains(429, "slow down", retry_after="99999999"), 86400.0),
    ],
)
async def test_an_endpoint_says_how_long_to_leave_it_alone(endpoint: Endpoint, answer: Answer, after: float):
    """In seconds, or as a date by its own clock; within a day."""
    endpoint.always(answer)
    error = await asked(endpoint)
    assert isinstance(error, Busy)
    assert error.after == after


#: what is answered, what that is, and what is said of it
TABLE: list[tuple[Answer, type[ServerError], str]] = [
    (complains(429, "slow down"), Unreachable, "slow down"),
    (complains(429, "slow down", retry_after="soon"), Unreachable, "slow down"),
    (complains(429, "You exceeded your current quota", "insufficient_quota", retry_after="1"), Unreachable, "account"),
    (complains(402, "Insufficient Balance"), Unreachable, "account"),
    (complains(401, "Incorrect API key provided"), KeyRefused, "api_key_file"),
    (complains(403, "Forbidden"), KeyRefused, "api_key_file"),
    (complains(503, "Loading model"), Unreachable, "Loading model"),
    (Answer(status=502, body=PAGE, kind="text/html"), Unreachable, "Welcome to nginx!"),
    (complains(504, ""), Unreachable, "504"),
    (complains(500, "CUDA error"), ReplyLost, "CUDA error"),
    (Answer(body=b'{"error": {"message": "upstream broke"}}'), ReplyLost, "upstream broke"),
    (complains(400, "maximum context length is 2048 tokens", "context_length_exceeded"), Refused, "maker.chunk_bytes"),
    (complains(400, "the request exceeds the available context size", "exceed_context_size_error"), Refused, "larger"),
    (complains(429, "Request too large for tiny on tokens per min"), Refused, "maker.chunk_bytes"),
    (Answer(status=413, body=b"", kind="text/plain"), Refused, "maker.chunk_bytes"),
    (complains(400, "flagged by our content policy", "content_filter"), Refused, "refuses this content"),
    (complains(400, "something else"), Refused, "something else"),
    (Answer(body=PAGE, kind="text/html"), NotTheServer, "web page (Welcome to nginx!)"),
    (Answer(body=PAGE, kind="application/json"), NotTheServer, "which mostly ends with /v1"),
    (Answer(body=b"{}"), ReplyLost, "no choices"),
    (Answer(body=b""), ReplyLost, "no JSON"),
    (Answer(body=b"[1, 2]"), ReplyLost, "no JSON object"),
    (Answer(body=b'{"choices": []}'), ReplyLost, "no choices"),
    (Answer(body=b'{"choices": [{"message": {"content": "wor'), ReplyLost, "no JSON"),
    (Answer(body=b"\xff\xfe\x00" * 9), ReplyLost, "no JSON"),
    (Answer(body=b"x" * 300_000, status=500), ReplyLost, "xxx"),
    (Answer(body=b'"' + b"x" * (ANSWER_BYTES + 9)), ReplyLost, "longer than 8 MiB"),
    (Answer(body=b"data: " + b"x" * (ANSWER_BYTES + 9), kind="text/event-stream"), ReplyLost, "longer than 8 MiB"),
    (Answer(body=b"HTTP/1.1 200 OK\r\nConte", raw=True), ReplyLost, "connection broke"),
    (Answer(body=b"", raw=True), ReplyLost, "connection broke"),
    (Answer(body=b"SSH-2.0-OpenSSH_9.2\r\n", raw=True), ReplyLost, "connection broke"),
    (Answer(body=said("words").body, cut_after=150), ReplyLost, "connection broke"),
    (Answer(status=307, headers={"Location": "http://elsewhere.test/v1"}), NotTheServer, "elsewhere.test"),
    (Answer(status=301, headers={"Location": "http://[bad"}), NotTheServer, "sends us on"),
]


@pytest.mark.parametrize(("answer", "kind", "words"), TABLE)
async def test_each_failure_has_its_outcome(endpoint: Endpoint, answer: Answer, kind: type[ServerError], words: str):
    """Its name says what is to be done, its words what happened and what helps; it is asked once."""
    endpoint.models = ()
    endpoint.always(answer)
    error = await asked(endpoint)
    assert type(error) is kind
    assert words in error.with_remedy()
    assert len(error.with_remedy()) < 700
    assert len(endpoint.asked) == 1


@pytest.mark.parametrize(
    ("answer", "models", "words"),
    [
        (complains(404, "model 'tiny' not found, try pulling it first"), ("llama3", "qwen"), "is there: llama3, qwen"),
        (complains(404, "The model `tiny` does not exist."), tuple(map(str, range(20))), "6, 7 and 12 more"),
        (complains(400, "no such model", "model_not_found"), ("llama3",), "llama3"),
        (Answer(status=404, body=b"404 page not found", kind="text/plain"), Answer(status=404), "ends with /v1"),
        (Answer(status=404, body=b"404 page not found", kind="text/plain"), Answer(body=b""), "maker.model"),
        (Answer(status=404, body=PAGE, kind="text/html"), Answer(body=PAGE, kind="text/html"), "ends with /v1"),
        (Answer(status=405, body=b"no"), ("tiny",), "lists the model"),
    ],
)
async def test_a_model_that_is_not_there_is_told_with_those_that_are(
    endpoint: Endpoint, answer: Answer, models: Any, words: str
):
    """Who mistyped its name sees the right one; at a wrong address that is said."""
    endpoint.models = models
    endpoint.always(answer)
    error = await asked(endpoint)
    assert type(error) is NotTheServer
    assert words in error.with_remedy()


async def test_silence_ends_when_the_time_is_up(endpoint: Endpoint):
    """It may have been paid, so that somebody counts."""
    endpoint.always(Answer(silent=True))
    error = await asked(endpoint, patience=0.05)
    assert type(error) is ReplyLost
    assert "no whole answer within 0.05 s" in str(error)
    assert "maker.timeout" in error.remedy


async def test_an_answer_that_drips_ends_too(endpoint: Endpoint):
    """However regularly a byte comes."""
    endpoint.always(Answer(body=b" " * 100_000, drip=0.001))
    assert type(await asked(endpoint, patience=0.1)) is ReplyLost


async def test_nobody_listens():
    """A closed port is an outage of the whole endpoint."""
    url = f"http://127.0.0.1:{free_port()}/v1"
    async with a_chat(url) as one:
        with pytest.raises(Unreachable, match="no connection: Connection refused") as caught:
            await one.ask(ASKED)
    assert "is served" in caught.value.remedy


async def test_an_address_that_is_none():
    """The library's own complaint is told as an outcome."""
    async with a_chat("http://[::1/v1") as one:
        with pytest.raises(NotTheServer):
            await one.ask(ASKED)


async def test_a_certificate_that_nobody_knows():
    """It is told as such, and nothing is sent."""
    with Endpoint(tls=True) as endpoint:
        error = await asked(endpoint)
        assert type(error) is Unreachable
        assert "no secure connection" in str(error)
        assert "certificate" in error.remedy
        assert endpoint.questions == []


async def test_https_to_a_plain_port_is_told(endpoint: Endpoint):
    """Words for people, instead of the library's."""
    async with a_chat(endpoint.url.replace("http:", "https:")) as one:
        with pytest.raises(Unreachable, match="no secure connection"):
            await one.ask(ASKED)


# -- the key


def written(path: Path, content: bytes) -> Path:
    """A file with a key in it."""
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("content", [b" sk-very-secret\n", b"\xef\xbb\xbfsk-very-secret", KEY.encode("utf-16")])
async def test_the_key_goes_with_each_question(endpoint: Endpoint, tmp_path: Path, content: bytes):
    """However the file was saved."""
    async with a_chat(endpoint.url, key=written(tmp_path / "key", content)) as one:
        await one.ask(ASKED)
        assert KEY not in repr(one._key)  # noqa: SLF001 - what a debugger or a log would show
    assert endpoint.questions[0].headers["authorization"] == f"Bearer {KEY}"


async def test_a_key_that_changes_is_read_anew(endpoint: Endpoint, tmp_path: Path):
    """By itself, with the next question."""
    path = written(tmp_path / "key", b"sk-old")
    async with a_chat(endpoint.url, key=path) as one:
        await one.ask(ASKED)
        written(tmp_path / "new", b"sk-new").rename(path)
        await one.ask(ASKED)
        path.unlink()
        with pytest.raises(KeyRefused, match="cannot be read"):
            await one.ask(ASKED)
        written(path, b"sk-third")
        await one.ask(ASKED)
    assert [q.headers["authorization"] for q in endpoint.questions] == [
        "Bearer sk-old",
        "Bearer sk-new",
        "Bearer sk-third",
    ]


@pytest.mark.parametrize("content", [b"", b" \n", b"two words", "schlüssel".encode()])
async def test_a_file_without_a_key_sends_nothing(endpoint: Endpoint, tmp_path: Path, content: bytes):
    """It is told before anything is asked."""
    error = await asked(endpoint, key=written(tmp_path / "key", content))
    assert type(error) is KeyRefused
    assert str(tmp_path / "key") in error.with_remedy()
    assert endpoint.questions == []


async def test_a_key_that_is_refused_is_told_by_its_file(endpoint: Endpoint, tmp_path: Path):
    """And the endpoint's words are shown without it."""
    endpoint.always(complains(401, f"Incorrect API key provided: {KEY}"))
    error = await asked(endpoint, key=written(tmp_path / "key", KEY.encode()))
    assert type(error) is KeyRefused
    assert "it is read again by itself" in error.remedy
    assert "maker.api_key_file" in error.remedy


async def test_a_redirect_takes_no_key_anywhere(endpoint: Endpoint, tmp_path: Path):
    """Nothing is sent to where it leads."""
    with Endpoint() as elsewhere:
        endpoint.always(Answer(status=308, headers={"Location": f"{elsewhere.url}/chat/completions"}))
        error = await asked(endpoint, key=written(tmp_path / "key", KEY.encode()))
        assert elsewhere.questions == []
    assert type(error) is NotTheServer


# -- looking


async def test_what_an_endpoint_has_is_listed(endpoint: Endpoint):
    """In whichever shape; an endpoint without a list has none."""
    async with a_chat(endpoint.url) as one:
        assert await one.models() == ("tiny",)
        for body in (b"", b"no", b"3", b'{"data": 3}'):
            endpoint.models = Answer(body=body)
            assert await one.models() == ()
        endpoint.models = Answer(body=b'["a", {"name": "b"}, {"id": 3}, {}]')
        assert await one.models() == ("a", "b")
        endpoint.models = Answer(status=500)
        with pytest.raises(ReplyLost):
            await one.models()


async def test_a_look_costs_nothing(endpoint: Endpoint):
    """It tells whether something is there, and has the model; a list is no must."""
    async with a_chat(endpoint.url) as one:
        assert await one.look() == f"{endpoint.url} lists the model tiny"
        endpoint.models = ("other",)
        assert "does not list the model tiny" in await one.look()
        for none in (Answer(body=b""), Answer(status=404), Answer(status=405)):
            endpoint.models = none
            assert "it lists no models" in await one.look()
        endpoint.models = complains(401, "no")
        with pytest.raises(KeyRefused):
            await one.look()
    assert endpoint.asked == []


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (said('{"answer": "yes"}'), "tiny answers in JSON (with a schema, "),
        (said("Sure! yes", tokens=None), "read as far as they go (it was sent a schema, and passed over it, "),
        (said("{}", tokens=None), "it counts no tokens: they are estimated"),
    ],
)
async def test_a_probe_tells_what_an_endpoint_can(endpoint: Endpoint, answer: Answer, words: str):
    """Whether it is there, has the model, and answers in JSON."""
    endpoint.always(answer)
    async with a_chat(endpoint.url) as one:
        assert words in await one.probe()


async def test_a_probe_of_an_endpoint_without_schemas_says_so(endpoint: Endpoint):
    """What is asked then is read as it comes."""
    endpoint.then(complains(400, "response_format is not supported"))
    async with a_chat(endpoint.url) as one:
        assert "without a schema, which it does not take" in await one.probe()


async def test_a_probe_of_a_model_that_refuses_everything_fails(endpoint: Endpoint):
    """It would make no pair of anything."""
    endpoint.always(said(None, refusal="no"))
    async with a_chat(endpoint.url) as one:
        with pytest.raises(Refused, match="refuses to answer at all"):
            await one.probe()


async def test_each_request_is_counted(endpoint: Endpoint):
    """For those who look at figures: how it ended."""
    ends: list[tuple[str, CallEnd]] = []
    async with a_chat(endpoint.url, on_end=lambda method, end, seconds: ends.append((method, end))) as one:
        endpoint.then(said("yes"), complains(429, "no", retry_after="1"), complains(401, "no"), complains(503, "no"))
        endpoint.then(complains(400, "no"), Answer(body=b"{}"), Answer(body=b"", raw=True))
        await one.ask(ASKED)
        for _ in range(6):
            with pytest.raises(ServerError):
                await one.ask(ASKED)
    assert [end for _, end in ends] == [
        CallEnd.ANSWERED, CallEnd.BUSY, CallEnd.KEY_REFUSED, CallEnd.UNREACHABLE, CallEnd.REFUSED,
        CallEnd.REPLY_LOST, CallEnd.REPLY_LOST,
    ]  # fmt: skip


async def test_a_question_that_is_given_up_lets_go_of_its_connection(endpoint: Endpoint):
    """A stop leaves nothing open."""
    endpoint.always(Answer(silent=True))
    async with a_chat(endpoint.url) as one, anyio.create_task_group() as tasks:
        tasks.start_soon(one.ask, ASKED)
        with anyio.fail_after(10):
            while not endpoint.questions:
                await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()
