"""Tanks hold "350 l", "60 gal" (3.785411784 l each) and "0.4 m3". A pump moves 25 litres a minute. How
many minutes does it take to empty all of them (rounded up)?"""

import math

litres = {"l": 1.0, "gal": 3.785411784, "m3": 1000.0}


def to_litres(text):
    value, unit = text.split()
    return float(value) * litres[unit]


volume = sum(to_litres(tank) for tank in ["350 l", "60 gal", "0.4 m3"])
print(math.ceil(volume / 25))
