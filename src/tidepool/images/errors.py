"""What goes wrong with images, each a kind of the engine's errors, so that the server needs no table of its own.

Every message is a sentence that names the line, step or member it is about.
"""

from tidepool.engine.errors import InvalidSpec, Refused, Unavailable


class BadDockerfile(InvalidSpec):
    """The Dockerfile's text is wrong; the message begins with the line."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(f"Dockerfile line {line}: {message}")
        self.line = line


class BadImage(InvalidSpec):
    """A name, manifest, configuration or layer cannot be used as an image."""


class BuildFailed(Refused):
    """A step of a build failed; the message has the step, its exit code and its last output."""


class RegistryUnavailable(Unavailable):
    """The registry cannot be reached, or did not answer as one; trying again may help."""
