"""The log of decisions takes turns between its two files and never grows beyond both."""

import json
import os

from tidepool.egress.log import DecisionLog


def test_two_files_take_turns_and_the_newest_lines_stay(tmp_path):
    paths = [tmp_path / "a", tmp_path / "b"]
    fds = [os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND) for path in paths]
    log = DecisionLog(fds, max_bytes=1000)
    for number in range(200):
        log({"number": number, "path": "/x\n"})
    for fd in fds:
        os.close(fd)
    assert all(0 < path.stat().st_size <= 1000 for path in paths)
    numbers = sorted(json.loads(line)["number"] for path in paths for line in path.read_text().splitlines())
    assert numbers == list(range(numbers[0], 200))
    assert len(numbers) > 1000 // 40


def test_a_new_process_goes_on_where_the_last_one_stopped(tmp_path):
    old, new = tmp_path / "a", tmp_path / "b"
    old.write_bytes(b"x" * 10)
    new.write_bytes(b"x" * 20)
    fds = [os.open(path, os.O_WRONLY | os.O_APPEND) for path in (old, new)]
    DecisionLog(fds)({"a": 1})
    for fd in fds:
        os.close(fd)
    assert (old.stat().st_size, new.stat().st_size) == (10, 28)


def test_one_descriptor_is_only_written_to():
    read, write = os.pipe()
    DecisionLog([write], max_bytes=1)({"a": 1})
    assert os.read(read, 100) == b'{"a":1}\n'
    os.close(read)
    os.close(write)
