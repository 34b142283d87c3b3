"""The system call filter of sandboxes: an allow-list compiled to classic BPF (seccomp(2), linux/filter.h).

Pure: tables in, bytes out; `guest.confine` installs them inside. Decisions look at the number and at the argument bits
that the kernel itself reads, never at memory, which a sibling thread could change. What attackers ask for gets EPERM;
what no table names gets ENOSYS, as on a kernel that does not have the call, so that programs use their fallback.
"""

import errno
import struct
from dataclasses import dataclass

from tidepool.engine.errors import HostUnsupported

# System calls in order of their numbers ("-" is a gap), from asm/unistd_64.h and asm-generic/unistd.h of Linux 6.18;
# from 424 on the numbers are the same on every architecture.
_X86_64 = """
read write open close stat fstat lstat poll lseek mmap mprotect munmap brk rt_sigaction rt_sigprocmask
rt_sigreturn ioctl pread64 pwrite64 readv writev access pipe select sched_yield mremap msync mincore madvise
shmget shmat shmctl dup dup2 pause nanosleep getitimer alarm setitimer getpid sendfile socket connect accept
sendto recvfrom sendmsg recvmsg shutdown bind listen getsockname getpeername socketpair setsockopt
getsockopt clone fork vfork execve exit wait4 kill uname semget semop semctl shmdt msgget msgsnd msgrcv
msgctl fcntl flock fsync fdatasync truncate ftruncate getdents getcwd chdir fchdir rename mkdir rmdir creat
link unlink symlink readlink chmod fchmod chown fchown lchown umask gettimeofday getrlimit getrusage sysinfo
times ptrace getuid syslog getgid setuid setgid geteuid getegid setpgid getppid getpgrp setsid setreuid
setregid getgroups setgroups setresuid getresuid setresgid getresgid getpgid setfsuid setfsgid getsid capget
capset rt_sigpending rt_sigtimedwait rt_sigqueueinfo rt_sigsuspend sigaltstack utime mknod uselib
personality ustat statfs fstatfs sysfs getpriority setpriority sched_setparam sched_getparam
sched_setscheduler sched_getscheduler sched_get_priority_max sched_get_priority_min sched_rr_get_interval
mlock munlock mlockall munlockall vhangup modify_ldt pivot_root _sysctl prctl arch_prctl adjtimex setrlimit
chroot sync acct settimeofday mount umount2 swapon swapoff reboot sethostname setdomainname iopl ioperm
create_module init_module delete_module get_kernel_syms query_module quotactl nfsservctl getpmsg putpmsg
afs_syscall tuxcall security gettid readahead setxattr lsetxattr fsetxattr getxattr lgetxattr fgetxattr
listxattr llistxattr flistxattr removexattr lremovexattr fremovexattr tkill time futex sched_setaffinity
sched_getaffinity set_thread_area io_setup io_destroy io_getevents io_submit io_cancel get_thread_area
lookup_dcookie epoll_create epoll_ctl_old epoll_wait_old remap_file_pages getdents64 set_tid_address
restart_syscall semtimedop fadvise64 timer_create timer_settime timer_gettime timer_getoverrun timer_delete
clock_settime clock_gettime clock_getres clock_nanosleep exit_group epoll_wait epoll_ctl tgkill utimes
vserver mbind set_mempolicy get_mempolicy mq_open mq_unlink mq_timedsend mq_timedreceive mq_notify
mq_getsetattr kexec_load waitid add_key request_key keyctl ioprio_set ioprio_get inotify_init
inotify_add_watch inotify_rm_watch migrate_pages openat mkdirat mknodat fchownat futimesat newfstatat
unlinkat renameat linkat symlinkat readlinkat fchmodat faccessat pselect6 ppoll unshare set_robust_list
get_robust_list splice tee sync_file_range vmsplice move_pages utimensat epoll_pwait signalfd timerfd_create
eventfd fallocate timerfd_settime timerfd_gettime accept4 signalfd4 eventfd2 epoll_create1 dup3 pipe2
inotify_init1 preadv pwritev rt_tgsigqueueinfo perf_event_open recvmmsg fanotify_init fanotify_mark
prlimit64 name_to_handle_at open_by_handle_at clock_adjtime syncfs sendmmsg setns getcpu process_vm_readv
process_vm_writev kcmp finit_module sched_setattr sched_getattr renameat2 seccomp getrandom memfd_create
kexec_file_load bpf execveat userfaultfd membarrier mlock2 copy_file_range preadv2 pwritev2 pkey_mprotect
pkey_alloc pkey_free statx io_pgetevents rseq
"""
_AARCH64 = """
io_setup io_destroy io_submit io_cancel io_getevents setxattr lsetxattr fsetxattr getxattr lgetxattr
fgetxattr listxattr llistxattr flistxattr removexattr lremovexattr fremovexattr getcwd lookup_dcookie
eventfd2 epoll_create1 epoll_ctl epoll_pwait dup dup3 fcntl inotify_init1 inotify_add_watch inotify_rm_watch
ioctl ioprio_set ioprio_get flock mknodat mkdirat unlinkat symlinkat linkat renameat umount2 mount
pivot_root nfsservctl statfs fstatfs truncate ftruncate fallocate faccessat chdir fchdir chroot fchmod
fchmodat fchownat fchown openat close vhangup pipe2 quotactl getdents64 lseek read write readv writev
pread64 pwrite64 preadv pwritev sendfile pselect6 ppoll signalfd4 vmsplice splice tee readlinkat newfstatat
fstat sync fsync fdatasync sync_file_range timerfd_create timerfd_settime timerfd_gettime utimensat acct
capget capset personality exit exit_group waitid set_tid_address unshare futex set_robust_list
get_robust_list nanosleep getitimer setitimer kexec_load init_module delete_module timer_create
timer_gettime timer_getoverrun timer_settime timer_delete clock_settime clock_gettime clock_getres
clock_nanosleep syslog ptrace sched_setparam sched_setscheduler sched_getscheduler sched_getparam
sched_setaffinity sched_getaffinity sched_yield sched_get_priority_max sched_get_priority_min
sched_rr_get_interval restart_syscall kill tkill tgkill sigaltstack rt_sigsuspend rt_sigaction
rt_sigprocmask rt_sigpending rt_sigtimedwait rt_sigqueueinfo rt_sigreturn setpriority getpriority reboot
setregid setgid setreuid setuid setresuid getresuid setresgid getresgid setfsuid setfsgid times setpgid
getpgid getsid setsid getgroups setgroups uname sethostname setdomainname getrlimit setrlimit getrusage
umask prctl getcpu gettimeofday settimeofday adjtimex getpid getppid getuid geteuid getgid getegid gettid
sysinfo mq_open mq_unlink mq_timedsend mq_timedreceive mq_notify mq_getsetattr msgget msgctl msgrcv msgsnd
semget semctl semtimedop semop shmget shmctl shmat shmdt socket socketpair bind listen accept connect
getsockname getpeername sendto recvfrom setsockopt getsockopt shutdown sendmsg recvmsg readahead brk munmap
mremap add_key request_key keyctl clone execve mmap fadvise64 swapon swapoff mprotect msync mlock munlock
mlockall munlockall mincore madvise remap_file_pages mbind get_mempolicy set_mempolicy migrate_pages
move_pages rt_tgsigqueueinfo perf_event_open accept4 recvmmsg - - - - - - - - - - - - - - - - wait4
prlimit64 fanotify_init fanotify_mark name_to_handle_at open_by_handle_at clock_adjtime syncfs setns
sendmmsg process_vm_readv process_vm_writev kcmp finit_module sched_setattr sched_getattr renameat2 seccomp
getrandom memfd_create bpf execveat userfaultfd membarrier mlock2 copy_file_range preadv2 pwritev2
pkey_mprotect pkey_alloc pkey_free statx io_pgetevents rseq kexec_file_load
"""
_COMMON = """
pidfd_send_signal io_uring_setup io_uring_enter io_uring_register open_tree move_mount fsopen fsconfig
fsmount fspick pidfd_open clone3 close_range openat2 pidfd_getfd faccessat2 process_madvise epoll_pwait2
mount_setattr quotactl_fd landlock_create_ruleset landlock_add_rule landlock_restrict_self memfd_secret
process_mrelease futex_waitv set_mempolicy_home_node cachestat fchmodat2 map_shadow_stack futex_wake
futex_wait futex_requeue statmount listmount lsm_get_self_attr lsm_set_self_attr lsm_list_modules mseal
setxattrat getxattrat listxattrat removexattrat open_tree_attr file_getattr file_setattr
"""
_FIRST_COMMON = 424

