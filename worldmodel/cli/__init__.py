"""The command `worldmodel`: one file here per verb, found by its name.

Owns: words, flags, exit codes. Must not: do work (rooms do) or import torch before a verb needs it.

Exit codes: 0 ok, 1 failed, 2 wrong use, 3 stopped by a rule.
"""

from __future__ import annotations

import errno
import importlib
import pkgutil
import sys
from typing import cast

import typer

from worldmodel.errors import WorldModelError

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)

# Typer brings its own copy of click in newer versions; its usage errors are reached through this public child.
_UsageError = cast("type[typer.BadParameter]", typer.BadParameter.__mro__[1])


def make_app() -> typer.Typer:
    """The app with one command per module of this package: what bears the module's name, a function or a group."""
    app = typer.Typer(
        name="worldmodel",
        help="Learn the physics of Melee from Slippi replays: ingest, train, eval.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for module in sorted(pkgutil.iter_modules(__path__), key=lambda module: module.name):
        verb = getattr(importlib.import_module(f"{__name__}.{module.name}"), module.name, None)
        if isinstance(verb, typer.Typer):
            app.add_typer(verb, name=module.name)
        elif verb is not None:
            app.command(module.name)(verb)
    return app


def main(arguments: list[str] | None = None) -> int:
    """Run one command and give its exit code. Errors of people's input are one line; errors of ours are tracebacks."""
    try:
        code = make_app()(args=arguments, standalone_mode=False)
    except _UsageError as error:
        print(f"worldmodel: {error.format_message()} (see worldmodel --help)", file=sys.stderr)
        return 2
    except WorldModelError as error:
        print(f"worldmodel: {' '.join(str(error).split())}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:  # the reader of our output left, as `head` does; what we did stands
        sys.stderr.close()
        return 0
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        print(
            f"worldmodel: {error.strerror} ({error.filename or 'while writing'}); what was finished before is whole; "
            "make room and run the same command again",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        print("worldmodel: interrupted", file=sys.stderr)
        return 130
    return code if isinstance(code, int) else 0


def run() -> None:
    """Entry point of the console script."""
    sys.exit(main())
