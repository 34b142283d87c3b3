"""Find the two check digits of the Belgian account BE?? 5390 0754 7034: move "BE00" to the end, write
letters as 10 to 35, take the remainder by 97 from 98. Print the whole account number. Then do the same
for "NL00 ABNA 0417 1643 00"."""


def with_check_digits(blank):
    packed = blank.replace(" ", "")
    turned = packed[4:] + packed[:4]
    value = int("".join(str(int(c, 36)) for c in turned))
    return f"{packed[:2]}{98 - value % 97:02d}{packed[4:]}"


print(with_check_digits("BE00 5390 0754 7034"))
print(with_check_digits("NL00 ABNA 0417 1643 00"))
