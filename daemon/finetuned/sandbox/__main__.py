"""`python -m finetuned.sandbox`: the stand-in server as a program of its own."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from collections.abc import Sequence

from starlette.applications import Starlette

from finetuned.sandbox import (
    DEFAULT_KEY,
    FAULTS,
    PLANS,
    CrashedError,
    Dialect,
    Faults,
    Pace,
    create_app,
    serve,
    unless_stopped,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGINT or SIGTERM."""
    parser = _parser()
    chosen = parser.parse_args(arguments)
    try:
        faults = Faults.parse(chosen.fault)
    except ValueError as error:
        parser.error(str(error))
    if chosen.speed <= 0:
        parser.error("--speed must be more than 0")
    # a form that is cut is an everyday matter here, not worth a line each
    logging.getLogger("python_multipart").setLevel(logging.ERROR)
    app = create_app(
        keys=frozenset(chosen.key or [DEFAULT_KEY]),
        pace=Pace().faster(chosen.speed),
        data=chosen.data,
        faults=faults,
        seed=chosen.seed,
        dialect=chosen.dialect,
        quota=PLANS[chosen.plan],
    )
    try:
        asyncio.run(_run(app, chosen.host, chosen.port))
    except OSError as error:
        sys.stderr.write(f"the sandbox can't listen on {chosen.host}:{chosen.port}: {error}\n")
        return 1
    except CrashedError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    finally:
        app.state.store.close()
    return 0


async def _run(app: Starlette, host: str, port: int) -> None:
    def ready(actual: int) -> None:
        sys.stdout.write(f"sandbox ready on http://{host}:{actual} (simulated: nothing is trained here)\n")
        sys.stdout.flush()

    await unless_stopped(serve(app, host=host, port=port, ready=ready))


def _parser() -> argparse.ArgumentParser:
    known = "; ".join(f"{name}: {meaning}" for name, meaning in FAULTS.items())
    parser = argparse.ArgumentParser(
        prog="python -m finetuned.sandbox", description="A stand-in Helix server. Nothing is trained."
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8585, help="0 is any free one")
    parser.add_argument("--data", help="folder to remember in (default: a temporary one)")
    parser.add_argument("--key", action="append", help=f"an API key it takes, any number (default: {DEFAULT_KEY})")
    parser.add_argument("--speed", type=float, default=1.0, help="2 is twice as fast")
    parser.add_argument("--dialect", choices=[*Dialect], default=Dialect.FORM.value, help="both is what 0.9 spoke")
    parser.add_argument("--plan", choices=[*PLANS], default="free", help="whose limits the quotas' faults enforce")
    parser.add_argument("--seed", metavar="N", help="the same ids and the same chance every time")
    parser.add_argument("--fault", action="append", default=[], metavar="NAME[:COUNT][@CHANCE]", help=known)
    return parser


if __name__ == "__main__":
    sys.exit(main())
