"""A program for the inside of a sandbox: a small web server, honest by some paths and hostile by others."""

PORT = 8000
SOURCE = r"""
import base64, hashlib, socket, sys, threading, time

def flood(sock, piece, seconds=60):
    end = time.time() + seconds
    while time.time() < end:
        sock.sendall(piece)

def echo(sock, head, rest):
    lines = head.split(b"\r\n")
    size = 0
    for line in lines:
        if line.lower().startswith(b"content-length:"):
            size = int(line.split(b":")[1])
    chunked = b"transfer-encoding: chunked" in head.lower()
    while len(rest) < size or chunked and not rest.endswith(b"0\r\n\r\n"):
        rest += sock.recv(65536)
    body = head + b"\n---\n" + rest
    sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

def answer(text):
    def send(sock, head, rest):
        sock.sendall(text)
    return send

def big_header(sock, head, rest):
    sock.sendall(b"HTTP/1.1 200 OK\r\nX: ")
    for _ in range(1600):
        sock.sendall(b"a" * 65536)

def endless_header(sock, head, rest):
    sock.sendall(b"HTTP/1.1 200 OK\r\n")
    flood(sock, b"X: y\r\n" * 1000)

def endless_information(sock, head, rest):
    flood(sock, b"HTTP/1.1 100 Continue\r\n\r\n" * 100)

def slow(sock, head, rest):
    sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for number in range(3):
        sock.sendall(b"2\r\n%d\n\r\n" % number)
        time.sleep(0.3)
    sock.sendall(b"0\r\n\r\n")

def stream(sock, head, rest):
    sock.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    flood(sock, b"x" * 65536)

def early(sock, head, rest):
    sock.sendall(b"HTTP/1.1 413 No\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
    time.sleep(1)

def websocket(sock, head, rest):
    fields = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line)
    fields = {k.lower(): v for k, v in fields.items()}
    digest = hashlib.sha1(fields[b"sec-websocket-key"] + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
    offered = fields.get(b"sec-websocket-protocol", b"").split(b",")[-1].strip()
    extra = b"Sec-WebSocket-Protocol: " + offered + b"\r\n" if offered else b""
    sock.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + base64.b64encode(digest) + b"\r\n" + extra + b"Set-Cookie: w=1\r\n\r\n")
    if b"/ws-garbage" in head:
        sock.sendall(b"\xff\xff\xff\xff" * 100)
        return
    if b"/ws-flood" in head:
        sock.sendall(b"\x02\x7f" + (1 << 40).to_bytes(8, "big"))
        flood(sock, b"x" * 65536)
        return
    def need(n):
        nonlocal rest
        while len(rest) < n:
            piece = sock.recv(65536)
            if not piece: raise SystemExit
            rest += piece
        data, rest = rest[:n], rest[n:]
        return data
    sock.sendall(b"\x89\x02hi")
    while True:
        first, second = need(2)
        size = second & 127
        if size == 126: size = int.from_bytes(need(2), "big")
        elif size == 127: size = int.from_bytes(need(8), "big")
        mask = need(4)
        data = bytes(b ^ mask[i % 4] for i, b in enumerate(need(size)))
        if first & 15 == 8:
            sock.sendall(b"\x88" + bytes([len(data)]) + data)
            return
        if first & 15 == 10:
            continue
        if data == b"end":
            sock.sendall(b"\x88\x06\x0f\xa1four")
            return
        head = bytes([first]) + (bytes([size]) if size < 126 else b"\x7e" + size.to_bytes(2, "big"))
        sock.sendall(head + data)

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"
PATHS = {
    b"/": answer(OK + b"Content-Type: text/html\r\n\r\nhi"),
    b"/big-header": big_header,
    b"/endless-header": endless_header,
    b"/endless-information": endless_information,
    b"/chunk-garbage": answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nZZZZ\r\ngarbage"),
    b"/short": answer(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort"),
    b"/garbage": answer(b"\x00\xff\xfe not http at all\r\n\r\n"),
    b"/nothing": answer(b""),
    b"/status": answer(b"HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n"),
    b"/switch": answer(b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nGET /api/sandbox"),
    b"/split": answer(OK + b"X-A: b\nSet-Cookie: api=1\r\n\r\nhi"),
    b"/cookies": answer(OK + b"Set-Cookie: a=1; Path=/api; Domain=localhost; HttpOnly\r\n"
        b"Set-Cookie: tidepool_preview=x; Path=/\r\nSet-Cookie: b=2; Max-Age=5; Path=/deep\r\n\r\nhi"),
    b"/redirect": answer(b"HTTP/1.1 302 F\r\nLocation: /api/sandbox?x=1\r\nContent-Length: 0\r\n\r\n"),
    b"/redirect-own": answer(b"HTTP/1.1 302 F\r\nLocation: http://localhost:8000/next\r\nContent-Length: 0\r\n\r\n"),
    b"/redirect-away": answer(b"HTTP/1.1 302 F\r\nLocation: //example.org/\r\nContent-Length: 0\r\n\r\n"),
    b"/policy": answer(OK + b"Strict-Transport-Security: max-age=9\r\nClear-Site-Data: \"*\"\r\nNEL: {}\r\n"
        b"Access-Control-Allow-Origin: https://evil\r\nAccess-Control-Allow-Credentials: true\r\nX-Own: yes\r\n"
        b"Content-Security-Policy: img-src *\r\nReferrer-Policy: unsafe-url\r\nService-Worker-Allowed: /\r\n"
        b"Connection: X-Secret\r\nX-Secret: 1\r\n\r\nhi"),
    b"/slow": slow,
    b"/stream": stream,
    b"/early": early,
    b"/none": answer(b"HTTP/1.1 204 No\r\n\r\n"),
    b"/both": answer(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"5\r\nhello\r\n0\r\n\r\n"),
    b"/old": answer(b"HTTP/1.0 200 OK\r\n\r\nuntil the end"),
    b"/ws": websocket, b"/ws-garbage": websocket, b"/ws-flood": websocket,
}

def serve(sock):
    try:
        data = b""
        while b"\r\n\r\n" not in data:
            piece = sock.recv(65536)
            if not piece: return
            data += piece
        head, _, rest = data.partition(b"\r\n\r\n")
        path = head.split(b" ")[1].partition(b"?")[0]
        PATHS.get(path, echo)(sock, head, rest)
        sock.shutdown(socket.SHUT_WR)
        sock.settimeout(2)
        while sock.recv(65536): pass
    except (OSError, SystemExit):
        pass
    finally:
        sock.close()

server = socket.create_server(("127.0.0.1", 8000))
print("ready", flush=True)
while True:
    connection, _ = server.accept()
    threading.Thread(target=serve, args=(connection,), daemon=True).start()
"""
