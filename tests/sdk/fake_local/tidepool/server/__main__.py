"""A local server that does what FAKE_LOCAL says: answer, refuse to start, crash, stay silent or speak otherwise.

It notes every start in the runtime directory, exits when nobody has connected for --idle seconds, and knows no sandbox.
"""

import argparse
import json
import os
import socket
import sys
import time


def main() -> None:
    """Run until idle."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--uds", required=True)
    parser.add_argument("--idle", type=float, required=True)
    options = parser.parse_args()
    mode = os.environ["FAKE_LOCAL"]
    with open(os.path.join(os.path.dirname(options.uds), "starts"), "a") as starts:
        starts.write(json.dumps({"pid": os.getpid(), "cwd": os.getcwd(), "env": dict(os.environ)}) + "\n")
    if mode == "refuse":
        sys.exit("This host cannot isolate: user namespaces are off. Enable them with sysctl.")
    if mode == "crash":
        raise RuntimeError("a bug")
    if mode == "silent":
        time.sleep(30)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(options.uds)
        listener.listen(64)
        print("http+unix://ready", flush=True)
        listener.settimeout(options.idle)
        serve(listener, 99 if mode == "other" else 1)


def serve(listener: socket.socket, protocol: int) -> None:
    """Answer every connection once."""
    body = json.dumps({"version": "9", "protocol": protocol, "pid": os.getpid(), "sandboxes": 0}).encode()
    while True:
        connection, _ = listener.accept()
        with connection:
            if not connection.recv(65536):
                continue  # only looked whether somebody listens
            head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            connection.sendall(head.encode() + body)


if __name__ == "__main__":
    main()
