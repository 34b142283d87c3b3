"""Tars made by hand: layers, saved images and image layouts for tests."""

import gzip
import hashlib
import io
import json
import re
import subprocess
import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Entry = tuple[str, bytes | str | None]
"""A name with content, with `link:target`, `hard:target`, `fifo` or `device`, or None for a directory."""
_KINDS = {
    "link": tarfile.SYMTYPE,
    "hard": tarfile.LNKTYPE,
    "fifo": tarfile.FIFOTYPE,
    "device": tarfile.CHRTYPE,
}


def layer(*entries: Entry, mode: int = 0o644, zipped: bool = False) -> bytes:
    """A layer."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in entries:
            info = tarfile.TarInfo(name)
            info.mode = 0o755 if content is None else mode
            if content is None:
                info.type = tarfile.DIRTYPE
            elif isinstance(content, str):
                kind, _, info.linkname = content.partition(":")
                info.type = _KINDS[kind]
            else:
                info.size = len(content)
            tar.addfile(info, io.BytesIO(content) if isinstance(content, bytes) else None)
    return gzip.compress(out.getvalue(), mtime=0) if zipped else out.getvalue()


def digest(data: bytes) -> str:
    """As manifests name it."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@dataclass
class Made:
    """An image with its blobs."""

    layers: list[bytes]
    config: bytes = field(
        default_factory=lambda: json.dumps(
            {
                "os": "linux",
                "config": {"Env": ["A=1"], "WorkingDir": "/app", "Entrypoint": ["/run"], "User": "root"},
            }
        ).encode()
    )

    @property
    def blobs(self) -> dict[str, bytes]:
        """Content by digest."""
        return {digest(data): data for data in [self.config, *self.layers]}

    @property
    def manifest(self) -> bytes:
        """Of one platform."""
        return json.dumps(
            {
                "schemaVersion": 2,
                "config": {"digest": digest(self.config), "size": len(self.config)},
                "layers": [{"digest": digest(data), "size": len(data)} for data in self.layers],
            }
        ).encode()

    def layout(self) -> bytes:
        """A tar of an OCI image layout."""
        index = {"manifests": [{"digest": digest(self.manifest), "size": len(self.manifest)}]}
        files = {f"blobs/sha256/{key[7:]}": data for key, data in self.blobs.items()}
        files[f"blobs/sha256/{digest(self.manifest)[7:]}"] = self.manifest
        return layer(("index.json", json.dumps(index).encode()), ("oci-layout", b"{}"), *files.items())

    def saved(self) -> bytes:
        """What `docker save` writes."""
        names = [f"{number}/layer.tar" for number in range(len(self.layers))]
        index: list[dict[str, Any]] = [{"Config": "c.json", "RepoTags": ["a:b"], "Layers": names}]
        return layer(
            ("manifest.json", json.dumps(index).encode()),
            ("c.json", self.config),
            *zip(names, self.layers, strict=True),
        )


def listing(data: bytes) -> dict[str, Any]:
    """What a tar holds: content, `link:target` or None by name."""
    found: dict[str, Any] = {}
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for member in tar:
            if member.isdir():
                found[member.name] = None
            elif member.isreg():
                file = tar.extractfile(member)
                assert file is not None
                found[member.name] = file.read()
            else:
                found[member.name] = f"{'link' if member.issym() else 'hard'}:{member.linkname}"
    return found


def tiny_system() -> bytes:
    """A layer that can run: this host's shell and a few programs with their libraries, and nothing else."""
    files = {"etc/passwd": b"root:x:0:0:root:/root:/bin/sh\n", "etc/os-release": b"NAME=tiny\n"}
    for program in ("sh", "cat", "id", "mkdir", "tar"):
        real = Path(f"/usr/bin/{program}").resolve()
        files[f"usr/bin/{program}"] = real.read_bytes()
        needs = subprocess.run(["ldd", real], capture_output=True, text=True, check=True).stdout
        for library in re.findall(r"(/lib\S+)", needs):
            files[f"usr{library}"] = Path(library).resolve().read_bytes()
    links: list[Entry] = [(name, f"link:usr/{name}") for name in ("bin", "lib", "lib64")]
    return layer(*links, ("app", None), *files.items(), mode=0o755, zipped=True)
