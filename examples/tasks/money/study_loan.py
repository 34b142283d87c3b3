"""A student borrowed 9,000 and will pay it back over 60 months at 4.2 percent a year. She keeps 310 a
month for it. What is the monthly payment, and does her money suffice?"""

debt = 9000
percent = 4.2
periods = 60
r = percent / 100 / 12
monthly = debt * r / (1 - (1 + r) ** -periods)
print(f"{monthly:.2f}", "enough" if monthly <= 310 else "not enough")
