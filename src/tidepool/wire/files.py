"""JSON of files."""

from typing import Any

import msgspec


class BulkDownload(msgspec.Struct):
    """`POST /files/bulk-download`."""

    paths: list[str]


def file_info(
    name: str, is_dir: bool, size: int, modified: str, mode_text: str, permissions: str
) -> dict[str, Any]:
    """What one file looks like; owner, group and path are added by who knows them."""
    return {
        "name": name,
        "isDir": is_dir,
        "size": size,
        "modTime": modified,
        "modifiedAt": modified,
        "mode": mode_text,
        "permissions": permissions,
    }
