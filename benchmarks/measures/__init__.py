"""Measures of what is not throughput by engine: delay, control effect, size, workers.

A measure is data (`definitions/*.toml`) and a module of the same name with a function `measure`.
It checks the matches that come out as the runner does: a wrong number is a failure and gives no
figure. In the order in which a run passes them:

* `definition`: the registry as data
* `children`: processes beside this one, and what they say line by line
* `live`: the worker as people start it, asked over HTTP and watched through /proc
* `long_list`: hot lists of millions of entries, made fast
* `backlog`, `delay`, `control_effect`, `footprint`, `list_size`, `rebalance`,
  `rolling_restart`, `workers`: the measures
* `group_view`: which member owns which partition
* `pacer`, `observer`, `prober`, `member`, `peer_member`: the processes that they start
* `produce_requests`: what the pacer sends at tens of millions of reads a minute
* `cores`: how many cores are busy, and with what
* `figures`: the dated result file and its table
* `run`: one measure from its definition to its file
"""
