"""A car costs 18,400 and is financed over 48 months at 5.9 percent a year. What is the monthly payment, and
how much interest is paid in all?"""

principal = 18400
annual_rate = 5.9
months = 48

monthly_rate = annual_rate / 100 / 12
payment = principal * monthly_rate / (1 - (1 + monthly_rate) ** -months)
interest = payment * months - principal
print(round(payment, 2))
print(round(interest, 2))
