"""A shop scanned the phone numbers (IMEI) 490154203237518, 356938035643809 and 356938035643819. IMEIs
end in a Luhn digit. Print the ones that were scanned wrongly."""

scanned = ["490154203237518", "356938035643809", "356938035643819"]


def solution():
    wrong = []
    for imei in scanned:
        ciphers = [int(s) for s in imei.replace(" ", "")]
        result = 0
        for k, cipher in enumerate(reversed(ciphers)):
            if k % 2 == 1:
                cipher = cipher * 2
                if cipher > 9:
                    cipher -= 9
            result += cipher
        if result % 10 != 0:
            wrong.append(imei)
    return wrong


print(solution())
