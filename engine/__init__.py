"""Matches licence plate reads in Kafka against hot lists held in memory.

A read goes in, and a match comes out. A read that matches nothing leaves only a count. Programs
that produce reads use `Detection`, the document, `encode`, which makes a record of it, and
`normalize`, which makes the record's key. Programs that match without Kafka use `HotListIndex`.
They import these from `hotlist_engine` (in `public/`), which no other package named `engine` hides.
The command `hotlist` runs everything else.

The packages, from the commands down to the types that they share. Each may import those below it,
never those above; the contracts in `pyproject.toml` check that. The docstring of each package lists
its modules.

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
    serving        HTTP ports: bounds on their clients, and the registry of metrics

The modules beside them:

    tasks          background tasks; the first failure ends all of them
    config         settings: flag, variable, hotlist.toml, default
    setting_rules  what the value of a setting may be
    resources      shipped files that an operator may replace; they are in `data/`
    clock          the time of day, and how it is written
    compiled       how functions are compiled
    arrays         arrays of bytes, as compiled code reads them
    in_parts       several sequences as one
    errors         the errors that people see
    limits         every limit
    versions       the versions in use
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engine.documents.model import Detection
from engine.documents.read_record import encode_read as encode
from engine.plates.normal_form import normalize

if TYPE_CHECKING:
    from engine.library.hot_list_index import HotListIndex

__all__ = ["Detection", "HotListIndex", "encode", "normalize"]


def __getattr__(name: str) -> Any:
    # Imported on first use, because it loads a compiler, and a program that only produces reads
    # should not wait for that.
    if name == "HotListIndex":
        from engine.library.hot_list_index import HotListIndex

        return HotListIndex
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
