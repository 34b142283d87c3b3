"""The customer number 63?1840 has a smudged third digit and should pass the Luhn check. Which digit is it?"""

smudged = "63?1840"
answers = []
for guess in "0123456789":
    candidate = smudged.replace("?", guess)
    numbers = [int(x) for x in candidate.replace(" ", "")]
    checksum = 0
    for place, number in enumerate(reversed(numbers)):
        if place % 2 == 1:
            number = number * 2
            if number > 9:
                number -= 9
        checksum += number
    if checksum % 10 == 0:
        answers.append(guess)
print(", ".join(answers))
