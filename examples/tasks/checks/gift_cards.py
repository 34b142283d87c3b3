"""Gift cards end in a Luhn digit. Which of 6035 7700 0004, 6035 7700 0012 and 6035 7700 0027 were
mistyped?"""

typed = ["6035 7700 0004", "6035 7700 0012", "6035 7700 0027"]
mistyped = []
for card in typed:
    numbers = [int(ch) for ch in card.replace(" ", "")]
    value = 0
    for index, number in enumerate(reversed(numbers)):
        if index % 2 == 1:
            number = number * 2
            if number > 9:
                number -= 9
        value += number
    if value % 10 != 0:
        mistyped.append(card)
print(mistyped)
