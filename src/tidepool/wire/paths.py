"""Every URL template once: control API below its base, toolbox below a sandbox's own base.

`{sandbox}` takes an id or a name; toolbox bases always carry the id.
"""

API = "/api"
"""Base of the control API; what DAYTONA_API_URL ends in."""
TOOLBOX = "/toolbox"
"""Base of the toolbox API as `toolboxProxyUrl` names it."""
TOOLBOX_ONE = "/toolbox/{sandbox}"
OLD_TOOLBOX_ONE = "/toolbox/{sandbox}/toolbox"
"""Below API: where clients before 0.113 look."""

HEALTH = "/health"
CONFIG = "/config"
HANDSHAKE = "/tidepool"
SANDBOXES = "/sandbox"
SANDBOXES_PAGINATED = "/sandbox/paginated"
SANDBOX = "/sandbox/{sandbox}"
LABELS = "/sandbox/{sandbox}/labels"
LAST_ACTIVITY = "/sandbox/{sandbox}/last-activity"
TOOLBOX_URL = "/sandbox/{sandbox}/toolbox-proxy-url"
LOGS = "/sandbox/{sandbox}/logs"

EXECUTE = "/process/execute"
CODE_RUN = "/process/code-run"
TESTS = "/process/tests"
STREAM = "/process/stream"

FILES = "/files"
FILE_INFO = "/files/info"
FOLDER = "/files/folder"
MOVE = "/files/move"
PERMISSIONS = "/files/permissions"
DOWNLOAD = "/files/download"
UPLOAD = "/files/upload"
BULK_DOWNLOAD = "/files/bulk-download"
BULK_UPLOAD = "/files/bulk-upload"

HOME_DIR = "/user-home-dir"
WORK_DIR = "/work-dir"
PROJECT_DIR = "/project-dir"
VERSION = "/version"
