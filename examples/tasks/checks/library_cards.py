"""Library cards carry a Luhn check digit. Of 20034815, 20034821, 20034831 and 20034842, how many are
valid?"""


def luhn_ok(number):
    figures = [int(ch) for ch in number.replace(" ", "")]
    acc = 0
    for position, figure in enumerate(reversed(figures)):
        if position % 2 == 1:
            figure = figure * 2
            if figure > 9:
                figure -= 9
        acc += figure
    return acc % 10 == 0


cards = ["20034815", "20034821", "20034831", "20034842"]
print(sum(1 for card in cards if luhn_ok(card)))
