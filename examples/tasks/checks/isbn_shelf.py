"""Which of these ISBN-13 numbers are well formed: 978-0-306-40615-7, 978-3-16-148410-0,
978-1-4028-9462-7? (Digits are weighted 1, 3, 1, 3 … and the sum must be divisible by 10.)"""

books = ["978-0-306-40615-7", "978-3-16-148410-0", "978-1-4028-9462-7"]
for book in books:
    digits = [int(c) for c in book.replace("-", "")]
    weighted = sum(d * (3 if i % 2 else 1) for i, d in enumerate(digits))
    print(book, "valid" if weighted % 10 == 0 else "invalid")
