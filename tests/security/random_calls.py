"""Random system calls, sent into a sandbox as text: numbers and arguments from a seed.

Numbers whose only effect is to wait are left out, and a second is the most that a batch takes. The standard library
only.
"""

import ctypes
import os
import random
import signal
import sys

WAITS = {34, 35, 61, 128, 130, 202, 230, 232, 247, 281, 449, 454, 455, 15, 7, 271, 23, 270, 73}
"""x86-64: pause, nanosleep, wait4, rt_sigtimedwait, rt_sigsuspend, futex and its like, epoll_wait, poll, select."""


def batch(seed: int, count: int) -> None:
    """So many calls."""
    chance = random.Random(seed)
    libc = ctypes.CDLL(None, use_errno=True)
    memory = ctypes.create_string_buffer(os.urandom(1 << 12), 1 << 16)
    address = ctypes.addressof(memory)
    signal.setitimer(signal.ITIMER_REAL, 1.0)
    fds = [os.open("/dev/null", os.O_RDWR), os.open(".", os.O_RDONLY), *os.pipe()]

    def argument() -> int:
        kind = chance.randrange(6)
        if kind == 0:
            return address + chance.randrange(1 << 12)
        if kind == 1:
            return chance.choice([*fds, 0, 1, 2, -1, -100])
        if kind == 2:
            return chance.getrandbits(64) - (1 << 63)
        if kind == 3:
            return 1 << chance.randrange(63)
        return chance.randrange(64)

    for _ in range(count):
        number = chance.randrange(470)
        if number not in WAITS:
            libc.syscall(ctypes.c_long(number), *[ctypes.c_long(argument()) for _ in range(6)])


if __name__ == "__main__":
    batch(int(sys.argv[1]), 400)
