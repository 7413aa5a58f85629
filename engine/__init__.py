"""Matches licence plate reads in Kafka against hot lists held in memory.

A read goes in, a match comes out; a read that matches nothing leaves only a count behind. For
programs that produce reads there are `Detection`, the document, `encode`, which makes a record of
it, and `normalize`, which makes the record's key; for those that match by themselves, without
Kafka, `HotListIndex`. Everything else is run through the command `hotlist`.

The packages, from the commands down to the words that they share. Each may import those below it,
never those above; the contracts in `pyproject.toml` hold that. Each one's docstring lists its
modules.

    cli            the commands
    demo           a made-up city: the demo, its traffic, its broker
    worker         one worker process, wired together
    control        the control plane: lists and policies followed, the gate, changes audited
    delivery       matches, rejects, audit records and suppression state, out to Kafka
    transport      reads in from Kafka, through Faust
    observability  metrics, logs, traces, the HTTP port, the status page
    library        the index as a library, without Kafka
    matching       from a batch of reads to matches
    ingest         from vendors' messages to reads in Kafka
    kafka          connections, topics, rights, readers and writers
    audit          hash chains: sealed, verified, reported
    wire           Kafka's record format
    index          from a plate to the entries that it is like
    list_files     from a file of entries to the difference that is sent
    documents      the documents of the contract, and which are admitted
    plates         normal form, hash, misreads, likeness, confidence

The modules beside them:

    tasks          background tasks, of which the first failure ends them all
    config         settings: flag, variable, hotlist.toml, default
    resources      files that we ship and that an operator may replace; they lie in `data/`
    clock          the time of day, and how it is written
    errors         the errors that people see
    limits         every limit
    versions       which versions are at work
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engine.documents.model import Detection
from engine.documents.read_record import encode
from engine.plates.normal_form import normalize

if TYPE_CHECKING:
    from engine.library.hot_list_index import HotListIndex

__all__ = ["Detection", "HotListIndex", "encode", "normalize"]


def __getattr__(name: str) -> Any:
    # Not before it is asked for: it brings a compiler along, and who produces reads does not
    # want to wait for that.
    if name == "HotListIndex":
        from engine.library.hot_list_index import HotListIndex

        return HotListIndex
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
