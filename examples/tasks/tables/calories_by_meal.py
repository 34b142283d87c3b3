"""A food diary holds meal, dish and kilocalories. How many kilocalories per meal, and what share of the
day was dinner, in percent with one decimal?
breakfast,oats,310 breakfast,coffee,40 lunch,soup,260 lunch,bread,180 dinner,pasta,640 dinner,salad,120"""

diary = [
    ("breakfast", "oats", 310),
    ("breakfast", "coffee", 40),
    ("lunch", "soup", 260),
    ("lunch", "bread", 180),
    ("dinner", "pasta", 640),
    ("dinner", "salad", 120),
]
per_meal = {}
for meal, _dish, kcal in diary:
    per_meal[meal] = per_meal.get(meal, 0) + kcal
for meal in sorted(per_meal):
    print(meal, per_meal[meal])
share = 100 * per_meal["dinner"] / sum(per_meal.values())
print(f"{share:.1f}%")
