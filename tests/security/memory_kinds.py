"""What a program inside can take memory by: probe 46. Texts of programs, run by test_memory_kinds.py and others.

Each defines `take()`, which takes a bit at every step and tells how many bytes it reckons that to be; `PREAMBLE` has
what they share. They stop when they are refused, or when they have what is wanted.
"""

PREAMBLE = """
import array, ctypes, errno, itertools, mmap, os, resource, select, socket, struct, sys, time
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
libc = ctypes.CDLL(None, use_errno=True)
MIB, WANTED = 1 << 20, {wanted} << 20
kept = []

def checked(value):
    if value == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return value

def attempt(take):
    held = 0
    try:
        for got in take():
            held += got
            if held >= WANTED:
                print("held", held >> 20, flush=True)
                time.sleep(0.05)  # so that it is seen from outside
                return
        print("bounded", held >> 20, flush=True)
    except (OSError, MemoryError, ValueError) as error:
        why = errno.errorcode.get(getattr(error, "errno", 0), type(error).__name__)
        print("refused", held >> 20, why, flush=True)

def written(fd):
    block = bytes(MIB)
    while True:
        yield os.write(fd, block)

def touched(area):
    for place in range(0, len(area), 4096):
        area[place] = 1
    kept.append(area)
    return len(area)

def filled(one):
    one.setblocking(False)
    try:
        while True:
            yield one.send(bytes(65536))
    except BlockingIOError:
        pass
"""

