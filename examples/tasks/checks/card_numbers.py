"""Which of these card numbers pass the Luhn check: 4539 1488 0343 6467, 8273 1232 7352 0569, 79927398713?"""

cards = ["4539 1488 0343 6467", "8273 1232 7352 0569", "79927398713"]
for card in cards:
    digits = [int(c) for c in card.replace(" ", "")]
    total = 0
    for i, digit in enumerate(reversed(digits)):
        if i % 2 == 1:
            digit = digit * 2
            if digit > 9:
                digit -= 9
        total += digit
    print(card, total % 10 == 0)
