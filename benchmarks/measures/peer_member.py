"""A member of another client's group, as a process beside this one."""

from __future__ import annotations

import msgspec

from benchmarks.job import Job
from benchmarks.measures.process import PythonProcess
from engine.kafka.topics import Topics


class PeerMember(PythonProcess):
    """`benchmarks.peers.confluent_member`, a context manager."""

    def __init__(self, bootstrap: str, topics: Topics, group: str) -> None:
        job = Job(
            bootstrap=bootstrap,
            prefix="",
            group=group,
            detections=topics.detections,
            hotlist=topics.hotlist,
            policies=topics.policies,
            entries_by_plate="",
            matches=topics.matches,
            reads=0,
            partitions=0,
        )
        module = "benchmarks.peers.confluent_member"
        super().__init__("the peer", [module, msgspec.json.encode(job).decode()], piped=False)
