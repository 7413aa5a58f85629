"""Members of other clients' groups, each a process beside this one and a context manager."""

from __future__ import annotations

from pathlib import Path

import msgspec

from benchmarks import fill
from benchmarks.commands import build_jar
from benchmarks.job import Job
from benchmarks.measures.process import OtherProcess, PythonProcess
from engine.kafka.topics import Topics

_STREAMS_PROJECT = "peers/kafka_streams"
_STREAMS_CLASS = "bench.KafkaStreamsMember"
#: Five of them are beside the broker and its load, and each holds few megabytes.
_STREAMS_JAVA = (
    "-Xmx256m",
    "-XX:+UseSerialGC",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=error",
)


class ConfluentMember(PythonProcess):
    """`benchmarks.peers.confluent_member`."""

    def __init__(self, bootstrap: str, prefix: str, group: str) -> None:
        arguments = ["benchmarks.peers.confluent_member", _job(bootstrap, prefix, group)]
        super().__init__("the librdkafka peer", arguments, piped=False)


class StreamsMember(OtherProcess):
    """`bench.KafkaStreamsMember`, whose state lies in `directory`.

    Raises UnavailableError if it cannot be built.
    """

    def __init__(self, bootstrap: str, prefix: str, group: str, directory: Path) -> None:
        command = [
            *("java", *_STREAMS_JAVA, "-cp", str(build_jar(_STREAMS_PROJECT)), _STREAMS_CLASS),
            *(_job(bootstrap, prefix, group), str(directory)),
        ]
        super().__init__("the Kafka Streams peer", command, piped=False)


def _job(bootstrap: str, prefix: str, group: str) -> str:
    topics = Topics(prefix)
    job = Job(
        bootstrap=bootstrap,
        prefix=prefix,
        group=group,
        detections=topics.detections,
        hotlist=topics.hotlist,
        policies=topics.policies,
        entries_by_plate=fill.by_plate(prefix),
        matches=topics.matches,
        reads=0,
        partitions=0,
    )
    return msgspec.json.encode(job).decode()