TAKE = {
    "heap": """
def take():
    while True:
        yield touched(bytearray(4 * MIB))
""",
    "file": """
def take():
    return written(os.open("big", os.O_CREAT | os.O_WRONLY))
""",
    "shm": """
def take():
    return written(os.open("/dev/shm/big", os.O_CREAT | os.O_WRONLY))
""",
    "memfd": """
def take():
    return written(os.memfd_create("big"))
""",
    "mlock": """
def take():
    while True:
        area = mmap.mmap(-1, 4 * MIB)
        checked(libc.mlock(ctypes.byref(ctypes.c_char.from_buffer(area)), ctypes.c_size_t(4 * MIB)))
        kept.append(area)
        yield 4 * MIB
""",
    "hugetlb": """
def take():
    while True:
        yield touched(mmap.mmap(-1, 2 * MIB, 0x40000 | mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
""",
    "sysv_shm": """
libc.shmat.restype = ctypes.c_void_p
def take():
    while True:
        at = libc.shmat(checked(libc.shmget(0, ctypes.c_size_t(4 * MIB), 0o1600)), None, 0)
        ctypes.memset(at, 1, 4 * MIB)
        yield 4 * MIB
""",
    "sysv_messages": """
def take():
    text = ctypes.create_string_buffer(struct.pack("l", 1) + bytes(8192))
    while True:
        queue = checked(libc.msgget(0, 0o1600))
        yield 4096
        while libc.msgsnd(queue, text, ctypes.c_size_t(8192), 0o4000) == 0:
            yield 8192
""",
    "unix_sockets": """
def take():
    while True:
        one, other = socket.socketpair()
        kept.append((one, other))
        one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 30)
        yield from filled(one)
""",
    "tcp_sockets": """
def take():
    listener = socket.create_server(("127.0.0.1", 0), backlog=4000)
    for _ in range(1000):
        one = socket.create_connection(listener.getsockname())
        other, _ = listener.accept()
        kept.append((one, other))
        yield from filled(one)
""",
    "udp_sockets": """
def take():
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for _ in range(1200):
        one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 30)
        one.bind(("127.0.0.1", 0))
        kept.append(one)
        for _ in range(13):
            yield sender.sendto(bytes(32000), one.getsockname())
""",
    "netlink_sockets": """
def take():
    ask = struct.pack("=IHHIIB3x", 20, 18, 0x301, 1, 0, 0)
    for _ in range(4000):
        one = socket.socket(16, socket.SOCK_RAW, 0)
        one.bind((0, 0))
        one.send(ask)
        kept.append(one)
        yield 32768
""",
    "socket_filters": """
def take():
    code = struct.pack("=HBBI", 0x00, 0, 0, 7) * 4095 + struct.pack("=HBBI", 6, 0, 0, 0xffff)
    buffer = ctypes.create_string_buffer(code)
    program = struct.pack("H6xQ", 4096, ctypes.addressof(buffer))
    while True:
        one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        kept.append(one)
        one.setsockopt(socket.SOL_SOCKET, 26, program)
        yield 65536
""",
    "dentries": """
def take():
    for number in range(100_000):
        try:
            os.stat("x" * 200 + str(number))
        except FileNotFoundError:
            yield 400
""",
    "epoll": """
def take():
    read, write = os.pipe()
    copies = [os.dup(read) for _ in range(1000)]
    while True:
        one = select.epoll()
        kept.append(one)
        for copy in copies:
            one.register(copy)
            yield 200
""",
    "inotify": """
def take():
    folders = []
    for number in range(1000):
        os.mkdir(str(number))
        folders.append(str(number).encode())
    while True:
        one = checked(libc.inotify_init1(0))
        for folder in folders:
            checked(libc.inotify_add_watch(one, folder, 0xFFF))
            yield 1024
""",
    "pipes": """
def take():
    import fcntl
    while True:
        read, write = os.pipe2(os.O_NONBLOCK)
        kept.append((read, write))
        try:
            fcntl.fcntl(write, 1031, MIB)  # F_SETPIPE_SZ; refused when its user has too much
        except PermissionError:
            pass
        try:
            while True:
                yield os.write(write, bytes(65536))
        except BlockingIOError:
            pass
""",
    "keyring": """
def take():
    for number in itertools.count():
        checked(libc.syscall(248, b"user", str(number).encode(), bytes(30000), 30000, -3))
        yield 30000
""",
    "page_tables": """
def take():
    for number in range(WANTED // 8 * 256):
        if number % 512 == 0:
            area = mmap.mmap(-1, 1 << 30, 0x4000 | mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)  # without reserving
            area.madvise(15)  # no huge pages
            kept.append(area)
        area[(number % 512) << 21] = 1
        yield 8192
""",
    "locks": """
def take():
    import fcntl
    for number in range(500):
        fd = os.open(f"locked{number}", os.O_CREAT | os.O_RDWR)
        kept.append(fd)
        for place in range(0, 1000, 2):  # with gaps: neighbours would become one
            fcntl.fcntl(fd, 37, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, place, 1, 0))
            yield 256
""",
    "timers": """
def take():
    made = ctypes.c_int()
    while True:
        checked(libc.syscall(222, 1, None, ctypes.byref(made)))
        yield 500
""",
    "message_queues": """
def take():
    attributes = (ctypes.c_long * 8)(0, 10, 8192)
    for number in itertools.count():
        queue = checked(libc.mq_open(b"/q%d" % number, os.O_CREAT | os.O_RDWR, 0o600, attributes))
        for _ in range(10):
            checked(libc.mq_send(queue, bytes(8192), ctypes.c_size_t(8192), 0))
            yield 8192
""",
    "threads": """
def take():
    import threading
    stop = threading.Event()
    threading.stack_size(1 << 20)
    try:
        while True:
            threading.Thread(target=stop.wait, daemon=True).start()
            yield 1 << 16
    except RuntimeError:
        raise ValueError("no more threads") from None
""",
    "rights": """
def take():
    read, _ = os.pipe()
    while True:
        one, other = socket.socketpair()
        kept.append((one, other))
        one.setblocking(False)
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [read] * 250))]
        try:
            while True:
                one.sendmsg([b"x"], rights)
                yield 250 * 16
        except BlockingIOError:
            pass
""",
}
"""By kind; epoll, inotify, locks and the like are the kernel's own memory on a program's behalf."""
