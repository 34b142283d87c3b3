"""The only privileged process: builds mounts, ids, control groups and namespaces, starts zygotes, kills sandboxes.

Tiny, single-threaded, speaks fixed validated messages over one socket and reads nothing that a sandbox wrote.
"""
