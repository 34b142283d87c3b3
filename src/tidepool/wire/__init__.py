"""The contract with the outside world: URL templates, JSON models, the error body. Imports nothing of ours."""
