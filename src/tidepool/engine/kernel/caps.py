"""Capabilities: names and numbers, the sets that sandboxes keep, and reading them back (capabilities(7)).

Pure: `guest.confine` drops them inside. Whatever is kept counts only in the sandbox's own user namespace, which owns
nothing: its mount, network, pid, ipc and uts namespaces belong to the one above.
"""

NAMES = (
    "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
    "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
    "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
    "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
    "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
    "CHECKPOINT_RESTORE",
)  # fmt: skip
"""In the order of their numbers, from linux/capability.h, without CAP_."""

NUMBERS = {name: number for number, name in enumerate(NAMES)}

KEPT = {
    "CHOWN": "packages and archives are unpacked with their owners",
    "DAC_OVERRIDE": "root may read and write every file of its sandbox, as package tools expect",
    "FOWNER": "chmod and utime on files of other users, for the same tools",
    "FSETID": "keep the set-group-id bit of directories that are unpacked",
    "KILL": "init ends runs of every user",
    "SETGID": "init starts runs as their user; su and apt change theirs",
    "SETUID": "as SETGID",
}
"""What init, and root inside, keep; why each is needed."""

LEFT_OUT = {
    "NET_BIND_SERVICE": "the network namespace is not the sandbox's, so it would have no effect there",
    "SETPCAP": "nothing inside changes bounding sets; without it nothing can become inheritable either",
    "SETFCAP": "file capabilities mean nothing on nosuid mounts and under no_new_privs",
    "SYS_CHROOT": "a way to confuse programs that look for files; chroot is refused by seccomp as well",
    "MKNOD": "no device nodes",
    "NET_RAW": "no raw sockets",
    "SYS_PTRACE": "init is not dumpable: this would open its memory",
    "DAC_READ_SEARCH": "opens files by handle, past directories",
    "AUDIT_WRITE": "the audit log is the host's",
}
"""What containers often give and sandboxes here do not; everything that no table names is left out as well."""

ROOT_INSIDE = frozenset(NUMBERS[name] for name in KEPT)
"""Of init and of root inside."""
USER_INSIDE: frozenset[int] = frozenset()
"""Of the user daytona: the change of uid clears all that was held."""


def parse_status(text: str) -> dict[str, frozenset[int]]:
    """The five sets in a /proc/PID/status: CapInh, CapPrm, CapEff, CapBnd and CapAmb, as numbers."""
    lines = (line.partition(":") for line in text.splitlines() if line.startswith("Cap"))
    return {name: from_mask(int(value, 16)) for name, _, value in lines}


def from_mask(mask: int) -> frozenset[int]:
    """The numbers of the bits that are set."""
    return frozenset(bit for bit in range(mask.bit_length()) if mask >> bit & 1)


def names(numbers: frozenset[int]) -> list[str]:
    """Names in the order of their numbers; one that this table does not have yet is called by its number."""
    return [NAMES[number] if number < len(NAMES) else str(number) for number in sorted(numbers)]
