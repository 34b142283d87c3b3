"""A recipe asks for "8 oz" flour, "0.5 lb" butter and "120 g" sugar (1 oz = 28.349523125 g, 1 lb =
453.59237 g). What does the dough weigh in grams, rounded?"""

grams = {"g": 1.0, "oz": 28.349523125, "lb": 453.59237}
weight = 0.0
for amount in ["8 oz", "0.5 lb", "120 g"]:
    number, name = amount.split()
    weight += float(number) * grams[name]
print(round(weight))
