"""A ticket office prints 2024-0815-001 and wants a last digit such that digits weighted 1, 3, 1, 3 …
add up to a multiple of ten. Do the same for 2024-0815-002 and 2024-0815-003."""

tickets = ["2024-0815-001", "2024-0815-002", "2024-0815-003"]
for ticket in tickets:
    figures = [int(s) for s in ticket.replace("-", "")]
    score = sum(f * (3 if p % 2 else 1) for p, f in enumerate(figures))
    print(f"{ticket}-{(10 - score % 10) % 10}")
