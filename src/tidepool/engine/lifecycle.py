"""States of a sandbox and the events that move it: the table, and the only place that knows it.

Pure: nothing here waits or touches the host.
"""

from enum import StrEnum

from tidepool.engine.errors import WrongState


class State(StrEnum):
    """Where a sandbox is in its life, in Daytona's words."""

    PENDING_BUILD = "pending_build"
    BUILDING = "building_snapshot"
    BUILD_FAILED = "build_failed"
    CREATING = "creating"
    STARTED = "started"
    STOPPING = "stopping"
    STOPPED = "stopped"
    STARTING = "starting"
    ARCHIVED = "archived"
    DESTROYING = "destroying"
    DESTROYED = "destroyed"
    ERROR = "error"


class Event(StrEnum):
    """What can happen to a sandbox."""

    BUILD = "build"
    READY = "ready"
    STOP = "stop"
    STOPPED = "stopped"
    START = "start"
    ARCHIVE = "archive"
    DELETE = "delete"
    GONE = "gone"
    FAIL = "fail"


TABLE: dict[tuple[State, Event], State] = {
    (State.PENDING_BUILD, Event.BUILD): State.BUILDING,
    (State.PENDING_BUILD, Event.DELETE): State.DESTROYING,
    (State.BUILDING, Event.READY): State.STARTED,
    (State.BUILDING, Event.FAIL): State.BUILD_FAILED,
    (State.BUILDING, Event.DELETE): State.DESTROYING,
    (State.BUILD_FAILED, Event.DELETE): State.DESTROYING,
    (State.CREATING, Event.READY): State.STARTED,
    (State.CREATING, Event.FAIL): State.ERROR,
    (State.CREATING, Event.DELETE): State.DESTROYING,
    (State.STARTED, Event.STOP): State.STOPPING,
    (State.STARTED, Event.DELETE): State.DESTROYING,
    (State.STARTED, Event.FAIL): State.ERROR,
    (State.STOPPING, Event.STOPPED): State.STOPPED,
    (State.STOPPING, Event.FAIL): State.ERROR,
    (State.STOPPING, Event.DELETE): State.DESTROYING,
    (State.STOPPED, Event.START): State.STARTING,
    (State.STOPPED, Event.ARCHIVE): State.ARCHIVED,
    (State.STOPPED, Event.DELETE): State.DESTROYING,
    (State.ARCHIVED, Event.START): State.STARTING,
    (State.ARCHIVED, Event.DELETE): State.DESTROYING,
    (State.STARTING, Event.READY): State.STARTED,
    (State.STARTING, Event.STOPPED): State.STOPPED,
    (State.STARTING, Event.FAIL): State.ERROR,
    (State.STARTING, Event.DELETE): State.DESTROYING,
    (State.ERROR, Event.START): State.STARTING,
    (State.ERROR, Event.DELETE): State.DESTROYING,
    (State.DESTROYING, Event.GONE): State.DESTROYED,
}


def after(state: State, event: Event) -> State:
    """The state that follows.

    Raises:
        WrongState: The event is not possible in this state; the message lists the states that allow it.
    """
    try:
        return TABLE[state, event]
    except KeyError:
        allowed = ", ".join(sorted(start.value for start, what in TABLE if what is event))
        raise WrongState(
            f"cannot {event.value} a sandbox that is {state.value}; allowed from: {allowed}"
        ) from None
