"""One kernel facility per file, synchronous and thin, named as in the manual; no policy.

The system calls themselves are in `guest.syscalls`, the one ctypes door.
"""
