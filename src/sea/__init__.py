"""sea: Automatic Tool Creation. Solver traces in, a library of tools that were executed and validated out.

The stages, each usable by itself, in the order in which `evolve.evolve` runs them:

- `ingest.read_traces(paths, limit)` -> `trace.Intake`: traces, and what was skipped with reasons.
- `patterns.mine(programs, min_support)` -> list of `patterns.Pattern`; `Pattern.as_dict()` is the published shape.
- `select.choose(patterns, programs)` -> the patterns that pay for themselves.
- `specify.specify(pattern, observed)` -> `specify.Specification`; `as_dict()` likewise.
- `generate.tool_code(specification)` and `generate.test_code(specification)` -> source text.
- `verify.verify(candidate, …)` -> a verdict for every gate, in sandboxes.
- `library.Library(directory)`: `replace_all`, `active`, `mark`, `note_use`, `retire`, `undo`.
- `use.Shelf(library).rewritten(traces)`, `retrieve.of_library(library).find(text)`, `export.export(library, form, out)`
  and `report.page(library)`: what a library is for.

Every program and every tool runs in a sandbox, through `box.Box`; nothing here executes recorded or generated code.
"""
