"""pytest runner (placeholder under construction)."""
def preload() -> None:
    pass
