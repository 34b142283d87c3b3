"""Bank accounts are written like "GB82 WEST 1234 5698 7654 32". Move the first four characters to the
end, write A as 10 up to Z as 35; the number must leave 1 when divided by 97. Check that account and
"DE89 3704 0044 0532 0130 01"."""

accounts = ["GB82 WEST 1234 5698 7654 32", "DE89 3704 0044 0532 0130 01"]
for account in accounts:
    compact = account.replace(" ", "")
    moved = compact[4:] + compact[:4]
    number = int("".join(str(int(ch, 36)) for ch in moved))
    print(account, "valid" if number % 97 == 1 else "not valid")
