"""Three bags weigh "18.5 kg", "22 lb" and "900 g" (1 lb = 0.45359237 kg). The limit is 30 kg. By how
much are they over or under the limit, in kg with two decimals?"""

kilos = {"kg": 1.0, "g": 0.001, "lb": 0.45359237}
mass = 0.0
for bag in ["18.5 kg", "22 lb", "900 g"]:
    reading, unit = bag.split()
    mass += float(reading) * kilos[unit]
gap = mass - 30
print(f"{abs(gap):.2f} kg {'over' if gap > 0 else 'under'}")
