"""Parking costs 2.50 per hour begun. Cars stayed 08:10-09:55, 11:00-11:20 and 12:35-17:40. What does
each pay, and what is the sum?"""

import math


def stay(text):
    came, went = text.split("-")
    ch, cm = came.split(":")
    wh, wm = went.split(":")
    return (int(wh) * 60 + int(wm)) - (int(ch) * 60 + int(cm))


total = 0.0
for car in ["08:10-09:55", "11:00-11:20", "12:35-17:40"]:
    fee = math.ceil(stay(car) / 60) * 2.50
    total += fee
    print(f"{fee:.2f}")
print(f"{total:.2f}")