ALLOW = 0x7FFF0000
KILL = 0x80000000
_ERRNO = 0x00050000
_MAX_ERRNO = 4095
ENOSYS = _ERRNO | errno.ENOSYS
EPERM = _ERRNO | errno.EPERM
SKIP = _ERRNO
"""The call is not made and returns 0."""
_LOW = 0xFFFFFFFF


@dataclass(frozen=True)
class Match:
    """Holds when an argument's low 32 bits, under the mask, are one of the values.

    Only the low half is looked at because the kernel takes each argument used here as an int, an unsigned int or (flags
    of clone and unshare) finds all of its bits there: what the high half holds changes nothing.
    """

    argument: int
    values: tuple[int, ...]
    mask: int = _LOW


@dataclass(frozen=True)
class Case:
    """An action for calls on which every match holds."""

    matches: tuple[Match, ...]
    action: int


@dataclass(frozen=True)
class Rule:
    """The first case that fits decides, else `otherwise`."""

    cases: tuple[Case, ...]
    otherwise: int
    why: str


Verdict = int | Rule
Instruction = tuple[int, int, int, int]
"""struct sock_filter: code, jump if true, jump if false, operand."""


@dataclass(frozen=True)
class Row:
    """One line of `explain`."""

    name: str
    decision: str
    """`allowed`, an errno's name, `skipped` (returns 0), or `by argument`."""
    why: str


