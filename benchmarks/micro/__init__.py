"""Microbenchmarks: one part of the engine at a time, in this process, without a broker.

`python -m benchmarks.micro`. They explain the figures of whole runs and replace none of them.

* `timing`: how a piece of code is timed, with warm caches and with cold ones
* `scanner`: nanoseconds a read by length of the hot list
* `hit`: microseconds of the matcher's thread for one read of a listed plate
* `lookup`: one plate asked for, beside dict, set and pyroaring
* `algebra`: who may match, for the whole list at once, beside set
* `policies`: policies of many sources: loaded, changed and asked
* `library`: the index without Kafka: added to, copied, saved, loaded and asked
* `records`: decompression by codec, compression by level, and what opening and writing
  documents costs
"""
