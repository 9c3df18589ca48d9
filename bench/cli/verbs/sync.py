"""`bench sync`: copy stored runs to or from another address, as s3://bucket/results."""

from __future__ import annotations

import sys

from bench.cli import keys
from bench.cli.arguments import Arguments
from bench.cli.composed import results_dir_only
from bench.cli.verb import Verb
from bench.values.codec import encode
from bench.values.errors import InputError, nearest
from bench.values.json_text import json_text

WAYS = ("push", "pull")

VERB = Verb(
    usage=("bench sync push|pull ADDRESS [results_dir=FOLDER] [--json]",),
    more="ADDRESS is any that fsspec knows: s3://, gs://, sftp://, a folder. Runs that have ended\n"
    "are copied whole; one that is there is never changed. Several machines may do it at once.",
    keys=(keys.RESULTS_DIR,),
    words="any",
)


def call(arguments: Arguments) -> int:
    """Copy what is missing on the other side, and say what was."""
    from bench.sweep.remote import pull, push

    way, *rest = arguments.words or ("",)
    if way in WAYS and len(rest) != 1:
        said = f"not {' and '.join(rest)}" if rest else "as s3://bucket/results"
        raise InputError(f"bench sync {way} takes one ADDRESS, {said}.")
    if way not in WAYS:
        raise InputError(f"bench sync push|pull ADDRESS, not {way!r}.{nearest(way, WAYS)}")
    results_dir = results_dir_only(arguments)
    done = (push if way == "push" else pull)(results_dir, rest[0])
    if arguments.as_json:
        print(json_text(encode(done)))
    else:
        running = f", {len(done.running)} still running" if done.running else ""
        print(f"{len(done.copied)} copied, {len(done.there)} there already{running}")
    for name in done.other:
        print(
            f"bench: {name} is another run there, or somebody pushes it now: not copied.",
            file=sys.stderr,
        )
    return 1 if done.other else 0