_ALLOWED = """
read write open close stat fstat lstat poll lseek mmap mprotect munmap brk rt_sigaction rt_sigprocmask rt_sigreturn
pread64 pwrite64 readv writev access pipe select sched_yield mremap msync shmget shmat shmctl dup dup2 pause nanosleep
getitimer alarm setitimer getpid sendfile connect accept sendto recvfrom sendmsg recvmsg shutdown bind listen
getsockname getpeername getsockopt fork vfork execve exit wait4 kill uname semget semop semctl shmdt msgget msgsnd
msgrcv msgctl flock fsync fdatasync truncate ftruncate getdents getcwd chdir fchdir rename mkdir rmdir creat link
unlink symlink readlink chmod fchmod chown fchown lchown umask gettimeofday getrlimit getrusage sysinfo times getuid
getgid setuid setgid geteuid getegid setpgid getppid getpgrp setsid setreuid setregid getgroups setgroups setresuid
getresuid setresgid getresgid getpgid setfsuid setfsgid getsid capget capset rt_sigpending rt_sigtimedwait
rt_sigqueueinfo rt_sigsuspend sigaltstack utime statfs fstatfs getpriority setpriority sched_setparam sched_getparam
sched_setscheduler sched_getscheduler sched_get_priority_max sched_get_priority_min sched_rr_get_interval mlock munlock
mlockall munlockall setrlimit gettid readahead setxattr lsetxattr fsetxattr getxattr lgetxattr fgetxattr listxattr
llistxattr flistxattr removexattr lremovexattr fremovexattr tkill time futex sched_setaffinity sched_getaffinity
epoll_create getdents64 set_tid_address restart_syscall semtimedop timer_create timer_settime timer_gettime
timer_getoverrun timer_delete clock_gettime clock_getres clock_nanosleep exit_group epoll_wait epoll_ctl tgkill utimes
mbind set_mempolicy get_mempolicy mq_open mq_unlink mq_timedsend mq_timedreceive mq_notify mq_getsetattr waitid
ioprio_set ioprio_get inotify_init inotify_add_watch inotify_rm_watch openat mkdirat fchownat futimesat newfstatat
unlinkat renameat linkat symlinkat readlinkat fchmodat faccessat pselect6 ppoll set_robust_list get_robust_list splice
tee sync_file_range utimensat epoll_pwait signalfd timerfd_create eventfd fallocate timerfd_settime timerfd_gettime
accept4 signalfd4 eventfd2 epoll_create1 dup3 pipe2 inotify_init1 preadv pwritev rt_tgsigqueueinfo recvmmsg prlimit64
syncfs sendmmsg getcpu sched_setattr sched_getattr seccomp getrandom memfd_create execveat membarrier mlock2
copy_file_range preadv2 pwritev2 pkey_mprotect pkey_alloc pkey_free statx rseq pidfd_send_signal pidfd_open close_range
openat2 faccessat2 epoll_pwait2 landlock_create_ruleset landlock_add_rule landlock_restrict_self futex_waitv fchmodat2
map_shadow_stack futex_wake futex_wait futex_requeue mseal
"""
"""What ordinary programs use; each acts on the caller's own sandbox only."""

