"""A build script includes "src/../lib/./core.c", "src/net/../../lib/io.c" and "./src/net/tls/x509.c".
Print each resolved path and how many folders deep it lies."""

includes = ["src/../lib/./core.c", "src/net/../../lib/io.c", "./src/net/tls/x509.c"]
for include in includes:
    clean = []
    for step in include.split("/"):
        if step in ("", "."):
            continue
        if step == "..":
            if clean:
                clean.pop()
        else:
            clean.append(step)
    print("/".join(clean), len(clean) - 1)
