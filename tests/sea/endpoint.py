"""A small real endpoint that speaks OpenAI's chat completions on loopback, and answers what a test says it does."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[[str, str], str | int]
"""From what is asked, rules and text, to what is said, or to the status of a failure."""


@dataclass
class Endpoint:
    """Where it listens, and what it was asked."""

    url: str
    asked: list[tuple[str, str]] = field(default_factory=list)
    heads: list[dict[str, str]] = field(default_factory=list)


@contextmanager
def endpoint(answer: Answer) -> Iterator[Endpoint]:
    """One for as long as the block."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            rules, text = (message["content"] for message in body["messages"])
            found.asked.append((rules, text))
            found.heads.append({name.lower(): value for name, value in self.headers.items()})
            said = answer(rules, text)
            status = said if isinstance(said, int) else 200
            usage = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}
            message = {"role": "assistant", "content": said}
            content = json.dumps(
                {
                    "error": {
                        "message": f"{self.headers['Authorization']}: out of order",
                        "type": "server_error",
                    }
                }
                if isinstance(said, int)
                else {
                    "id": "1",
                    "object": "chat.completion",
                    "created": 0,
                    "model": body["model"],
                    "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                    "usage": usage,
                }
            ).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found = Endpoint(f"http://127.0.0.1:{server.server_address[1]}/v1")
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
