"""Many clients at once: each creates a sandbox, runs a line in it and deletes it, again and again.

`clients_at_once.py [CLIENTS] [SECONDS]`, 200 and 120 when not given. Every answer must be a 200 and nothing may be left
when it is over: no sandbox, and no process, mount or control group of the server once it has ended.
"""

import asyncio
import json
import sys
import time
from collections import Counter
from pathlib import Path

import httpcore
from measure import own_server, table

ROOT = Path(__file__).parents[1]
HEADERS = [("Authorization", "Bearer benchmark"), ("Content-Type", "application/json")]


class Load:
    """All clients of one run."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.origin = url.removesuffix("/api")
        self.answers: Counter[tuple[str, int]] = Counter()
        self.times: dict[str, list[float]] = {"create": [], "a Python line": [], "delete": []}
        self.wrong: list[str] = []

    async def call(
        self, pool: httpcore.AsyncConnectionPool, what: str, method: str, url: str, body: object = None
    ) -> dict[str, object]:
        """One call; its status is counted, its time noted."""
        began = time.perf_counter()
        content = json.dumps(body).encode() if body is not None else b""
        answer = await pool.request(method, url, headers=HEADERS, content=content)
        self.times[what].append((time.perf_counter() - began) * 1000)
        self.answers[what, answer.status] += 1
        if answer.status != 200 and len(self.wrong) < 5:
            self.wrong.append(f"{what}: {answer.status} {answer.content[:300]!r}")
        found: dict[str, object] = json.loads(answer.content)
        return found

    async def client(self, until: float) -> None:
        """One client with a connection of its own."""
        async with httpcore.AsyncConnectionPool(max_connections=1) as pool:
            while time.monotonic() < until:
                made = await self.call(
                    pool, "create", "POST", f"{self.url}/sandbox", {"networkBlockAll": True}
                )
                if "id" not in made:
                    continue
                toolbox = f"{self.origin}/toolbox/{made['id']}"
                line = {"code": "print(6 * 7)", "language": "python"}
                ran = await self.call(pool, "a Python line", "POST", f"{toolbox}/process/code-run", line)
                if ran.get("result") != "42\n":
                    self.wrong.append(f"a line: {ran}")
                await self.call(pool, "delete", "DELETE", f"{self.url}/sandbox/{made['id']}")


async def run(url: str, clients: int, seconds: float) -> Load:
    """All clients until the time is over."""
    load = Load(url)
    until = time.monotonic() + seconds
    await asyncio.gather(*(load.client(until) for _ in range(clients)))
    async with httpcore.AsyncConnectionPool() as pool:
        left = json.loads((await pool.request("GET", f"{url}/sandbox", headers=HEADERS)).content)
    if left["items"]:
        load.wrong.append(f"{len(left['items'])} sandboxes are left")
    return load


def main(clients: int, seconds: float) -> int:
    """Measure, print, and say whether anything went wrong."""
    sys.path.insert(0, str(ROOT))
    from tests import leftovers

    before = leftovers.now()
    with own_server(pool=16) as config:
        assert config.api_url is not None
        load = asyncio.run(run(config.api_url, clients, seconds))
    left = leftovers.taken_since(before, "")
    cycles = len(load.times["delete"])
    print(f"{clients} clients, {seconds:g} s: {cycles} cycles, {cycles / seconds:.1f} a second")
    print(table(load.times, "create"))
    print(
        "answers:", ", ".join(f"{what} {status}: {n}" for (what, status), n in sorted(load.answers.items()))
    )
    for sentence in (*load.wrong, *left):
        print("WRONG:", sentence)
    return 1 if load.wrong or left else 0


if __name__ == "__main__":
    arguments = [float(text) for text in sys.argv[1:]]
    sys.exit(main(int(arguments[0]) if arguments else 200, arguments[1] if len(arguments) > 1 else 120.0))
