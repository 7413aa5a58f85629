"""How fast the engine is, and what it is measured against.

`python -m benchmarks run` measures, `python -m benchmarks report` draws. The modules, in the order
in which a run uses them:

* `definitions`: the registry as data (`definitions/*.toml`, `engines.toml`)
* `reads`: the synthetic input of a case, and how many matches it must give
* `fill`: topics declared and filled, and removed again
* `job`: the job that an engine's process gets, and its answer
* `engines/`: our own programs; `peers/`: those of other projects
* `measure`: runs a process and measures its memory and CPU time
* `runner`: engines in turn, several rounds, every answer checked
* `machine`: the machine of a run
* `results`: the dated result file, medians, tables
* `plots`: PNG and SVG

An engine with a wrong number of matches has failed, and gets no figure.
"""
