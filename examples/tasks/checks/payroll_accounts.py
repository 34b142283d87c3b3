"""Payroll lists AT61 1904 3002 3457 3201, IE29 AIBK 9311 5212 3456 78 and PT50 0002 0123 1234 5678 9015
4. With the first four characters at the end and letters as 10 to 35 each number must be 1 modulo 97.
How many can be paid?"""

staff = ["AT61 1904 3002 3457 3201", "IE29 AIBK 9311 5212 3456 78", "PT50 0002 0123 1234 5678 9015 4"]
payable = 0
for account in staff:
    closed = account.replace(" ", "")
    shifted = closed[4:] + closed[:4]
    remainder = int("".join(str(int(letter, 36)) for letter in shifted)) % 97
    if remainder == 1:
        payable += 1
print(payable)
