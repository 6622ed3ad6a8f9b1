"""What can be done to sessions: each deed reads the clock once and puts a new record in place of the old.

1. What the server does not guard is not guarded here: a finished session can be restarted, and then hangs.
2. While a runner works on a session it can't be restarted.
3. When the server goes down, what it did in its own memory is forgotten; what a runner trains goes on.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from finetuned.sandbox import answers, faults
from finetuned.sandbox.dataset import learned
from finetuned.sandbox.intake import Form, Received, RefusedError
from finetuned.sandbox.life import TRAINING_STATUS, Shot, glance, look
from finetuned.sandbox.pairs import teachable
from finetuned.sandbox.records import PIECE_BYTES, Run, Session, Turn, Upload, Work, is_text, needs_extraction
from finetuned.sandbox.store import Store, read_piece

MODES: Final = ("finetune", "inference")
TYPES: Final = ("text", "image")
ACTIVE: Final = "session is currently active"
NO_MESSAGE: Final = "inference sessions require a message"


def create(store: Store, form: Form) -> Session:
    """Make a session of a form."""
    mode, kind = form.fields.get("mode", ""), form.fields.get("type", "")
    if mode not in MODES:
        raise RefusedError(f"invalid session mode: {mode}")
    if kind not in TYPES:
        raise RefusedError(f"invalid session type: {kind}")
    message = form.fields.get("input", "")
    if mode == "inference" and not message:
        raise RefusedError(NO_MESSAGE)
    parent = form.fields.get("parent_session", "")
    if mode == "inference":
        return ask_first(store, kind, message, parent=parent)
    check_room(store)
    session = replace(
        new_session(store, "finetune", kind),
        parent=parent,
        message=message,
        review=form.fields.get("manuallyReviewQuestions", "") == "yes",
        user_id=store.new_id(),
        system_id=store.new_id(),
    )
    uploads = keep(store, session.id, form.files)
    return begin(store, replace(session, uploads=uploads))


def new_session(store: Store, mode: str, kind: str) -> Session:
    """A session that nothing is in yet, and that nobody keeps yet."""
    number = store.next_number()
    session_id = store.new_session_id()
    return Session(
        id=session_id,
        number=number,
        name=store.name_for(session_id),
        created=store.now(),
        parent="",
        mode=mode,
        type=kind,
    )


def check_room(store: Store) -> None:
    """Refuse a fine-tune more than the plan allows, if that is to go wrong."""
    if faults.TOO_MANY not in store.faults.limits:
        return  # nobody wants to know: a look at each of thousands of sessions for each new one would be slow
    running = sum(
        1
        for session in store.newest_first()
        if session.run is not None and look(session, store.now(), store.pace).holds_slot
    )
    if running >= store.quota.sessions and store.strikes(faults.TOO_MANY):
        raise RefusedError(store.quota.too_many(running))


def keep(store: Store, owner: str, files: tuple[Received, ...], batch: int = 0) -> tuple[Upload, ...]:
    """Take received files over; of equal names the last content stays, under all of them."""
    last: dict[str, Upload] = {}
    for file in files:
        blob = store.new_id()
        taught = _taught(file) if is_text(file.name) else ()
        store.adopt(owner, blob, file.path)
        last[file.name] = Upload(
            name=file.name, blob=blob, size=file.size, digest=file.digest[:10], taught=taught, batch=batch
        )
    return tuple(last[file.name] for file in files)


def _taught(file: Received) -> tuple[int, ...]:
    pieces = -(-file.size // PIECE_BYTES)
    with open(file.path, "rb") as opened:
        return tuple(teachable(read_piece(opened.fileno(), number)) for number in range(pieces))


def _muted(
    store: Store, session: Session, uploads: tuple[Upload, ...], batch: int = 0
) -> tuple[Session, tuple[Upload, ...]]:
    """The uploads as the model behind the generator takes them: it may fail for all, or for the first."""
    session, mute_all = store.strike(session, faults.QA_FAILS)
    session, mute_first = (session, False) if batch else store.strike(session, faults.QA_FAILS_ONE)
    return session, tuple(
        replace(upload, taught=(0,) * len(upload.taught))
        if mute_all or (mute_first and upload.name == uploads[0].name)
        else upload
        for upload in uploads
    )


def begin(store: Store, session: Session) -> Session:
    """Set a new fine-tune to work, and keep it."""
    session, uploads = _muted(store, session, session.uploads)
    session, late = store.strike(session, faults.LIST_LATE)
    session = replace(session, uploads=uploads, listed_at=session.created + store.pace.late if late else 0.0)
    return store.save(_first_run(store, session))


def _first_run(store: Store, session: Session) -> Session:
    struck = []
    for fault in (faults.RUNNER_ERROR, faults.STATE_ERROR, faults.CHUNK_ERROR, faults.FORGET_WORK):
        session, strikes = store.strike(session, fault)
        struck += [fault] if strikes else []
    session, rests = store.strike(session, faults.REVIEW_REST)
    run = Run(work=Work.IDLE, since=session.created, rest=session.review or rests, faults=tuple(struck))
    if not session.finetune:
        return replace(session, run=run)
    if session.whole > store.quota.chunks:
        session, too_much = store.strike(session, faults.TOO_MUCH)
        session, cut = (session, False) if too_much else store.strike(session, faults.TRUNCATE)
        if too_much or cut:
            session = replace(session, limit=store.quota.chunks)
        if too_much:
            said = store.quota.too_much(session.whole)
            return replace(session, run=replace(run, work=Work.REFUSE, greeting=said))
        if cut:
            run = replace(run, opening=store.quota.reducing(session.whole))
    return replace(session, run=replace(run, work=_work(session)))


def _work(session: Session, begin: int = 0) -> Work:
    if any(needs_extraction(upload.name) for upload in session.uploads):
        return Work.EXTRACT
    return Work.GENERATE if session.total > begin else Work.TRAIN


def _next_run(store: Store, session: Session, shot: Shot, work: Work, greeting: str | None) -> Session:
    """The session with a new run, which keeps what the earlier ones have left behind."""
    if session.run is None:
        raise RefusedError("session is not a fine-tune")
    kept = [fault for fault in session.run.faults if fault not in (shot.struck, faults.FORGET_WORK)]
    again = shot.struck if shot.struck != faults.FORGET_WORK else ""
    if shot.trained and shot.stage == "complete":
        again = faults.RUNNER_ERROR
    if again:
        session, strikes = store.strike(session, again)
        kept += [again] if strikes else []
    run = Run(
        work=work,
        since=store.now(),
        begin=shot.converted,
        greeting=greeting,
        rest=session.review and work is Work.GENERATE,
        faults=tuple(kept),
        mode=shot.mode,
        trained=shot.trained,
        spoiled=shot.spoiled,
        scheduled=shot.scheduled,
        completed=shot.completed,
    )
    return replace(session, run=run)


def start(store: Store, session: Session) -> Session:
    """Train, whatever the session does or has done: this call is not guarded."""
    shot = look(session, store.now(), store.pace)
    return store.save(_next_run(store, session, shot, Work.TRAIN, TRAINING_STATUS))


def retry(store: Store, session: Session) -> Session:
    """Convert the chunk that failed again; a session that rests for a review is trained, unreviewed."""
    shot = look(session, store.now(), store.pace)
    if shot.state != "editing":
        return session
    if shot.spoiled is None:
        return store.save(_next_run(store, session, shot, Work.TRAIN, TRAINING_STATUS))
    left = replace(shot, converted=shot.spoiled, spoiled=None)
    return store.save(_next_run(store, session, left, Work.GENERATE, None))


def restart(store: Store, session: Session) -> Session:
    """Run a session again; a finished one then waits for ever."""
    now = store.now()
    if session.turns:
        return _restart_turn(store, session, now)
    shot = look(session, now, store.pace)
    if shot.active:
        raise RefusedError(ACTIVE)
    if shot.stage == "complete":
        return store.save(_next_run(store, session, shot, Work.NOTHING, None))
    if session.run is not None and session.run.work in {Work.IDLE, Work.REFUSE}:
        # not seen of a real server: it finds what it found before
        return store.save(replace(session, run=replace(session.run, since=now)))
    if shot.stage == "extract_text":
        return store.save(_next_run(store, session, shot, Work.EXTRACT, None))
    if shot.stage == "generate_questions" and shot.converted < session.total:
        if not shot.struck:
            # nobody stops the generator that is at work: now there are two
            session = replace(session, doubled=(*session.doubled, shot.converted))
        return store.save(_next_run(store, session, shot, Work.GENERATE, ""))
    return store.save(_next_run(store, session, shot, Work.TRAIN, f"restarted: {TRAINING_STATUS}"))


def _restart_turn(store: Store, session: Session, now: float) -> Session:
    turn = session.turns[-1]
    seen = glance(session, turn, now, store.pace)
    if seen.active:
        raise RefusedError(ACTIVE)
    again = replace(turn, since=now, stuck=turn.stuck or seen.finished)
    return store.save(replace(session, turns=(*session.turns[:-1], again)))


def ask(store: Store, session: Session, form: Form) -> Session:
    """A further turn of a chat, or a question to what was trained."""
    message = form.fields.get("input", "")
    if not message:
        raise RefusedError(NO_MESSAGE)
    return ask_more(store, session, message)


def ask_first(store: Store, kind: str, message: str, *, parent: str = "", prompt: str = "") -> Session:
    """Begin a chat, or have an image made."""
    session = replace(new_session(store, "inference", kind), parent=parent, prompt=prompt)
    return _ask(store, session, message, later=False)


def ask_more(store: Store, session: Session, message: str, *, tuned: bool = True) -> Session:
    """A further turn; `tuned` asks the model that was trained, if one was."""
    return _ask(store, session, message, later=True, tuned=tuned)


def _ask(store: Store, session: Session, message: str, *, later: bool, tuned: bool = True) -> Session:
    now = store.now()
    turn = Turn(
        ask_id=store.new_id(),
        answer_id=store.new_id(),
        asked=now,
        since=now,
        message=message,
        answer=_reply(store, session, message, now) if tuned else answers.echo(message),
        later=later,
    )
    return store.save(replace(session, turns=(*session.turns, turn)))


def answer_now(store: Store, session: Session, number: int = -1) -> Session:
    """The session with a turn answered, the last as a rule: who waited for the whole answer sees it whole."""
    turns = list(session.turns)
    turns[number] = replace(turns[number], since=store.now() - store.pace.reply)
    return store.save(replace(session, turns=tuple(turns)))


def _reply(store: Store, session: Session, message: str, now: float) -> str:
    if session.type == "image":
        return ""
    if session.run is None:
        return answers.echo(message)
    shot = look(session, now, store.pace)
    return answers.answer(learned(store, session, shot), message) if shot.trained else answers.untrained()


def add_documents(store: Store, session: Session, form: Form) -> Session:
    """Add files to a fine-tune: their pairs are made, then all is trained again."""
    shot = look(session, store.now(), store.pace)
    batch = 1 + max((upload.batch for upload in session.uploads), default=0)
    session, uploads = _muted(store, session, keep(store, session.owner, form.files, batch), batch)
    session = replace(session, uploads=session.uploads + uploads, user_updated=store.now())
    shot = replace(shot, mode="finetune")
    return store.save(_next_run(store, session, shot, _work(session, shot.converted), None))


def rename(store: Store, session: Session, name: str) -> Session:
    """Give a session another name."""
    return store.save(replace(session, name=name))


def go_down(store: Store) -> None:
    """Forget what is under way in the server's own memory, as a crash does: it rests until a restart."""
    now = store.now()
    for session in list(store.newest_first()):
        if session.run is None or session.run.frozen is not None:
            continue
        shot = look(session, now, store.pace)
        if shot.holds_slot and not shot.active:
            store.save(replace(session, run=replace(session.run, frozen=now)))


def crash_is_due(store: Store, session: Session) -> bool:
    """Whether a look at this session ends the server; each session does so once at most.

    However late the look comes, the work in memory was half done: whoever looks now and then is to meet it, too.
    """
    run = session.run
    if run is None or run.work is not Work.GENERATE or run.frozen is not None or faults.CRASH in session.struck:
        return False
    half_way = run.since + -(-(session.total - run.begin) // 2) * store.pace.chunk
    if store.now() < half_way:
        return False
    is_under_way = look(session, store.now(), store.pace).stage == "generate_questions"
    session, strikes = store.strike(session, faults.CRASH)
    if strikes:
        store.save(replace(session, run=replace(run, frozen=store.now() if is_under_way else half_way)))
    return strikes
