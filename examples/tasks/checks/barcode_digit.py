"""A new product gets the number 400763000011 followed by a check digit, such that digits weighted 1, 3,
1, 3 … add up to a multiple of ten. What is the whole bar code?"""

front = "4007-6300-0011"
figures = [int(ch) for ch in front.replace("-", "")]
subtotal = sum(f * (3 if k % 2 else 1) for k, f in enumerate(figures))
check = (10 - subtotal % 10) % 10
print(front.replace("-", "") + str(check))
