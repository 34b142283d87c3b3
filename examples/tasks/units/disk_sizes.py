"""Which of these is the largest, and what is the sum in MiB: "3.5 GiB", "3900 MiB", "4200000 KiB"?"""

factors = {"KiB": 1 / 1024, "MiB": 1.0, "GiB": 1024.0}
sizes = ["3.5 GiB", "3900 MiB", "4200000 KiB"]
best = ""
biggest = 0.0
together = 0.0
for size in sizes:
    count, prefix = size.split()
    mib = float(count) * factors[prefix]
    together += mib
    if mib > biggest:
        best, biggest = size, mib
print(best)
print(f"{together:.1f}")