_DENIED = {
    "mounts and roots are the zygote's to arrange": "mount umount2 pivot_root chroot open_tree move_mount fsopen "
    "fsconfig fsmount fspick mount_setattr open_tree_attr",
    "no way into another namespace": "setns",
    "reading and steering other processes: init stays out of reach, and there are no debuggers inside": "ptrace "
    "process_vm_readv process_vm_writev pidfd_getfd kcmp",
    "large kernel interfaces with a long record of exploits": "bpf perf_event_open userfaultfd io_uring_setup "
    "io_uring_enter io_uring_register fanotify_init fanotify_mark vmsplice memfd_secret",
    "keyrings are shared by uid, not by namespace": "add_key request_key keyctl",
    "opens files past directories and mounts": "name_to_handle_at open_by_handle_at",
    "tells what the page cache holds of files that sandboxes share": "mincore",
    "the host's clock": "settimeofday clock_settime adjtimex clock_adjtime",
    "the host's kernel, power and swap": "init_module finit_module delete_module kexec_load kexec_file_load reboot "
    "swapon swapoff acct quotactl quotactl_fd syslog",
    "the sandbox's names are set before it starts": "sethostname setdomainname",
    "the host's terminals, ports and segments": "vhangup iopl ioperm modify_ldt",
    "moves memory of other processes between nodes": "migrate_pages move_pages",
    "relics that nothing needs": "lookup_dcookie nfsservctl",
}
"""EPERM: exists, is asked for by attackers, and is refused."""

_ABSENT = {
    "its flags are in memory, where a filter cannot see them; libc falls back to clone": "clone3",
    "the number of its contexts is limited for the whole host": "io_setup io_destroy io_submit io_cancel io_getevents "
    "io_pgetevents",
    "new, and every program that knows it has a fallback": "cachestat statmount listmount lsm_get_self_attr "
    "lsm_set_self_attr lsm_list_modules setxattrat getxattrat listxattrat removexattrat file_getattr file_setattr "
    "process_madvise process_mrelease set_mempolicy_home_node",
    "obsolete": "remap_file_pages ustat sysfs uselib _sysctl create_module get_kernel_syms query_module getpmsg "
    "putpmsg afs_syscall tuxcall security set_thread_area get_thread_area epoll_ctl_old epoll_wait_old vserver",
}
"""ENOSYS, by name, so that every known call is decided here and a test can see that none was forgotten."""

_NEW_NAMESPACES = 0x7E020000
"""CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET."""
_NEW_TIME = 0x80
"""CLONE_NEWTIME: for unshare only; in clone's flags these bits are a signal's number."""
_UNIX, _INET, _INET6, _NETLINK = 1, 2, 10, 16
_TYPE = 0xF
"""SOCK_TYPE_MASK."""
_STREAM, _DGRAM, _RAW, _PACKET = 1, 2, 3, 10
_PLAIN_PROTOCOLS = (0, 1, 6, 17, 58)
"""By default, ICMP (ping sockets), TCP, UDP, ICMPv6."""
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
_PR_SET_MM, _PR_SET_MEMORY_MERGE, _MADV_MERGEABLE = 35, 67, 12
_ARCH_MAP_VDSO = (0x2001, 0x2002, 0x2003)
_S_IFMT, _S_IFIFO, _S_IFREG, _S_IFSOCK = 0o170000, 0o010000, 0o100000, 0o140000
_F_SETLEASE, _F_NOTIFY = 1024, 1026
_POSIX_FADV_DONTNEED = 4
_RENAME_WHITEOUT = 4
_SOL_SOCKET, _SOL_TCP, _TCP_ULP = 1, 6, 31
_ATTACH_PROGRAM = (26, 50, 51, 52)
"""SO_ATTACH_FILTER, SO_ATTACH_BPF, SO_ATTACH_REUSEPORT_CBPF and _EBPF."""


def _errno(code: int) -> int:
    return _ERRNO | code


def _only(match: Match, otherwise: int, why: str) -> Rule:
    """Allowed when it matches."""
    return Rule((Case((match,), ALLOW),), otherwise, why)


def _unless(match: Match, action: int, why: str) -> Rule:
    """Allowed unless it matches."""
    return Rule((Case((match,), action),), ALLOW, why)


_REGULAR = (0, _S_IFREG, _S_IFIFO, _S_IFSOCK)
_NO_DEVICES = "no device nodes (a 0:0 one would be an overlay's whiteout)"
_INET_ANY = Match(0, (_INET, _INET6))

