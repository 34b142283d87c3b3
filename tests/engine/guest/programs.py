"""Programs that would notice if their interpreter were not fresh: run both ways, everything they show must be equal."""

TEXTS: dict[str, str] = {
    # --- ends -----------------------------------------------------------------------------------------------------
    "nothing": "",
    "prints": "print(1)\nprint('ü', 2, sep='|')\nimport sys\nprint('to stderr', file=sys.stderr)\n",
    "no_newline_at_the_end": "print(1)\nprint(2)",
    "exit_with_number": "import sys\nsys.exit(3)\n",
    "exit_with_none": "import sys\nsys.exit()\n",
    "exit_with_text": "import sys\nsys.exit('that was wrong')\n",
    "exit_beyond_a_byte": "raise SystemExit(256 + 7)\n",
    "exit_negative": "raise SystemExit(-1)\n",
    "exit_with_object": "raise SystemExit([1, 'a'])\n",
    "exit_subclass": "class E(SystemExit):\n    code = 9\nraise E\n",
    "exit_builtin": "exit(4)\n",
    "os_exit": "import os\nprint('x')\nos._exit(7)\n",
    "abort": "import os\nos.abort()\n",
    "keyboard_interrupt": "import atexit\natexit.register(print, 'at exit')\nraise KeyboardInterrupt\n",
    "interrupt_by_signal": "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nwhile True: pass\n",
    "interrupt_subclass": "class K(KeyboardInterrupt): pass\nraise K('x')\n",
    "terminated": "import os, signal\nos.kill(os.getpid(), signal.SIGTERM)\n",
    "broken_pipe": "import os\nr, w = os.pipe()\nos.close(r)\ntry:\n    os.write(w, b'x')\nexcept OSError as e:\n    print(e)\n",
    "atexit_order": "import atexit\nfor i in range(3): atexit.register(print, 'exit', i)\nprint('end')\n",
    "atexit_raises": "import atexit\natexit.register(lambda: 1/0)\natexit.register(print, 'still')\n",
    "atexit_exits": "import atexit, sys\natexit.register(sys.exit, 5)\n",
    "atexit_logs": "import atexit, logging\nlogging.basicConfig()\natexit.register(logging.warning, 'late')\n",
    "atexit_stack": "import atexit, traceback\natexit.register(traceback.print_stack)\n",
    "file_not_closed": "f = open('out.txt', 'w')\nf.write('kept\\n' * 3)\n",
    "file_in_a_cycle": "class A: pass\na = A()\na.a = a\na.f = open('out.txt', 'wb')\na.f.write(b'kept')\n",
    "file_held_elsewhere": "import json, threading\njson.f = open('a.txt', 'w')\njson.f.write('a')\n"
    "threading.local().f = f = open('b.txt', 'w')\nf.write('b')\n",
    "file_not_closed_exit": "import sys\nf = open('out.txt', 'w')\nf.write('kept')\nsys.exit(1)\n",
    "unclosed_file_warning": "import warnings\nwarnings.simplefilter('always')\nf = open('out.txt', 'w')\n",
    "finalizers": "class A:\n    def __init__(self, n): self.n = n\n    def __del__(self): print('del', self.n)\n"
    "a = A('a')\n_b = A('_b')\nc = [A('c')]\nc.append(c)\nprint('end')\n",
    "finalizer_raises": "class A:\n    def __del__(self): raise ValueError('in del')\na = A()\n",
    "finalizer_imports": "class A:\n    def __del__(self):\n        import colorsys\n        print('got', colorsys)\na = A()\n",
    "finalizer_knows": "import sys\nclass A:\n    def __del__(self, s=sys): print(s.is_finalizing(), sys)\na = A()\n",
    "finalizer_after_error": "class A:\n    def __del__(self): print('del')\na = A()\n1/0\n",
    "weakref_finalize": "import weakref\nclass A: pass\na = A()\nweakref.finalize(a, print, 'finalized')\n",
    "generator_cleanup": "def g():\n    try:\n        yield 1\n    finally:\n        print('cleaned')\nx = g()\nnext(x)\n",
    "full_device": "import sys\nsys.stdout = open('/dev/full', 'w')\nprint('lost')\n",
    "stdout_closed": "import sys\nsys.stdout.close()\n",
    "stdout_replaced": "import io, sys\nsys.stdout = io.StringIO()\nprint('into nowhere')\n",
    "print_after_close": "import sys\nsys.stdout.close()\nprint(1)\n",
    "help_deleted": "import builtins\ndel builtins.help\nprint('no help')\n",
    # --- errors ---------------------------------------------------------------------------------------------------
    "uncaught": "def f(x):\n    return g(x)\ndef g(x):\n    return 1 / x\nf(0)\n",
    "chained": "try:\n    {}['a']\nexcept KeyError as e:\n    raise ValueError('b') from e\n",
    "in_context": "try:\n    1/0\nexcept ZeroDivisionError:\n    undefined\n",
    "with_notes": "e = ValueError('x')\ne.add_note('a note')\nraise e\n",
    "group": "raise ExceptionGroup('many', [ValueError(1), TypeError('two')])\n",
    "name_suggestion": "import math\nmath.sqroot(4)\n",
    "syntax_error": "print('never')\ndef f()\n    return 1\n",
    "indentation_error": "if True:\nprint(1)\n",
    "tab_error": "if True:\n        x = 1\n\ty = 2\n",
    "unclosed": "x = (1,\nprint(2)\n",
    "bad_escape": "x = '\\d'\nprint(x)\n",
    "null_byte": "x = 1\n\0\n",
    "not_utf8": "x = '\udce9'\n",
    "bad_cookie": "# -*- coding: nonsense -*-\nprint(1)\n",
    "byte_order_mark": "\ufeffprint('bom')\n",
    "crlf": "print(1)\r\nif 1:\r\n    print('''a\r\nb''')\r\n",
    "form_feed": "\x0cprint(1)\n",
    "error_in_exec": "exec(compile('a = 1\\nb = 1/0', 'made.py', 'exec'))\n",
    "syntax_error_in_eval": "eval('1 +')\n",
    "own_excepthook": "import sys\nsys.excepthook = lambda *a: print('hook', a[0], a[1])\n1/0\n",
    "broken_excepthook": "import sys\ndef hook(*a): raise OSError('no')\nsys.excepthook = hook\n1/0\n",
    "no_excepthook": "import sys\ndel sys.excepthook\n1/0\n",
    "traceback_limit": "import sys\nsys.tracebacklimit = 1\ndef f(): g()\ndef g(): 1/0\nf()\n",
    "no_stderr": "import sys\nsys.stderr = None\n1/0\n",
    "bad_str": "class E(Exception):\n    def __str__(self): raise ValueError\nraise E\n",
    "recursion": "def f(n): return f(n + 1)\nf(0)\n",
    "recursion_caught": "def f():\n    try:\n        return f()\n    except RecursionError:\n        return 'deep'\nprint(f())\n",
    # --- what a program can see -----------------------------------------------------------------------------------
    "main_module": "print(list(globals()))\nprint({k: v for k, v in list(globals().items()) if k != 'v'})\n"
    "import sys\nprint(sys.modules['__main__'].__dict__ is globals(), __spec__, __loader__)\n",
    "sys_facts": "import sys\nprint(sys.argv, sys.orig_argv[1:], sys.path, sys.flags, sys.warnoptions, sys._xoptions)\n"
    "print(sys.meta_path, len(sys.path_hooks), sys.dont_write_bytecode, sys.pycache_prefix, sys.executable)\n"
    "print(sys.getrecursionlimit(), sys.getswitchinterval(), sys.gettrace(), sys.getprofile(), sys.exc_info())\n"
    "print(sorted(vars(sys)))\n",
    "modules": "import sys\nprint(sorted(sys.modules))\n",
    "packages_attributes": "import importlib, os, encodings, collections.abc\n"
    "for m in importlib, os, encodings:\n    print(m.__name__, sorted(vars(m)))\n",
    "unimported_submodule": "import importlib, concurrent, xml\n"
    "for f in (lambda: concurrent.futures, lambda: xml.etree, lambda: importlib.resources.abc):\n"
    "    try:\n        print(f())\n    except AttributeError as e:\n        print(e)\n",
    "streams": "import sys\nfor s in sys.stdin, sys.stdout, sys.stderr:\n"
    "    print(s.name, s.mode, s.encoding, s.errors, s.line_buffering, s.write_through, s.newlines, s.isatty())\n"
    "    print(type(s.buffer), s.seekable(), s.fileno(), s.closed, s.buffer.name, s.buffer.mode)\n"
    "print(sys.stdin is sys.__stdin__, sys.stdout is sys.__stdout__, sys.stderr is sys.__stderr__)\n",
    "streams_encode": "import sys\nprint('\\udc80' + chr(233))\nprint('\\ud800', file=sys.stderr)\nprint('\\ud800')\n",
    "stdin_at_its_end": "import sys\nprint(repr(sys.stdin.read()))\ninput()\n",
    "descriptors": "import os\nprint(sorted(os.listdir('/proc/self/fd')))\n"
    "print([os.get_inheritable(i) for i in range(3)])\n",
    "environment": "import os\nprint(sorted(os.environ.items()), os.getcwd(), oct(os.umask(0)))\n",
    "signals": "import signal\nfor n in sorted(signal.valid_signals()):\n    print(n, signal.getsignal(n))\n"
    "print(signal.pthread_sigmask(signal.SIG_BLOCK, []), signal.set_wakeup_fd(-1), signal.getitimer(signal.ITIMER_REAL))\n",
    "threads": "import threading, os\nt = threading.current_thread()\nprint(t, t is threading.main_thread(), t.name)\n"
    "print(t.ident == threading.get_ident(), t.native_id == os.getpid(), threading.active_count(), t.daemon)\n"
    "print(len(os.listdir('/proc/self/task')))\n",
    "collector": "import gc\nprint(gc.isenabled(), gc.get_threshold(), gc.callbacks, gc.garbage, gc.get_debug())\n",
    "warning_filters": "import warnings\nprint(warnings.filters, warnings.onceregistry)\n",
    "locale": "import locale, sys\nprint(locale.setlocale(locale.LC_ALL), locale.getpreferredencoding())\n"
    "print(sys.getfilesystemencoding(), sys.getfilesystemencodeerrors(), sys.getdefaultencoding())\n",
    "site": "import site, sysconfig\nprint(site.USER_SITE, site.USER_BASE, site.ENABLE_USER_SITE, site.getsitepackages())\n"
    "print(sysconfig.get_path('stdlib'))\n",
    "builtins": "import builtins\nprint(sorted(vars(builtins)), builtins.__import__)\n",
    "import_machinery": "import importlib._bootstrap as b, os\nprint(b.__import__, b._find_spec, b._gcd_import)\n"
    "print(os.environ.__class__.__getitem__.__qualname__, type(os.environ).__setitem__.__module__)\n",
    "stack": "import inspect, sys, traceback\nprint(len(inspect.stack()))\ntraceback.print_stack()\n"
    "def f(): traceback.print_stack()\nf()\nsys._getframe(1)\n",
    "faulthandler": "import faulthandler\nprint(faulthandler.is_enabled())\nfaulthandler.dump_traceback()\n",
    "tracemalloc": "import tracemalloc\nprint(tracemalloc.is_tracing())\n",
    "warning_locations": "import warnings\nfor level in 1, 2, 3:\n    warnings.warn('at level %d' % level, stacklevel=level)\n"
    "def f(): warnings.warn('called', stacklevel=2)\nf()\nf()\n",
    "deprecation_in_main": "import warnings\nwarnings.warn('old', DeprecationWarning)\n",
    "logging_state": "import logging\nprint(logging.root.handlers, logging.root.level, logging.lastResort)\n",
    "logging_start": "import logging\nr = logging.LogRecord('n', 10, 'p', 1, 'm', (), None)\nprint(0 <= r.relativeCreated < 5000)\n",
    "tempfile_state": "import tempfile\nprint(tempfile.tempdir, tempfile.gettempdir())\n",
    "asyncio_state": "import asyncio\ntry:\n    asyncio.get_running_loop()\nexcept RuntimeError as e:\n    print(e)\n",
    "contextvars": "import contextvars\nprint(len(contextvars.copy_context()))\n",
    "decimal_context": "import decimal\nprint(decimal.getcontext())\n",
    "seeded": "import random\nrandom.seed(7)\nprint(random.random(), random.sample(range(99), 5))\n",
    "process": "import os\nprint(os.getpgid(0) == os.getpid(), os.getsid(0) == os.getpid(), os.times().children_user)\n"
    "print(open('/proc/self/comm').read())\n",
    # --- imports --------------------------------------------------------------------------------------------------
    "missing_module": "import nosuchmodule\n",
    "missing_submodule": "import json.nosuch\n",
    "missing_name": "from json import nosuch\n",
    "not_a_package": "import math.sub\n",
    "module_that_fails": "open('failing.py', 'w').write('import json\\n1/0\\n')\nimport failing\n",
    "module_with_syntax_error": "open('bad.py', 'w').write('def f(:\\n')\nimport bad\n",
    "module_of_its_own": "open('own.py', 'w').write('import json\\nprint(__name__, __file__)\\nX = json\\n')\n"
    "import own, json\nprint(own.X is json)\n",
    "module_exits": "open('own.py', 'w').write('raise SystemExit(6)\\n')\nimport own\n",
    "shadows_a_preloaded_one": "open('statistics.py', 'w').write('print(\"mine\")\\n')\nimport statistics\n"
    "print(statistics.__file__.endswith('statistics.py'), hasattr(statistics, 'mean'))\n",
    "shadows_what_others_need": "open('bisect.py', 'w').write('print(\"mine\")\\nbisect = bisect_left = bisect_right = None\\n')\n"
    "import statistics\nprint(statistics.bisect_left)\n",
    "shadows_from_a_directory": "import os, sys\nos.mkdir('lib')\nopen('lib/fractions.py', 'w').write('print(\"mine\")\\n')\n"
    "sys.path.insert(0, 'lib')\nimport fractions\nprint(hasattr(fractions, 'Fraction'))\n",
    "directory_without_init": "import os\nos.mkdir('csv')\nimport csv\nprint(csv.reader)\n",
    "finder_of_its_own": "import sys\nfrom importlib.machinery import ModuleSpec\nclass F:\n"
    "    def find_spec(self, name, path, target=None):\n        if name == 'textwrap': return ModuleSpec(name, self)\n"
    "    def create_module(self, spec): return None\n    def exec_module(self, m): m.mine = True\n"
    "sys.meta_path.insert(0, F())\nimport textwrap\nprint(textwrap.mine)\n",
    "blocked": "import sys\nsys.modules['decimal'] = None\nimport decimal\n",
    "imported_anew": "import sys, json\na = json\ndel sys.modules['json']\nimport json\nprint(a is json, json.loads('1'))\n",
    "reloaded": "import importlib, textwrap\nprint(importlib.reload(textwrap) is textwrap)\n",
    "found_but_not_imported": "import importlib.util, sys\ns = importlib.util.find_spec('csv')\nprint(s, 'csv' in sys.modules)\n"
    "m = importlib.util.module_from_spec(s)\ns.loader.exec_module(m)\nimport csv\nprint(m is csv)\n",
    "import_by_name": "import importlib\nprint(importlib.import_module('.ElementTree', 'xml.etree').__name__, __import__('xml'))\n",
    "from_import_submodule": "from concurrent import futures\nfrom xml.etree import ElementTree as E\nprint(futures.thread, E.XML)\n",
    "import_star": "from textwrap import *\nprint(dedent('  a'))\n",
    "import_in_threads": "import threading\ndef f():\n    import asyncio, unittest.mock, csv, decimal\n    asyncio.tasks, csv.reader\n"
    "ts = [threading.Thread(target=f) for _ in range(8)]\n[t.start() for t in ts]\n[t.join() for t in ts]\nprint('ok')\n",
    "walk_all_modules": "import sys, json, asyncio\n"
    "print([n for n, m in list(sys.modules.items()) if getattr(m, '__name__', n) not in (n, 'posixpath')])\n",
    # --- work -----------------------------------------------------------------------------------------------------
    "pickle_main_class": "import pickle\nclass P:\n    x = 1\np = pickle.loads(pickle.dumps(P()))\nprint(type(p) is P, P.__module__)\n",
    "dataclass": "from dataclasses import dataclass\nfrom typing import get_type_hints\n@dataclass\nclass D:\n    a: 'int' = 1\n"
    "print(D(), get_type_hints(D))\n",
    "enum_and_namedtuple": "import enum, collections\nclass C(enum.Enum):\n    A = 1\nN = collections.namedtuple('N', 'x')\n"
    "print(C.A, repr(C), N(1), N.__module__)\n",
    "getsource": "import inspect\ndef f(): pass\nprint(inspect.getsource(f))\n",
    "fork": "import os\npid = os.fork()\nif pid == 0:\n    print('child')\nelse:\n    os.waitpid(pid, 0)\n    print('parent')\n",
    "execv": "import os, sys\nos.execv(sys.executable, [sys.executable, '-c', 'print(1)'])\n",
    "subprocess": "import subprocess, sys\nprint(subprocess.run([sys.executable, '-c', 'import sys; print(sys.argv)', 'a'],"
    " capture_output=True))\n",
    "multiprocessing": "import multiprocessing as m, os\ndef f(x): return x * x\nif __name__ == '__main__':\n"
    "    c = m.get_context('fork')\n    with c.Pool(2) as p:\n        print(p.map(f, range(4)), m.current_process())\n"
    "    q = c.Queue()\n    t = c.Process(target=q.put, args=(1,))\n    t.start()\n    print(q.get(), t.join(), t.exitcode)\n"
    "    print(m.process.ORIGINAL_DIR == os.getcwd())\n",
    "process_pool": "import concurrent.futures as c, multiprocessing as m\ndef f(x): return x + 1\nif __name__ == '__main__':\n"
    "    with c.ProcessPoolExecutor(2, m.get_context('fork')) as p: print(list(p.map(f, [1, 2])))\n",
    "thread_pool": "from concurrent.futures import ThreadPoolExecutor as T\nwith T(3) as t: print(list(t.map(abs, [-1, 2])))\n",
    "thread_outlives": "import threading, time\ndef f():\n    time.sleep(0.05)\n    print('late')\nthreading.Thread(target=f).start()\n",
    "thread_outlives_exit": "import sys, threading, time\ndef f():\n    time.sleep(0.05)\n    print('late')\n"
    "threading.Thread(target=f).start()\nsys.exit(2)\n",
    "daemon_thread": "import threading, time\nthreading.Thread(target=time.sleep, args=(9,), daemon=True).start()\nprint('end')\n",
    "thread_raises": "import threading\nt = threading.Thread(target=lambda: 1/0, name='T')\nt.start()\nt.join()\nprint('end')\n",
    "thread_pool_never_closed": "from concurrent.futures import ThreadPoolExecutor as T\nt = T(1)\nt.submit(print, 'done')\n",
    "asyncio": "import asyncio\nasync def f(x):\n    await asyncio.sleep(0)\n    return x\n"
    "async def main(): return await asyncio.gather(f(1), f(2))\nprint(asyncio.run(main()))\n",
    "asyncio_raises": "import asyncio\nasync def main(): 1/0\nasyncio.run(main())\n",
    "never_awaited": "async def f(): pass\nf()\nprint('end')\n",
    "argparse_error": "import argparse\np = argparse.ArgumentParser()\np.add_argument('x', type=int)\np.parse_args(['a'])\n",
    "unittest_main": "import unittest\nclass T(unittest.TestCase):\n    def test_a(self): self.assertEqual(1, 2)\n"
    "    def test_b(self): pass\nunittest.main(argv=['x'])\n",
    "doctest": "'''\n>>> 1 + 1\n3\n'''\nimport doctest\nprint(doctest.testmod())\n",
    "timeout_by_alarm": "import signal\ndef f(*a): raise TimeoutError('over')\nsignal.signal(signal.SIGALRM, f)\n"
    "signal.setitimer(signal.ITIMER_REAL, 0.02)\nsignal.pause()\n",
    "future_annotations": "from __future__ import annotations\ndef f(x: Nope): return x\nprint(f.__annotations__)\n",
    "main_annotations": "x: int = 1\nprint(__annotations__)\n",
    "much_output": "for i in range(20000): print('line', i)\n",
    "sqlite": "import sqlite3\nc = sqlite3.connect('a.db')\nc.execute('create table t (x)')\nc.execute('insert into t values (1)')\n"
    "c.commit()\nprint(c.execute('select * from t').fetchall())\n",
    "runs_another_file": "open('o.py', 'w').write('print(__name__, __file__)\\n')\nimport runpy\nrunpy.run_path('o.py', run_name='r')\n",
    "decode_error": "open('b', 'wb').write(b'\\xff')\nopen('b').read()\n",
    "deep_structure": "x = []\nfor _ in range(100000): x = [x]\ntry:\n    repr(x)\nexcept RecursionError as e:\n    print('deep')\n",
}  # fmt: skip

