"""A mail gate refuses attachments ending in exe, js or bat (any case). Which of these pass: report.pdf,
setup.EXE, archive.tar.gz, run.Js, LICENSE, games/start.bat.txt?"""

banned = {"exe", "js", "bat"}


def extension_of(path):
    leaf = path.rsplit("/", 1)[-1]
    _head, dot, ending = leaf.rpartition(".")
    return ending.lower() if dot else "none"


mails = ["report.pdf", "setup.EXE", "archive.tar.gz", "run.Js", "LICENSE", "games/start.bat.txt"]
passed = [item for item in mails if extension_of(item) not in banned]
print(", ".join(passed))