_RULES = {
    "clone": _only(Match(0, (0,), _NEW_NAMESPACES), EPERM, "no new namespaces"),
    "unshare": _only(Match(0, (0,), _NEW_NAMESPACES | _NEW_TIME), EPERM, "no new namespaces"),
    "socket": Rule(
        (
            Case((Match(0, (_UNIX,)),), ALLOW),
            Case((_INET_ANY, Match(1, (_STREAM, _DGRAM), _TYPE), Match(2, _PLAIN_PROTOCOLS)), ALLOW),
            Case((Match(0, (_NETLINK,)), Match(2, (0,))), ALLOW),
            Case((_INET_ANY, Match(1, (_RAW, _PACKET), _TYPE)), EPERM),
            Case((_INET_ANY,), _errno(errno.EPROTONOSUPPORT)),
        ),
        _errno(errno.EAFNOSUPPORT),
        "Unix, TCP, UDP, ping and route netlink sockets; rarer ones reach large, little-tested kernel code",
    ),
    "socketpair": _only(Match(0, (_UNIX,)), _errno(errno.EAFNOSUPPORT), "Unix sockets only"),
    "setsockopt": Rule(
        (
            Case((Match(1, (_SOL_SOCKET,)), Match(2, _ATTACH_PROGRAM)), EPERM),
            Case((Match(1, (_SOL_TCP,)), Match(2, (_TCP_ULP,))), _errno(errno.ENOPROTOOPT)),
        ),
        ALLOW,
        "no BPF programs on sockets, no protocols on top of TCP inside the kernel",
    ),
    "ioctl": _unless(Match(1, (_TIOCSTI, _TIOCLINUX)), EPERM, "no typing into a terminal's input"),
    "personality": _only(
        Match(0, (0, _LOW)), EPERM, "asking only; no switching off of address randomisation"
    ),
    "prctl": Rule(
        (
            Case((Match(0, (_PR_SET_MM,)),), EPERM),
            Case((Match(0, (_PR_SET_MEMORY_MERGE,)),), _errno(errno.EINVAL)),
        ),
        ALLOW,
        "no rearranging of the memory map, no merging of pages with other sandboxes' (KSM)",
    ),
    "madvise": _unless(
        Match(2, (_MADV_MERGEABLE,)), _errno(errno.EINVAL), "no merging of pages with other sandboxes' (KSM)"
    ),
    "arch_prctl": _unless(Match(0, _ARCH_MAP_VDSO), EPERM, "for checkpointing only"),
    "mknod": _only(Match(1, _REGULAR, _S_IFMT), EPERM, _NO_DEVICES),
    "mknodat": _only(Match(2, _REGULAR, _S_IFMT), EPERM, _NO_DEVICES),
    "renameat2": _unless(Match(4, (_RENAME_WHITEOUT,), _RENAME_WHITEOUT), EPERM, _NO_DEVICES),
    "fcntl": _unless(
        Match(1, (_F_SETLEASE, _F_NOTIFY)), EPERM, "no leases and notices on files; locks are allowed"
    ),
    "fadvise64": _unless(
        Match(3, (_POSIX_FADV_DONTNEED,)),
        SKIP,
        "advice: not to throw out what sandboxes share in the page cache",
    ),
    "sync": Rule((), SKIP, "would flush every disk of the host; fsync and syncfs do what they say"),
}

_ARCHITECTURES = {"x86_64": (0xC000003E, _X86_64), "aarch64": (0xC00000B7, _AARCH64)}
"""AUDIT_ARCH_* and the table of numbers."""


def numbers(arch: str) -> dict[str, int]:
    """Every known system call of an architecture and its number.

    Raises:
        HostUnsupported: There is no table for it.
    """
    if arch not in _ARCHITECTURES:
        known = ", ".join(sorted(_ARCHITECTURES))
        raise HostUnsupported(f"there is no system call table for {arch!r}; sandboxes run on {known}")
    own = enumerate(_ARCHITECTURES[arch][1].split())
    common = enumerate(_COMMON.split(), _FIRST_COMMON)
    return {name: number for number, name in [*own, *common] if name != "-"}


def verdicts() -> dict[str, Verdict]:
    """The decision on every system call that is named here."""
    decided: dict[str, Verdict] = dict.fromkeys(_ALLOWED.split(), ALLOW)
    for table, action in ((_DENIED, EPERM), (_ABSENT, ENOSYS)):
        for names in table.values():
            decided |= dict.fromkeys(names.split(), action)
    return decided | _RULES


