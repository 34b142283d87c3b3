"""`run_code_with_tests` beside unsandboxed `python -m pytest` of the same file and packages; `run_tests.py [ROUNDS]`.

The first call, which builds the dependency layer, is told apart: the layer is cached from then on.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measure import interleaved, own_server, table

from daytona_sdk import Daytona
from sea.daytona_manager import DaytonaManager

PACKAGES = ["pytest", "langchain-core"]
CODE = "def double(x):\n    return 2 * x\n\n\ndef test_double():\n    assert double(2) == 4\n"


def make_environment(place: Path) -> str:
    """A virtual environment with the packages; its interpreter."""
    uv = [sys.executable, "-m", "uv"]
    subprocess.run([*uv, "venv", "--quiet", "--python", sys.executable, str(place)], check=True)
    python = str(place / "bin" / "python")
    subprocess.run([*uv, "pip", "install", "--quiet", "--python", python, *PACKAGES], check=True)
    return python


def main(rounds: int) -> None:
    """Print the table and the target."""
    with tempfile.TemporaryDirectory(prefix="tidepool-bench-") as place, own_server(pool=2) as config:
        python = make_environment(Path(place, "venv"))
        test = Path(place, "test_double.py")
        test.write_text(CODE)
        manager = DaytonaManager(Daytona(config))

        def ours() -> None:
            result = manager.run_code_with_tests(CODE, PACKAGES)
            assert result["success"], result

        def unsandboxed() -> None:
            command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(test)]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=place)

        started = time.perf_counter()
        ours()
        print(f"first call, layer built: {time.perf_counter() - started:.2f} s")
        ways = {"python -m pytest, unsandboxed": unsandboxed, "run_code_with_tests, layer cached": ours}
        times = interleaved(ways, rounds, pause_s=0.1)
    print(table(times, "python -m pytest, unsandboxed"))
    medians = {name: sorted(values)[len(values) // 2] for name, values in times.items()}
    plain, own = medians.values()
    print(f"target <= 60 ms: {own:.1f} ms, {'met' if own <= 60 else 'NOT met'}")
    print(f"target >= 10 times faster: {plain / own:.1f} times, {'met' if plain >= 10 * own else 'NOT met'}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 25)
