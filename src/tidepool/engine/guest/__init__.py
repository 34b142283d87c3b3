"""What runs inside a sandbox: an island that imports the standard library and itself only.

The host side may import `syscalls` and `frames` from here; nothing here imports anything of the host side.
"""
