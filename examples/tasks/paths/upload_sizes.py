"""Uploads with their sizes in kB: /in/a.pdf 120, /in/b.PDF 340, /in/x/c.docx 56, /in/x/scan 410,
/in/d.pdf 75. How many kB came in per file type (lower case, "none" without a dot)?"""

uploads = {"/in/a.pdf": 120, "/in/b.PDF": 340, "/in/x/c.docx": 56, "/in/x/scan": 410, "/in/d.pdf": 75}
volume = {}
for path, size in uploads.items():
    base = path.rsplit("/", 1)[-1]
    front, point, suffix = base.rpartition(".")
    label = suffix.lower() if point else "none"
    volume[label] = volume.get(label, 0) + size
for label, total in sorted(volume.items()):
    print(f"{label}: {total} kB")
