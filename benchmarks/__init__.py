"""How fast the engine is, and what it is measured against.

`python -m benchmarks run` measures, `python -m benchmarks report` draws. In the order in which
a run passes them:

* `definitions`: the registry as data (`definitions/*.toml`, `engines.toml`)
* `reads`: the synthetic input of a case, and how many matches it must give
* `fill`: topics declared and filled, and removed again
* `job`: what an engine's process is told, and what it answers
* `engines/`: our own programs; `peers/`: everybody else's
* `measure`: a process run with its memory and CPU time watched
* `runner`: engines in turn, several rounds, every answer checked
* `machine`: what it all ran on
* `results`: the dated result file, medians, tables
* `plots`: PNG and SVG

An engine whose number of matches is not the expected one has failed: it gets no figure.
"""
