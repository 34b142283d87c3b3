"""How one engine is set up; read once, when it starts."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class EngineConfig:
    """How one engine is set up."""

    state_dir: Path
    """Images and dependency layers; kept between starts, and shared with other engines of this host."""
    runtime_dir: Path
    """Sockets and locks of this start."""
    pool_size: int = 2
    """Parked sandboxes per tenant and dependency layer in use."""
    max_sandboxes: int = 1000
    storage: str = "storage"
    """Directory in `state_dir` for files that outlive sandboxes: one engine's at a time."""
    drop_root: bool = True
    """Whether `start` gives up root for the whole process after the spawner runs."""
    egress_options: tuple[str, ...] = ()
    """What the operator opens of his own network to sandboxes: options of the egress process."""
