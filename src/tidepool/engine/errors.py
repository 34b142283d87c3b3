"""Everything the engine raises on purpose, by whose doing it is.

A guest's failure (exit code, signal, timeout, out of memory) is a result, never one of these: see `result.Verdict`.

    TidepoolError
    ├─ Refused           the caller's doing; nothing changed; the same request will fail again
    │  ├─ InvalidSpec    a field is wrong
    │  ├─ NotFound       no such sandbox, or it is another tenant's
    │  ├─ WrongState     the sandbox is not in a state that allows this
    │  ├─ Conflict       the name or path is taken
    │  ├─ AccessDenied   the sandbox's user may not touch that path
    │  ├─ NoSpace        the sandbox's disk is full
    │  └─ DependencyFailed  the requested packages cannot be resolved or built
    ├─ Unavailable       nobody's fault now; retrying may help
    │  ├─ NoCapacity     the host has no room for one more
    │  └─ HostUnsupported  this host cannot isolate; the sentence says what to enable
    └─ Fault             ours
       ├─ SetupFailed    a step of building a sandbox failed
       │  └─ NotSaved    its files could not be saved; they are held in memory
       └─ SandboxLost    the sandbox died under the call
"""


class TidepoolError(Exception):
    """Base of all deliberate errors; the message is a sentence for a person."""


class Refused(TidepoolError):
    """The caller's doing; nothing was changed."""


class InvalidSpec(Refused, ValueError):
    """A field of the request is wrong; the message names field, value and what is allowed."""


class NotFound(Refused, LookupError):
    """No such sandbox, file or command (or it belongs to another tenant)."""


class WrongState(Refused):
    """The sandbox's state does not allow this."""


class Conflict(Refused):
    """The name or the path is already taken."""


class AccessDenied(Refused):
    """The sandbox's own user may not do this to that path."""


class NoSpace(Refused):
    """The sandbox's own disk is full."""


class DependencyFailed(Refused):
    """The requested packages could not be resolved or installed; the message carries the resolver's words."""


class Unavailable(TidepoolError):
    """Not now; retrying may help."""


class NoCapacity(Unavailable):
    """The host has no room for one more sandbox."""


class HostUnsupported(Unavailable):
    """This host cannot isolate as asked; nothing was run."""


class Fault(TidepoolError):
    """Ours: logged, counted, answered with 500."""

    holds_files = False
    """Whether files that should have been saved are held in memory instead."""


class SetupFailed(Fault):
    """A step of building a sandbox failed; the message names step and errno."""


class NotSaved(SetupFailed):
    """A sandbox's files could not be saved; they are held in memory until they can, or it is deleted."""

    holds_files = True


class SandboxLost(Fault):
    """The sandbox died under the call; whether the command ran is unknown."""
