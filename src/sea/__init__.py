"""sea: Automatic Tool Creation. Solver traces in, a library of tools that were executed and validated out.

The stages, each usable by itself, in the order in which `evolve.evolve` runs them:

- `ingest.read_traces(paths, limit)` -> `trace.Intake`: traces, and what was skipped with reasons.
- `patterns.mine(programs, min_support)` -> list of `patterns.Pattern`; `Pattern.as_dict()` is the published shape.
- `select.choose(patterns, programs)` -> the patterns that pay for themselves.
- `specify.specify(pattern, observed)` -> `specify.Specification`; `as_dict()` likewise.
- `generate.tool_code(specification)` and `generate.test_code(specification)` -> source text.
- `verify.verify(candidate, …)` -> a verdict for every gate, in sandboxes.
- `library.Library(directory)`: `admit`, `tools`, `tool`.

Every program and every tool runs in a sandbox, through `box.Box`; nothing here executes recorded or generated code.
"""