_OF_ZYGOTES = """
clone unshare setns mount umount2 pivot_root move_mount open_tree mount_setattr fsopen fsconfig fsmount sethostname
"""
"""What making a sandbox takes besides."""


def zygote_verdicts() -> dict[str, Verdict]:
    """The same for a zygote that preloads packages, whose code nobody has read: wider only by what it has to do."""
    return verdicts() | dict.fromkeys(_OF_ZYGOTES.split(), ALLOW)


def explain() -> list[Row]:
    """The whole policy as rows for a person, by name."""
    reasons = {
        name: why for table in (_DENIED, _ABSENT) for why, names in table.items() for name in names.split()
    }
    rows = []
    for name, verdict in sorted(verdicts().items()):
        if isinstance(verdict, Rule):
            rows.append(Row(name, "by argument" if verdict.cases else "skipped", verdict.why))
        else:
            rows.append(Row(name, _decision(verdict), reasons.get(name, "")))
    return rows


def _decision(action: int) -> str:
    return "allowed" if action == ALLOW else errno.errorcode[action & _MAX_ERRNO]


def compile(arch: str, wanted: dict[str, Verdict] | None = None) -> bytes:
    """The filter for an architecture as an array of struct sock_filter (8 bytes each); of `verdicts` if not of others.

    Another architecture's calls (32-bit ones) kill the process: their numbers mean something else. x32 calls have
    numbers that no table has, hence ENOSYS.

    Raises:
        HostUnsupported: There is no table for this architecture.
    """
    known = numbers(arch)
    wanted = verdicts() if wanted is None else wanted
    decided = {known[name]: verdict for name, verdict in wanted.items() if name in known}
    program = [
        (_LOAD, 0, 0, _ARCH_OFFSET),
        (_JUMP_EQUAL, 1, 0, _ARCHITECTURES[arch][0]),
        (_RETURN, 0, 0, KILL),
        (_LOAD, 0, 0, _NUMBER_OFFSET),
        *_tree(_intervals(decided)),
    ]
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)


_LOAD, _AND, _RETURN = 0x20, 0x54, 0x06
_JUMP, _JUMP_EQUAL, _JUMP_GREATER_EQUAL = 0x05, 0x15, 0x35
_NUMBER_OFFSET, _ARCH_OFFSET, _ARGUMENTS_OFFSET = 0, 4, 16
"""Fields of struct seccomp_data."""
_FAR = 255
"""The longest conditional jump."""


def _intervals(decided: dict[int, Verdict]) -> list[tuple[int, Verdict]]:
    """First number and verdict of each run of equal verdicts; the last run has no end."""
    runs: list[tuple[int, Verdict]] = []
    for number in range(max(decided) + 2):
        verdict = decided.get(number, ENOSYS)
        if not runs or runs[-1][1] != verdict:
            runs.append((number, verdict))
    return runs


def _tree(runs: list[tuple[int, Verdict]]) -> list[Instruction]:
    """A binary search over runs; the number is in the accumulator."""
    if len(runs) == 1:
        return _leaf(runs[0][1])
    middle = len(runs) // 2
    below, above = _tree(runs[:middle]), _tree(runs[middle:])
    pivot = runs[middle][0]
    if len(below) <= _FAR:
        return [(_JUMP_GREATER_EQUAL, len(below), 0, pivot), *below, *above]
    return [(_JUMP_GREATER_EQUAL, 0, 1, pivot), (_JUMP, 0, 0, len(below)), *below, *above]


def _leaf(verdict: Verdict) -> list[Instruction]:
    if isinstance(verdict, int):
        return [(_RETURN, 0, 0, verdict)]
    cases = [instruction for case in verdict.cases for instruction in _case(case)]
    return [*cases, (_RETURN, 0, 0, verdict.otherwise)]


def _case(case: Case) -> list[Instruction]:
    """Built from its end: a match that fails jumps over everything built so far, to the next case."""
    code: list[Instruction] = [(_RETURN, 0, 0, case.action)]
    for match in reversed(case.matches):
        test: list[Instruction] = [(_LOAD, 0, 0, _ARGUMENTS_OFFSET + 8 * match.argument)]
        if match.mask != _LOW:
            test.append((_AND, 0, 0, match.mask))
        last = len(match.values) - 1
        test += [(_JUMP_EQUAL, last - place, 0, value) for place, value in enumerate(match.values[:-1])]
        test.append((_JUMP_EQUAL, 0, len(code), match.values[-1]))
        code = test + code
    return code