BROUGHT = "import sys\nbefore = set(sys.modules)\nimport {name}\nprint(sorted(set(sys.modules) - before))\n"
"""What comes in sight with an import must be what a fresh interpreter would load."""

SCRIPTS: dict[str, str] = {
    "latin_1": "# -*- coding: latin-1 -*-\nprint(ascii('\udce9'))\n",
    "facts": "import sys, os\nprint(__file__, __name__, __spec__, __loader__, sys.argv, sys.path[0], sys.orig_argv[1:])\n"
    "print(list(globals()))\n",
    "uncaught": "def f():\n    return (1 +\n            1 / 0)\nf()\n",
    "syntax_error": "x = (\nprint(1\n",
    "getsource": "import inspect\ndef f():\n    # with a comment\n    pass\nprint(inspect.getsource(f))\n",
    "own_warning": "import warnings\nwarnings.warn('here')\n",
    "spawn": "import multiprocessing as m\ndef f(x): return x + 1\nif __name__ == '__main__':\n"
    "    with m.get_context('spawn').Pool(1) as p: print(p.map(f, [1]))\n",
    "pickle": "import pickle\nclass A: pass\nprint(pickle.loads(pickle.dumps(A)) is A)\n",
    "sibling": "import sibling\nprint(sibling.X)\n",
    "exits": "import sys\nsys.exit(len(sys.argv))\n",
}
